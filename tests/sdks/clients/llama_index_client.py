"""LlamaIndex: OpenAIResponses."""

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAIResponses
from task import KEY, QUESTIONS, SYSTEM, URL, WAY, get_weather, run

WAYS = {"items": {}, "previous id": {"track_previous_responses": True, "store": True}}


def converse(model: str, streams: bool) -> list[str]:
    llm = OpenAIResponses(model=model, api_base=URL, api_key=KEY, context_window=32768, **WAYS[WAY])
    tool = FunctionTool.from_defaults(get_weather)
    messages = [ChatMessage(role="system", content=SYSTEM)]
    answers = []
    for question in QUESTIONS:
        messages.append(ChatMessage(role="user", content=question))
        while True:
            if streams:
                *_, reply = llm.stream_chat_with_tools([tool], chat_history=messages)
            else:
                reply = llm.chat_with_tools([tool], chat_history=messages)
            calls = llm.get_tool_calls_from_response(reply, error_on_no_tool_call=False)
            results = [
                ChatMessage(
                    role="tool",
                    content=str(tool(**call.tool_kwargs)),
                    additional_kwargs={"call_id": call.tool_id},
                )
                for call in calls
            ]
            if WAY == "previous id":
                messages = results
            else:
                messages += [reply.message, *results]
            if not calls:
                break
        answers.append(reply.message.content)
    return answers


run(converse)

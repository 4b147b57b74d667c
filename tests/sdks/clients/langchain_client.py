"""LangChain: ChatOpenAI with the Responses API."""

from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from task import KEY, QUESTIONS, SYSTEM, URL, WAY, get_weather, run

weather = tool(get_weather)
WAYS = {
    "items": {},
    "store false": {"store": False},
    "previous id": {"use_previous_response_id": True},
}


def converse(model: str, streams: bool) -> list[str]:
    llm = ChatOpenAI(
        model=model, base_url=URL, api_key=KEY, use_responses_api=True, **WAYS[WAY]
    ).bind_tools([weather])
    messages = [SystemMessage(SYSTEM)]
    answers = []
    for question in QUESTIONS:
        messages.append(HumanMessage(question))
        while True:
            if streams:
                chunks = list(llm.stream(messages))
                reply = chunks[0]
                for chunk in chunks[1:]:
                    reply += chunk
            else:
                reply = llm.invoke(messages)
            messages.append(reply)
            if not reply.tool_calls:
                break
            messages += [
                ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])
                for call in reply.tool_calls
            ]
        answers.append(reply.text)
    return answers


run(converse)

"""LiteLLM: its Responses API, and its chat completions over a Responses API."""

import json
import os
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
from task import KEY, QUESTIONS, SYSTEM, TOOL, URL, WAY, get_weather, run

TO = {"api_base": URL, "api_key": KEY}


def responses(model: str, streams: bool) -> list[str]:
    asked: dict[str, Any] = {"model": f"openai/{model}", "instructions": SYSTEM, "tools": [TOOL]}
    answers = []
    history: list[Any] = []
    for question in QUESTIONS:
        new: list[Any] = [{"role": "user", "content": question}]
        while new:
            history += new
            sent = new if WAY == "previous id" else history
            response = litellm.responses(**TO, **asked, input=sent, stream=streams)
            if streams:
                *_, last = response
                response = last.response
            output = [
                item if isinstance(item, dict) else item.model_dump() for item in response.output
            ]
            history += output
            if WAY == "previous id":
                asked["previous_response_id"] = response.id
            new = [
                {
                    "type": "function_call_output",
                    "call_id": item["call_id"],
                    "output": get_weather(**json.loads(item["arguments"])),
                }
                for item in output
                if item["type"] == "function_call"
            ]
        answers.append(response.output_text)
    return answers


def completions(model: str, streams: bool) -> list[str]:
    tool = {k: v for k, v in TOOL.items() if k != "type"}
    asked: dict[str, Any] = {
        "model": f"openai/responses/{model}",
        "tools": [{"type": "function", "function": tool}],
    }
    messages: list[Any] = [{"role": "system", "content": SYSTEM}]
    answers = []
    for question in QUESTIONS:
        messages.append({"role": "user", "content": question})
        while True:
            response = litellm.completion(**TO, **asked, messages=messages, stream=streams)
            if streams:
                response = litellm.stream_chunk_builder(list(response), messages=messages)
            message = response.choices[0].message
            messages.append(message)
            if not message.tool_calls:
                break
            for call in message.tool_calls:
                result = get_weather(**json.loads(call.function.arguments))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        answers.append(message.content)
    return answers


run(completions if WAY == "chat completions" else responses)

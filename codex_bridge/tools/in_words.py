"""Tools for models whose templates know none: told in words, called in words.

Ollama refuses tools to such a model. It can still be told what it may call and how to write
that down; `leaks` finds the calls in what it says, as it does with models that forget the form.
"""

from __future__ import annotations

import orjson
from attrs import evolve

from codex_bridge.vocabulary import ChatRequest, Json

DIRECTIVES = """\
To act, call one of the functions below: end your answer with a block like this one, with the
function's own parameters by their exact names, and write nothing after it.

<tool_call>
{"name": "the function", "arguments": {"a parameter": "its value"}}
</tool_call>

The result comes in the next message, as <tool_response>. Wait for it before you rely on it. When
nothing is left to do, answer in plain text. The functions:
"""


def told(functions: list[Json]) -> str:
    """What a model is told of the functions that it may call."""
    lines = [orjson.dumps(function["function"]).decode() for function in functions]
    return DIRECTIVES + "\n".join(lines)


def in_words(chat: ChatRequest) -> ChatRequest:
    """`chat` without functions: calls and results of the conversation as text.

    The functions are told in the system message, see `told`.
    """
    messages: list[Json] = []
    for message in chat.messages:
        if message["role"] == "tool":
            _add_result(messages, message)
        elif message.get("tool_calls"):
            messages.append(_with_calls_as_text(message))
        else:
            messages.append(message)
    return evolve(chat, messages=messages, functions=[], tool_choice=None)


def _with_calls_as_text(message: Json) -> Json:
    blocks = [_block(call["function"]) for call in message["tool_calls"]]
    content = "\n".join(filter(None, [message["content"], *blocks]))
    kept = {key: value for key, value in message.items() if key != "tool_calls"}
    return kept | {"content": content}


def _block(function: Json) -> str:
    # The arguments stand as they were made: what a model has in its cache must not change.
    name = orjson.dumps(function["name"]).decode()
    call = f'{{"name": {name}, "arguments": {function["arguments"]}}}'
    return f"<tool_call>\n{call}\n</tool_call>"


def _add_result(messages: list[Json], message: Json) -> None:
    """Results of calls that were made together stand in one message, as one answer to them."""
    name = orjson.dumps(message["name"]).decode()
    text = f"<tool_response name={name}>\n{message['content']}\n</tool_response>"
    last = messages[-1] if messages else {}
    if last.get("role") == "user" and str(last["content"]).endswith("</tool_response>"):
        messages[-1] = last | {"content": f"{last['content']}\n{text}"}
    else:
        messages.append({"role": "user", "content": text})

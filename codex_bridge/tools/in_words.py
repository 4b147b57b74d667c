"""Tools for models whose templates have no place for them: described and called as plain text.

Ollama refuses a request with tools for such a model. The prompt can still say which functions
there are and how to write a call; `leaks` finds the calls in the text, as it does for models that
forget their own form.
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


def description_of(functions: list[Json]) -> str:
    """The paragraph of the system message that describes `functions` (chat's `tools`)."""
    lines = [orjson.dumps(function["function"]).decode() for function in functions]
    return DIRECTIVES + "\n".join(lines)


def in_words(chat: ChatRequest) -> ChatRequest:
    """`chat` without functions, and with its calls and their results as text.

    The system message describes the functions, see `description_of`.
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
    others = {key: value for key, value in message.items() if key != "tool_calls"}
    return others | {"content": content}


def _block(function: Json) -> str:
    # The arguments stay as the model wrote them, since the text is in its prompt cache.
    name = orjson.dumps(function["name"]).decode()
    call = f'{{"name": {name}, "arguments": {function["arguments"]}}}'
    return f"<tool_call>\n{call}\n</tool_call>"


def _add_result(messages: list[Json], message: Json) -> None:
    """Add a result; those of calls in one answer share one message."""
    name = orjson.dumps(message["name"]).decode()
    text = f"<tool_response name={name}>\n{message['content']}\n</tool_response>"
    last = messages[-1] if messages else {}
    if last.get("role") == "user" and str(last["content"]).endswith("</tool_response>"):
        messages[-1] = last | {"content": f"{last['content']}\n{text}"}
    else:
        messages.append({"role": "user", "content": text})

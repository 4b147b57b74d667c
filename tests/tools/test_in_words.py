"""Tools in words, for models that have none."""

from __future__ import annotations

from typing import Any

from codex_bridge.tools.in_words import description_of, in_words
from codex_bridge.vocabulary import ChatRequest, ModelInfo
from tests.responses.asked import Asked, translate

Json = dict[str, Any]
PLAIN = ModelInfo("gemma3:4b", capabilities=frozenset({"completion"}))
ABLE = ModelInfo("qwen3:14b", capabilities=frozenset({"completion", "tools"}))
EXEC = {
    "type": "function",
    "name": "exec_command",
    "description": "Run it.",
    "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}},
}


def user(text: str) -> Json:
    return {"type": "message", "role": "user", "content": text}


def call(call_id: str, cmd: str) -> Json:
    arguments = f'{{"cmd": "{cmd}"}}'
    return {
        "type": "function_call",
        "call_id": call_id,
        "name": "exec_command",
        "arguments": arguments,
    }


def result(call_id: str, output: str) -> Json:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def translated(*items: Json, info: ModelInfo = PLAIN, **more: Any) -> Asked:
    request = {"model": info.name, "input": list(items), "tools": [EXEC], **more}
    return translate(request, info)


def test_a_model_without_tools_is_told_of_them_and_how_to_call() -> None:
    chat = translated(user("hi")).chat
    assert chat.functions == []
    system = chat.messages[0]["content"]
    assert "To act, call one of the functions below" in system
    assert '"name":"exec_command"' in system
    # Directives for models with tools would forbid what this one has to do.
    assert "do not write one as text" not in system


def test_calls_and_results_are_told_as_the_model_would_write_and_read_them() -> None:
    chat = translated(
        user("hi"),
        {"type": "message", "role": "assistant", "content": "I look."},
        call("c1", "ls"),
        call("c2", "pwd"),
        result("c1", "a\nb"),
        result("c2", "/tmp"),
        user("go on"),
    ).chat
    assert [message["role"] for message in chat.messages] == [
        "system",
        "user",
        "assistant",
        "user",
        "user",
    ]
    assert chat.messages[2]["content"] == (
        'I look.\n<tool_call>\n{"name": "exec_command", "arguments": {"cmd": "ls"}}\n</tool_call>'
        '\n<tool_call>\n{"name": "exec_command", "arguments": {"cmd": "pwd"}}\n</tool_call>'
    )
    assert chat.messages[3]["content"] == (
        '<tool_response name="exec_command">\na\nb\n</tool_response>\n'
        '<tool_response name="exec_command">\n/tmp\n</tool_response>'
    )
    assert not any("tool_calls" in message for message in chat.messages)


def test_the_prompt_of_a_model_without_tools_only_grows() -> None:
    items = [user("hi"), call("c1", "ls"), result("c1", "a"), call("c2", "pwd"), result("c2", "b")]
    before = translated(*items[:3]).chat.messages
    after = translated(*items).chat.messages
    assert after[: len(before)] == before


def test_a_model_with_tools_or_of_a_server_that_does_not_tell_is_given_them() -> None:
    for info in (ABLE, ModelInfo("unknown")):
        translation = translated(user("hi"), info=info)
        assert translation.chat.functions
        assert not translation.calls_as_text


def test_without_tools_in_the_request_nothing_is_told() -> None:
    chat = translate({"model": "gemma3:4b", "input": "hi"}, PLAIN).chat
    assert [message["role"] for message in chat.messages] == ["user"]


def test_what_a_model_cannot_do_is_named() -> None:
    picture = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}
    asked = user("hi") | {"content": [picture]}
    told = translated(asked, reasoning={"effort": "high"}).downgrades
    assert [sentence.split(":")[0] for sentence in told] == [
        "has no tools",
        "cannot think",
        "has no vision",
    ]
    able = ModelInfo("m", capabilities=frozenset({"tools", "thinking", "vision"}))
    assert translated(asked, info=able, reasoning={"effort": "high"}).downgrades == ()


def test_a_tool_that_the_server_would_have_to_run_is_named_once_for_the_log() -> None:
    tools = [{"type": "web_search"}, {"type": "mcp"}, {"type": "mcp"}, {"type": "x\ny"}]
    told = translated(user("hi"), info=ModelInfo("m"), tools=tools).downgrades
    assert told == tuple(
        f"is not offered {kind}: the server would have to run this tool"
        for kind in ("mcp", "web_search", "x\\ny")
    )


def test_the_paragraph_says_how_to_call_and_lists_the_functions() -> None:
    functions = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]
    assert description_of(functions) == (
        """\
To act, call one of the functions below: end your answer with a block like this one, with the
function's own parameters by their exact names, and write nothing after it.

<tool_call>
{"name": "the function", "arguments": {"a parameter": "its value"}}
</tool_call>

The result comes in the next message, as <tool_response>. Wait for it before you rely on it. When
nothing is left to do, answer in plain text. The functions:
{"name":"f"}
{"name":"g"}"""
    )


def test_each_answers_results_share_a_message_of_their_own() -> None:
    def answer(*names: str, content: str | None = None) -> Json:
        calls = [{"function": {"name": name, "arguments": "{}"}} for name in names]
        return {"role": "assistant", "content": content, "tool_calls": calls}

    def result(name: str) -> Json:
        return {"role": "tool", "name": name, "content": "ok"}

    def response(name: str) -> str:
        return f'<tool_response name="{name}">\nok\n</tool_response>'

    block = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
    messages = [
        result("early"),
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        result("after a picture"),
        answer("f"),
        result("f"),
        result("g"),
        {"role": "user", "content": "go on"},
        answer("f", content=""),
        result("f"),
    ]
    function = {"type": "function", "function": {"name": "f"}}
    chat = in_words(ChatRequest("m", messages, [function], "required", temperature=0.5))
    assert chat.messages == [
        {"role": "user", "content": response("early")},
        messages[1],
        {"role": "user", "content": response("after a picture")},
        {"role": "assistant", "content": block},
        {"role": "user", "content": f"{response('f')}\n{response('g')}"},
        {"role": "user", "content": "go on"},
        {"role": "assistant", "content": block},
        {"role": "user", "content": response("f")},
    ]
    assert (chat.functions, chat.tool_choice, chat.temperature) == ([], None, 0.5)

"""What tool_choice does, though Ollama ignores it."""

from __future__ import annotations

from typing import Any

import pytest

from codex_bridge.errors import ApiError
from codex_bridge.vocabulary import ChatRequest
from tests.responses.asked import translate
from tests.tools.declared import CODEX, EXEC, MCP, PATCH, SEARCH

ALL = ["exec_command", "mcp__demo__echo_text", "apply_patch"]


def chat(choice: Any, **more: Any) -> ChatRequest:
    request = {"model": "m", "input": "hi", "tools": [EXEC, MCP, PATCH, {"type": "web_search"}]}
    return translate(request | {"tool_choice": choice} | more).chat


def offered(request: ChatRequest) -> list[str]:
    return [entry["function"]["name"] for entry in request.functions]


@pytest.mark.parametrize("choice", ["auto", None])
def test_auto_offers_all(choice: Any) -> None:
    assert offered(chat(choice)) == ALL
    assert chat(choice).tool_choice is None
    assert chat(choice).messages[-1] == {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    "choice",
    [{"type": "tool_search"}, {"type": "allowed_tools", "tools": [{"type": "tool_search"}]}],
)
def test_a_tool_may_be_named_by_its_type(choice: Any) -> None:
    assert offered(chat(choice, tools=[EXEC, SEARCH])) == ["tool_search"]


def test_none_offers_nothing_and_says_nothing_of_calls() -> None:
    request = chat("none")
    assert (request.functions, request.tool_choice) == ([], None)
    assert [message["role"] for message in request.messages] == ["user"]


def test_required_is_told_to_server_and_model() -> None:
    request = chat("required")
    assert offered(request) == ALL
    assert request.tool_choice == "required"
    assert request.messages[-1]["content"] == (
        "<developer>\nAnswer with a function call now, not with text.\n</developer>"
    )


@pytest.mark.parametrize(
    ("choice", "function"),
    [
        ({"type": "function", "name": "exec_command"}, "exec_command"),
        (
            {"type": "function", "name": "echo_text", "namespace": "mcp__demo"},
            "mcp__demo__echo_text",
        ),
        ({"type": "custom", "name": "apply_patch"}, "apply_patch"),
    ],
)
def test_a_named_tool_is_the_only_one_and_required(choice: Any, function: str) -> None:
    request = chat(choice)
    assert offered(request) == [function]
    # LM Studio refuses a choice that is an object, llama.cpp ignores it.
    assert request.tool_choice == "required"
    sentence = f"Call the function {function} now."
    assert request.messages[-1]["content"] == f"<developer>\n{sentence}\n</developer>"


def test_allowed_tools_are_the_only_ones() -> None:
    tools = [{"type": "function", "name": "exec_command"}, {"type": "web_search"}]
    request = chat({"type": "allowed_tools", "mode": "auto", "tools": tools})
    assert (offered(request), request.tool_choice) == (["exec_command"], None)
    request = chat({"type": "allowed_tools", "mode": "required", "tools": tools})
    assert request.tool_choice == "required"


@pytest.mark.parametrize("tools", [None, [], [{"type": "web_search"}, {"type": "mcp"}]])
def test_a_call_cannot_be_required_where_no_tool_can_be_called(tools: Any) -> None:
    with pytest.raises(ApiError, match="requires a call") as caught:
        chat("required", tools=tools)
    assert (caught.value.status, caught.value.param) == (400, "tool_choice")


NOPE = {"type": "function", "name": "nope"}


@pytest.mark.parametrize(
    ("choice", "param", "message"),
    [
        (
            {"type": "web_search"},
            "tool_choice",
            "tool_choice requires the tool web_search, which the server would have to run, and "
            "nothing here runs it.",
        ),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]},
            "tool_choice.tools",
            "tool_choice requires a call, and there is no tool that the model could call.",
        ),
        (
            "of tomorrow",
            "tool_choice",
            'tool_choice must be "none", "auto", "required" or an object with a type.',
        ),
        (
            5,
            "tool_choice",
            'tool_choice must be "none", "auto", "required" or an object with a type.',
        ),
        (NOPE, "tool_choice", "tool_choice names nope, which is not among the tools."),
        (
            {"type": "function"},
            "tool_choice",
            "tool_choice names None, which is not among the tools.",
        ),
        (
            {"type": "function", "name": "exec_command", "namespace": 5},
            "tool_choice.namespace",
            "tool_choice.namespace must be a string.",
        ),
        (
            {"type": "allowed_tools", "tools": "all"},
            "tool_choice.tools",
            "tool_choice.tools must be an array.",
        ),
        (
            {"type": "allowed_tools", "tools": [NOPE]},
            "tool_choice.tools",
            "tool_choice.tools names nope, which is not among the tools.",
        ),
    ],
)
def test_a_malformed_choice_is_refused_with_its_place(
    choice: Any, param: str, message: str
) -> None:
    with pytest.raises(ApiError) as caught:
        chat(choice)
    error = caught.value
    assert (error.status, error.param, error.message) == (400, param, message)


@pytest.mark.parametrize("kind", ["tool_search", "local_shell"])
def test_a_tool_that_its_type_names_needs_no_name(kind: str) -> None:
    tools = [EXEC, {"type": kind}]
    assert offered(chat({"type": kind, "name": "ignored"}, tools=tools)) == [kind]


def test_entries_that_are_no_tools_allow_nothing() -> None:
    entries = ["exec_command", None, {"type": "web_search"}, {"name": "exec_command"}]
    assert offered(chat({"type": "allowed_tools", "tools": entries})) == []
    named = [*entries, {"type": "function", "name": "exec_command"}]
    assert offered(chat({"type": "allowed_tools", "tools": named})) == ["exec_command"]


def test_an_empty_namespace_is_none() -> None:
    choice = {"type": "function", "name": "exec_command", "namespace": ""}
    assert offered(chat(choice)) == ["exec_command"]


def test_a_narrowed_choice_leaves_the_names_in_the_history_alone() -> None:
    call = {
        "type": "function_call",
        "call_id": "c",
        "name": "spawn_agent",
        "namespace": "multi_agent_v1",
        "arguments": "{}",
    }
    items = [{"role": "user", "content": "hi"}, call]
    request = translate({"model": "m", "input": items, "tools": CODEX, "tool_choice": "none"}).chat
    called = request.messages[-2]["tool_calls"][0]["function"]["name"]
    assert called == "multi_agent_v1__spawn_agent"

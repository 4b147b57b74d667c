"""Tools over the wire: what the model is shown, what it writes, what the client gets."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import orjson
import pytest
import pytest_twisted

from tests.conftest import LogBook, Start
from tests.fake_ollama import Answer, Call, Fragments, Playlist, Say, Think
from tests.harness import Json, Setup
from tests.tools.declared import AGENTS, CODE, CODEX, EXEC, MCP, PATCH, SEARCH, VALID_PATCH

USER = {"type": "message", "role": "user", "content": "go"}
LEAK = '<tool_call>\n{"name": "exec_command", "arguments": {"cmd": "ls"}}\n</tool_call>'


async def output(setup: Setup, **change: Any) -> list[Json]:
    """The output items of one exchange with all of Codex's tools."""
    response = (await setup.ask({"tools": CODEX} | change)).response
    items: list[Json] = response["output"]
    return items


def line(logged: LogBook) -> str:
    """The exchange's line in the log."""
    (event,) = [event for event in logged.events if "repairs" in event]
    return f"tools: {event['tools']}; repairs: {event['repairs']}"


@pytest.fixture(name="start", params=["chat", "ollama"])
def over_both_dialects(start: Start, request: pytest.FixtureRequest) -> Start:
    """Every test runs with Ollama asked in either of its dialects."""
    return partial(start, upstream_api=request.param)


@pytest_twisted.ensureDeferred
async def test_a_freeform_call_goes_back_raw_and_into_the_history(start: Start) -> None:
    setup = await start(Playlist([Call("apply_patch", {"input": VALID_PATCH})], [Say("Done.")]))
    (item,) = await output(setup)
    assert (item["type"], item["name"], item["input"]) == (
        "custom_tool_call",
        "apply_patch",
        VALID_PATCH,
    )
    result = {
        "type": "custom_tool_call_output",
        "call_id": item["call_id"],
        "output": [{"type": "input_text", "text": "Success."}],
    }
    await output(setup, input=[USER, item, result])
    _, _, assistant, tool = setup.fake.turns[1].effective["messages"]
    (call,) = assistant["tool_calls"]
    assert call["arguments"] == {"input": VALID_PATCH}
    assert (tool["content"], tool["name"]) == ("Success.", "apply_patch")


@pytest_twisted.ensureDeferred
async def test_a_search_brings_tools_that_can_be_called(start: Start) -> None:
    setup = await start(
        Playlist(
            [Call("tool_search", {"query": "echo", "limit": 5})],
            [Call("mcp__demo__echo_text", {"text": "hi"})],
        )
    )
    (search,) = await output(setup, tools=[EXEC, SEARCH])
    assert search["type"] == "tool_search_call"
    assert search["execution"] == "client"
    assert search["arguments"] == {"query": "echo", "limit": 5}
    found = {"type": "tool_search_output", "call_id": search["call_id"], "tools": [MCP]}
    (call,) = await output(setup, tools=[EXEC, SEARCH], input=[USER, search, found])
    assert (call["name"], call["namespace"]) == ("echo_text", "mcp__demo")
    first, second = (chat.json for chat in setup.fake.turns)
    assert second["tools"][: len(first["tools"])] == first["tools"]
    assert "mcp__demo__echo_text" in second["messages"][-1]["content"]


@pytest_twisted.ensureDeferred
async def test_tools_that_an_item_declares_can_be_called(start: Start) -> None:
    """The lite mode of Codex has no tools field at all."""
    setup = await start(Playlist([Call("exec_command", {"cmd": "ls"})]))
    space = {"type": "namespace", "name": "functions", "tools": [EXEC, PATCH]}
    item = {"type": "additional_tools", "role": "developer", "tools": [space]}
    (call,) = await output(setup, tools=None, input=[item, USER])
    assert (call["name"], call["namespace"]) == ("exec_command", "functions")


@pytest_twisted.ensureDeferred
async def test_a_local_shell_call_is_an_action(start: Start) -> None:
    setup = await start(Playlist([Call("local_shell", {"command": "ls | wc"})]))
    (item,) = await output(setup, tools=[{"type": "local_shell"}])
    assert item["type"] == "local_shell_call"
    assert item["action"]["command"] == ["bash", "-lc", "ls | wc"]


@pytest_twisted.ensureDeferred
async def test_a_client_is_told_that_arguments_are_not_encrypted(start: Start) -> None:
    message = {"type": "string", "encrypted": True}
    spawn = {
        "type": "function",
        "name": "spawn_agent",
        "parameters": {"properties": {"message": message}},
    }
    space = {"type": "namespace", "name": "collaboration", "tools": [spawn]}
    setup = await start(Playlist([Call("collaboration__spawn_agent", {"message": "x"})]))
    (item,) = await output(setup, tools=[space])
    assert item["encrypted_function_args"] == []
    (tool,) = setup.fake.turns[0].json["tools"]
    assert "encrypted" not in tool["function"]["parameters"]["properties"]["message"]


@pytest_twisted.ensureDeferred
async def test_a_hosted_tool_leaves_no_trace(start: Start) -> None:
    setup = await start(Playlist([Say("ok")], [Say("ok")]))
    for tools in ([{"type": "web_search"}, {"type": "image_generation"}, {"type": "new"}], []):
        await output(setup, tools=tools)
    with_hosted, without = (chat.json for chat in setup.fake.turns)
    assert with_hosted == without


@pytest_twisted.ensureDeferred
async def test_a_call_in_the_text_is_made_and_counted(start: Start, logged: LogBook) -> None:
    pieces = tuple(LEAK[n : n + 5] for n in range(0, len(LEAK), 5))
    setup = await start(Playlist([Think("Hm."), Say("Let me look.\n"), Say(LEAK, pieces)]))
    reasoning, message, call = await output(setup)
    assert reasoning["type"] == "reasoning"
    assert message["content"][0]["text"] == "Let me look.\n"
    assert (call["name"], call["arguments"]) == ("exec_command", '{"cmd": "ls"}')
    assert line(logged) == "tools: exec_command; repairs: leak: tool_call tag"
    health = await setup.request("GET", "/__health")
    assert health.json["repairs"] == {"leak: tool_call tag": 1}


@pytest_twisted.ensureDeferred
async def test_names_and_arguments_are_repaired_and_counted(start: Start, logged: LogBook) -> None:
    written = "{'command': ['ls', '-l'], 'tty': 'false', 'yield_time_ms': '5'}"
    # Ollama's own dialect has no broken JSON: its parsers fail before.
    setup = await start(
        Playlist([Fragments("functions.Exec_Command", (written,))]), upstream_api="chat"
    )
    (call,) = await output(setup)
    assert (call["name"], orjson.loads(call["arguments"])) == (
        "exec_command",
        {"cmd": "ls -l", "tty": False, "yield_time_ms": 5},
    )
    assert line(logged) == (
        "tools: exec_command; repairs: name, single quotes, key, word list, boolean in a string, "
        "number in a string"
    )


@pytest_twisted.ensureDeferred
async def test_a_name_that_is_unknown_goes_back_as_it_is(start: Start, logged: LogBook) -> None:
    setup = await start(Playlist([Call("frobnicate", {"a": 1})]))
    (call,) = await output(setup)
    assert (call["name"], call["arguments"]) == ("frobnicate", '{"a":1}')
    assert line(logged) == "tools: frobnicate; repairs: none"


@pytest_twisted.ensureDeferred
async def test_apply_patch_is_a_command_where_codex_declares_no_tool_for_it(start: Start) -> None:
    setup = await start(Playlist([Call("apply_patch", {"input": VALID_PATCH})]))
    (call,) = await output(setup, tools=[EXEC])
    assert call["name"] == "exec_command"
    command = orjson.loads(call["arguments"])["cmd"]
    assert command == f"apply_patch <<'EOF'\n{VALID_PATCH}EOF"


@pytest_twisted.ensureDeferred
async def test_a_call_that_is_told_and_made_is_made_once(start: Start) -> None:
    for text in (LEAK, f"I'll run:\n\n```json\n{LEAK.splitlines()[1]}\n```\n"):
        setup = await start(Playlist([Say(text), Call("exec_command", {"cmd": "ls"})]))
        items = await output(setup)
        assert [i["type"] for i in items if i["type"] != "message"] == ["function_call"]


@pytest_twisted.ensureDeferred
async def test_without_repair_everything_passes_as_it_is(start: Start, logged: LogBook) -> None:
    setup = await start(
        Playlist([Say(LEAK)], [Fragments("Exec_Command", ("{'cmd': 'ls'}",))]),
        repair=False,
        upstream_api="chat",
    )
    (message,) = await output(setup)
    assert message["content"][0]["text"] == LEAK
    (call,) = await output(setup)
    assert (call["name"], call["arguments"]) == ("Exec_Command", "{'cmd': 'ls'}")
    assert [event["repairs"] for event in logged.events if "repairs" in event] == ["none", "none"]


@pytest.mark.parametrize(
    ("tools", "told"),
    [
        ([EXEC], "apply_patch <<"),
        ([PATCH], "with apply_patch."),
        ([MCP], "call a function"),
        ([], ""),
    ],
)
@pytest_twisted.ensureDeferred
async def test_how_to_call_is_told_only_where_there_are_tools(
    start: Start, tools: list[Json], told: str
) -> None:
    setup = await start(Playlist([Say("ok")], [Say("ok")]))
    await output(setup, tools=tools)
    await output(setup, tools=tools, tool_choice="none")
    system, silent = (chat.json["messages"][0]["content"] for chat in setup.fake.turns)
    assert silent == "Be helpful."
    assert told in system
    assert (system == "Be helpful.") == (not tools)


@pytest.mark.parametrize(
    ("profile", "shown"), [("essential", False), ("compact", True), ("full", True)]
)
@pytest_twisted.ensureDeferred
async def test_the_tool_profile_is_an_option(start: Start, profile: str, shown: bool) -> None:
    setup = await start(Playlist([Say("ok")]), tool_profile=profile)
    await output(setup, tools=[EXEC])
    (tool,) = setup.fake.turns[0].json["tools"]
    assert ("yield_time_ms" in tool["function"]["parameters"]["properties"]) == shown


RESULTS: dict[str, Any] = {
    "function_call": lambda n: {"type": "function_call_output", "output": f"result {n}"},
    "custom_tool_call": lambda n: {
        "type": "custom_tool_call_output",
        "output": [{"type": "input_text", "text": f"result {n}"}],
    },
    "tool_search_call": lambda n: {"type": "tool_search_output", "tools": [MCP] if n < 10 else []},
}
IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}


def turn(n: int) -> Answer:
    """The answer of turn n of a long session: every kind of call, well made or not."""
    kinds: list[Answer] = [
        [Think(f"Step {n}."), Call("exec_command", {"cmd": f"echo {n}"})],
        [Say(f"Patch {n}."), Call("apply_patch", {"input": VALID_PATCH})],
        [Call("tool_search", {"query": f"tools {n}"})],
        [Call("mcp__demo__echo_text", {"text": f"{n}"})],
        [Say(f"I'll run it.\n{LEAK}\n")],
        [Fragments("functions.exec_command", (f'{{"command": "echo {n}"}}',))],
        [Call("multi_agent_v1__spawn_agent", {"message": f"task {n}"})],
        [Call("view_image", {"path": "a.png"}), Call("exec_command", {"cmd": "ls"})],
        [Call("exec", {"input": f"text({n});"})],
        [Say(f"Turn {n} is done.")],
    ]
    return kinds[n % len(kinds)]


@pytest_twisted.ensureDeferred
async def test_over_thirty_turns_the_prompt_only_grows(start: Start) -> None:
    """What was sent before is sent again byte for byte, so that the model's cache holds."""
    setup = await start(Playlist(*map(turn, range(30))))
    items: list[Json] = [{"type": "message", "role": "developer", "content": "Rules."}, USER]
    for n in range(30):
        new = await output(setup, tools=[*CODEX, CODE, AGENTS], input=items)
        items = items + new
        for call in (item for item in new if "call_id" in item):
            result = RESULTS[call["type"]](n) | {"call_id": call["call_id"]}
            if call.get("name") == "view_image":
                result["output"] = [IMAGE]
            items.append(result)
        if n % 10 == 9:
            later = {"type": "message", "role": "developer", "content": f"Rule {n}."}
            items += [later, {"type": "message", "role": "user", "content": f"go on {n}"}]
    chats = [chat.json for chat in setup.fake.turns]
    for before, after in pairwise(chats):
        for key in ("messages", "tools"):
            old, new = orjson.dumps(before[key]), orjson.dumps(after[key])
            assert new.startswith(old[:-1]), key

"""The real Codex CLI against the bridge and the fake Ollama: what its user would see."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson
import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread
from twisted.logger import formatEvent

from tests.codex.conftest import run
from tests.codex.program import NEEDS_CLI, VERSIONS, Codex, Run
from tests.codex.scenario import Chat
from tests.conftest import LogBook, Start
from tests.fake_ollama import Answer, Call, Calls, Die, FakeOllama, Playlist, Refuse, Say, Think
from tests.harness import Json

pytestmark = NEEDS_CLI


@pytest.fixture(name="start")
def over_both_dialects(start: Start, codex: Codex) -> Start:
    """Codex's requests do not depend on the dialect that Ollama is asked in, so each version
    needs only one of the two: every other one gets Ollama's own."""
    is_native = VERSIONS.index(codex.version) % 2 == 1
    return partial(start, upstream_api="ollama" if is_native else "chat")


def results(chat: Json) -> list[str]:
    """The tool results in a chat request."""
    return [m["content"] for m in chat["messages"] if m["role"] == "tool"]


@pytest_twisted.ensureDeferred
async def test_a_text_turn(start: Start, codex: Codex) -> None:
    setup = await start(Playlist([Say("Hello from the model.")]))
    done = await run(codex, setup, "hi")
    assert done.code == 0, done.output
    assert "Hello from the model." in done.output
    (chat,) = setup.fake.turns
    roles = [message["role"] for message in chat.json["messages"]]
    assert roles[0] == "system"
    assert set(roles[1:]) == {"user"}


@pytest_twisted.ensureDeferred
async def test_codex_finds_a_bridge_on_another_port_by_one_variable(
    start: Start, codex: Codex
) -> None:
    setup = await start(Playlist([Say("Hello from the model.")]))
    done: Run = await deferToThread(codex.exec_by_port, setup.port, "hi")
    assert done.code == 0, done.output
    assert "Hello from the model." in done.output
    assert len(setup.fake.turns) == 1


@pytest_twisted.ensureDeferred
async def test_a_command_runs_and_its_output_reaches_the_model(start: Start, codex: Codex) -> None:
    (codex.folder / "marker-file").touch()
    setup = await start(
        Playlist([Call("exec_command", {"cmd": "ls; echo sum=$((40+2))"})], [Say("All done.")])
    )
    done = await run(codex, setup, "list the files")
    assert done.code == 0, done.output
    assert "All done." in done.output
    (result,) = results(setup.fake.turns[1].json)
    assert "marker-file" in result
    assert "sum=42" in result


@pytest_twisted.ensureDeferred
async def test_the_tools_of_a_first_request_are_small(start: Start, codex: Codex) -> None:
    """Some 600 tokens; Codex declares 17 kB or more. docs/tools.md has the figures."""
    setup = await start(Playlist([Say("Hello.")]))
    await run(codex, setup, "hi")
    tools = setup.fake.turns[0].json["tools"]
    assert len(tools) >= 8
    assert len(orjson.dumps(tools)) < 3000


@pytest_twisted.ensureDeferred
async def test_of_two_parallel_calls_as_many_run_as_codex_takes(start: Start, codex: Codex) -> None:
    """Codex 0.130 and 0.145 take one call at a time from a model that they do not know."""
    calls = Calls(
        Call("exec_command", {"cmd": "echo first-$((1+0))"}),
        Call("exec_command", {"cmd": "echo second-$((1+1))"}),
    )
    setup = await start(Playlist([Say("Both."), calls], [Say("All done.")]))
    done = await run(codex, setup, "run two commands")
    assert done.code == 0, done.output
    taken = 2 if codex.version == VERSIONS[-1] else 1
    expected = ["first-1", "second-2"][:taken]
    for result, part in zip(results(setup.fake.turns[1].json), expected, strict=True):
        assert part in result
    assistant = [m for m in setup.fake.turns[1].json["messages"] if m["role"] == "assistant"]
    assert [(m["content"], len(m["tool_calls"])) for m in assistant] == [("Both.", taken)]


@pytest_twisted.ensureDeferred
async def test_reasoning_is_shown(start: Start, codex: Codex) -> None:
    setup = await start(Playlist([Think("I ponder the greeting."), Say("Hello.")]))
    done = await run(codex, setup, "hi")
    assert "I ponder the greeting." in done.output
    assert "Hello." in done.output


@pytest_twisted.ensureDeferred
async def test_two_tool_rounds_in_one_turn_share_their_prefix(start: Start, codex: Codex) -> None:
    setup = await start(
        Playlist(
            [Think("One."), Call("exec_command", {"cmd": "echo one"})],
            [Think("Two."), Call("exec_command", {"cmd": "echo two"})],
            [Say("Counted.")],
        )
    )
    done = await run(codex, setup, "count")
    assert "Counted." in done.output
    one, two, three = (chat.json["messages"] for chat in setup.fake.turns)
    assert two[: len(one)] == one
    assert three[: len(two)] == two
    assert len(results(setup.fake.turns[2].json)) == 2


@pytest_twisted.ensureDeferred
async def test_a_session_is_resumed_with_its_history(start: Start, codex: Codex) -> None:
    setup = await start(
        Playlist(
            [Call("exec_command", {"cmd": "echo blue-$((6*7))"})],
            [Say("It is blue-42.")],
            [Say("As I said.")],
        )
    )
    await run(codex, setup, "what colour?")
    done = await run(codex, setup, "resume", "--last", "say it again")
    assert done.code == 0, done.output
    assert "As I said." in done.output
    messages = setup.fake.turns[2].json["messages"]
    texts = [m["content"] for m in messages if m["role"] == "assistant"]
    assert "It is blue-42." in texts
    assert "blue-42" in results(setup.fake.turns[2].json)[0]


@pytest_twisted.ensureDeferred
async def test_upstream_stream_off_works_the_same(start: Start, codex: Codex) -> None:
    setup = await start(
        Playlist(
            [Think("Hm."), Call("exec_command", {"cmd": "echo whole-$((3+4))"})],
            [Say("All done.")],
        ),
        upstream_stream=False,
    )
    done = await run(codex, setup, "go")
    assert done.code == 0, done.output
    assert "All done." in done.output
    assert "whole-7" in results(setup.fake.turns[1].json)[0]
    assert [chat.json["stream"] for chat in setup.fake.turns] == [False, False]


@pytest_twisted.ensureDeferred
async def test_an_old_ollama_works_the_same(
    start: Start, codex: Codex, reactor_under_test: Any
) -> None:
    model = Playlist([Call("exec_command", {"cmd": "echo old-$((2+3))"})], [Say("All done.")])
    fake = FakeOllama(reactor_under_test, model=model, version="0.20.0")
    setup = await start(fake=fake)
    done = await run(codex, setup, "go")
    assert done.code == 0, done.output
    assert "old-5" in results(fake.turns[1].json)[0]


@pytest_twisted.ensureDeferred
async def test_a_missing_model_is_pulled_through_the_bridge(start: Start, codex: Codex) -> None:
    setup = await start(Playlist([Say("Fresh.")]))
    done = await run(codex, setup, "hi", model="new-model:1b")
    assert done.code == 0, done.output
    assert "Fresh." in done.output
    pulls = [seen for seen in setup.fake.exchanges if seen.uri == b"/api/pull"]
    assert [pull.json["model"] for pull in pulls] == ["new-model:1b"]


@pytest_twisted.ensureDeferred
async def test_a_namespaced_tool_is_routed(start: Start, codex: Codex) -> None:
    """Newer versions declare their tools for agents in a namespace, older ones without."""

    def model(request: Json) -> Answer:
        chat = Chat(request)
        done, close = Say("All done."), chat.function("close_agent")
        return [done] if chat.results else [Call(close, {"target": "nobody"})]

    setup = await start(model)
    done = await run(codex, setup, "close it")
    assert done.code == 0, done.output
    (result,) = results(setup.fake.turns[1].json)
    assert "unsupported" not in result
    assert "nobody" in result or "agent" in result


@pytest_twisted.ensureDeferred
async def test_a_provider_in_the_config_works(start: Start, codex: Codex) -> None:
    setup = await start(
        Playlist(
            [Think("Hm."), Call("exec_command", {"cmd": "echo own-$((4+4))"})],
            [Say("All done.")],
        )
    )
    done = await deferToThread(codex.exec_with_provider, setup.url, "go")
    assert done.code == 0, done.output
    assert "All done." in done.output
    assert "own-8" in results(setup.fake.turns[1].json)[0]


@pytest_twisted.ensureDeferred
async def test_a_refusal_is_one_clear_sentence(start: Start, codex: Codex) -> None:
    """Ollama's own sentence, shown once, and one request."""
    setup = await start(Playlist([Refuse(400, "this model has been retired")]))
    done = await run(codex, setup, "hi")
    assert done.code == 1
    assert "this model has been retired" in done.output
    assert "Reconnecting" not in done.output
    assert len(setup.fake.turns) == 1


@pytest_twisted.ensureDeferred
async def test_a_key_is_shown_and_a_wrong_one_refused_once(
    start: Start, codex: Codex, logged: LogBook
) -> None:
    setup = await start(Playlist([Say("Hello there.")]), api_key="sk-right")
    right = await deferToThread(codex.exec_with_provider, setup.url, "hi", key="sk-right")
    assert "Hello there." in right.output
    wrong = await deferToThread(codex.exec_with_provider, setup.url, "hi", key="sk-wrong")
    assert wrong.code != 0
    assert "asks for an API key" in wrong.output
    assert "Reconnecting" not in wrong.output
    lines = [formatEvent(event) for event in logged.events]
    assert len([line for line in lines if line.startswith("POST /v1/responses from")]) == 1


@pytest_twisted.ensureDeferred
async def test_an_answer_that_breaks_off_is_asked_for_again(start: Start, codex: Codex) -> None:
    setup = await start(Playlist([Die("close")], [Say("Second try.")]))
    done = await run(codex, setup, "hi")
    assert done.code == 0, done.output
    assert "Second try." in done.output
    assert len(setup.fake.turns) == 2

"""The real Codex CLI over WebSocket: the model sees what it sees over HTTP."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import orjson
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from codex_bridge.web import session, websocket
from tests import harness
from tests.codex.app_server import converse
from tests.codex.program import NEEDS_CLI, VERSIONS, Codex, Run
from tests.conftest import LogBook, Start
from tests.fake_ollama import Call, Calls, Die, Playlist, Recorded, Refuse, Say, Think
from tests.harness import Json, Setup

pytestmark = NEEDS_CLI
SOCKET = "supports_websockets = true"
VARYING = re.compile(
    r"Wall time: [\d.]+|Chunk ID: \w+|<current_date>.*?</current_date>|process [\d]+"
)
"""What Codex writes into results and prompts of its own accord, and is not the same twice."""


@pytest.fixture(name="start")
def without_reading_ahead(start: Start) -> Start:
    """Over WebSocket Codex prepares its first turn; what the model then reads is no turn."""
    return partial(start, read_ahead=False)


async def run(codex: Codex, setup: Setup, *arguments: str, more: str = SOCKET) -> Run:
    codex.write_provider(setup.url, more)
    done: Run = await deferToThread(codex.exec_as_configured, *arguments)
    return done


def bytes_of(chats: list[Recorded]) -> list[bytes]:
    """The requests to the model, with ids by their order and without what differs by time."""
    seen: list[bytes] = []
    for chat in chats:
        text = VARYING.sub("", orjson.dumps(chat.json).decode())
        ids = list(dict.fromkeys(re.findall(r"call_\w+", text)))
        for n, each in enumerate(ids):
            text = text.replace(each, f"call {n}")
        seen.append(text.encode())
    return seen


def modes(logged: LogBook) -> list[str]:
    """How the replies went to their clients, by the log."""
    return [e["mode"] for e in logged.events if "mode" in e and "exchange" in e]


def play() -> Playlist:
    return Playlist(
        [Think("First."), Say("I look."), Call("exec_command", {"cmd": "echo one-$((1+1))"})],
        [
            Think("Second."),
            Calls(
                Call("exec_command", {"cmd": "echo two-$((2+2))"}),
                Call("exec_command", {"cmd": "printf '\\303\\244\\n\"x\"\\n'"}),
            ),
        ],
        [Say("That was it.")],
        [Think("Again."), Call("exec_command", {"cmd": "echo three-$((3+3))"})],
        [Say("All done.")],
    )


class Noted(websocket.WebSocket):
    """A socket that keeps the messages of its client."""

    def start(self, listener: Any) -> None:
        self.messages: list[Json] = []
        read = listener.message

        def message(data: bytes) -> None:
            self.messages.append(orjson.loads(data))
            read(data)

        listener.message = message
        super().start(listener)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Noted]:
    """The sockets that were opened."""
    sockets: list[Noted] = []

    def made(*arguments: Any) -> Noted:
        sockets.append(Noted(*arguments))
        return sockets[-1]

    monkeypatch.setattr(session, "WebSocket", made)
    return sockets


@pytest_twisted.ensureDeferred
async def test_the_model_gets_the_same_bytes_as_over_http(
    start: Start, codex: Codex, logged: LogBook
) -> None:
    seen = []
    for more in ("", SOCKET):
        setup = await start(play())
        for arguments in (["look around"], ["resume", "--last", "and again"]):
            done = await run(codex, setup, *arguments, more=more)
            assert done.code == 0, done.output
        assert "All done." in done.output
        assert "ERROR" not in done.output
        seen.append(bytes_of(setup.fake.turns))
    over_http, over_socket = seen
    assert len(over_http) == 5
    assert over_socket == over_http
    assert modes(logged)[:5] == 5 * ["streamed"]
    assert set(modes(logged)[5:]) == {"streamed over WebSocket"}


@pytest_twisted.ensureDeferred
async def test_it_sends_only_what_is_new(start: Start, codex: Codex, opened: list[Noted]) -> None:
    setup = await start(play())
    done = await run(codex, setup, "look around")
    assert done.code == 0, done.output
    (socket,) = opened
    kinds = [[item["type"] for item in each["input"]] for each in socket.messages]
    assert socket.messages[0]["generate"] is False
    assert set(kinds[1]) == {"message"}
    assert [set(each) for each in kinds[2:]] == 2 * [{"function_call_output"}]
    assert len({each["previous_response_id"] for each in socket.messages[1:]}) == 3


@pytest.mark.parametrize("codex", [VERSIONS[-1]], indirect=True)
@pytest_twisted.ensureDeferred
async def test_it_sends_everything_where_nothing_is_remembered(
    start: Start, codex: Codex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Codex 0.145 shows the error message and ends the turn."""
    seen = []
    for remembered in (16, 0):
        monkeypatch.setattr(session, "MAX_REMEMBERED", remembered)
        setup = await start(play())
        done = await run(codex, setup, "look around")
        assert done.code == 0, done.output
        assert "ERROR" not in done.output
        seen.append(bytes_of(setup.fake.turns))
    assert seen[1] == seen[0]


@pytest_twisted.ensureDeferred
async def test_it_sends_everything_after_a_turn_that_failed(
    start: Start, codex: Codex, opened: list[Noted]
) -> None:
    answers = [[Say("One.")], [Refuse(400, "no")], [Say("Three.")], [Say("Four.")]]
    setup = await start(Playlist(*answers))
    socket = ["-c", "model_providers.bridge.supports_websockets=true"]
    ended = await deferToThread(converse, codex, setup.url, ["a", "b", "c", "d"], [], socket)
    assert ended == ["completed", "failed", "completed", "completed"]
    contents = [m["content"] for m in setup.fake.turns[-1].json["messages"]]
    assert contents[-6:] == ["a", "One.", "b", "c", "Three.", "d"]


@pytest_twisted.ensureDeferred
async def test_it_tries_again_when_an_answer_broke_off(start: Start, codex: Codex) -> None:
    setup = await start(Playlist([Say("Half of "), Die("reset")], *3 * [[Say("All of it.")]]))
    done = await run(codex, setup, "hi")
    assert done.code == 0, done.output
    assert "All of it." in done.output


@pytest_twisted.ensureDeferred
async def test_where_none_is_served_it_uses_http_at_once(
    start: Start, codex: Codex, logged: LogBook
) -> None:
    setup = await start(Playlist([Say("Hello.")]), websocket=False)
    done = await run(codex, setup, "hi")
    assert (done.code, modes(logged)) == (0, ["streamed"]), done.output
    assert "Hello." in done.output
    assert "Reconnecting" not in done.output


@pytest_twisted.ensureDeferred
async def test_it_is_told_at_once_that_a_key_is_missing(
    start: Start, codex: Codex, logged: LogBook
) -> None:
    setup = await start(Playlist(), api_key="secret")
    done = await run(codex, setup, "hi")
    assert done.code == 1
    assert "This codex-bridge asks for an API key" in done.output
    assert "Reconnecting" not in done.output
    assert modes(logged) == ["streamed"]


@pytest_twisted.ensureDeferred
async def test_it_keeps_a_socket_over_which_nothing_is_said(
    start: Start,
    codex: Codex,
    monkeypatch: pytest.MonkeyPatch,
    opened: list[Noted],
) -> None:
    """It answers pings while a command runs; a client that does not is cut off."""
    monkeypatch.setattr(websocket, "STALL", 1.0)
    setup = await start(
        Playlist([Call("exec_command", {"cmd": "sleep 3; echo awake"})], [Say("Hello.")]),
        heartbeat=0.2,
    )
    done = await run(codex, setup, "sleep")
    assert done.code == 0, done.output
    assert "Hello." in done.output
    assert len(opened) == 1


@pytest_twisted.ensureDeferred
async def test_it_goes_on_after_the_bridge_was_restarted(
    start: Start, codex: Codex, opened: list[Noted]
) -> None:
    wait = "touch begun; until [ -e go ]; do sleep 0.05; done; echo sum=$((40+2))"
    setup = await start(Playlist([Call("exec_command", {"cmd": wait})], [Say("All done.")]))
    running = Deferred.fromCoroutine(run(codex, setup, "wait"))
    while not (codex.folder / "begun").exists():
        await deferLater(setup.reactor, 0.05)
    await setup.service.stopService()
    again = await harness.serve(setup.reactor, setup.fake.url, port=setup.port)
    setup.service = again.service
    (codex.folder / "go").touch()
    done = await running
    assert done.code == 0, done.output
    assert "All done." in done.output
    assert "sum=42" in setup.fake.turns[-1].json["messages"][-1]["content"]
    assert "ERROR" not in done.output
    assert len(opened) == 2

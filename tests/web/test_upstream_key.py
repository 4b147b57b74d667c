"""The key for the upstream goes with every request to it, and nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.logger import formatEvent

from codex_bridge.settings import Settings
from codex_bridge.start_checks import check_before_start, upstream_trouble
from tests.answering import AnsweringServer, answer
from tests.conftest import LogBook, Start
from tests.fake_ollama import Die, FakeOllama, Playlist, Say
from tests.fake_ollama.facts import ModelFacts
from tests.harness import CODEX, Setup, serve

KEY = "sk-upstream-1234567890"
CLIENTS = {"Authorization": "Bearer sk-client", "X-Api-Key": "sk-client"}
Behind = Callable[..., Any]


@pytest_twisted.async_yield_fixture
async def behind() -> AsyncIterator[Behind]:
    """Start a bridge before a server with these answers; both are stopped at the end."""
    running: list[Any] = []

    async def begin(
        answers: Callable[[str], bytes], **settings: Any
    ) -> tuple[AnsweringServer, Setup]:
        server = AnsweringServer(reactor, answers)
        setup = await serve(reactor, server.url, **settings)
        running.extend([setup, server])
        return server, setup

    yield begin
    for each in running:
        await each.stop()


def sent(setup: Setup, name: bytes) -> set[tuple[bytes, ...]]:
    """The values of a header in all that the fake Ollama was asked."""
    return {
        tuple(
            value for key, values in seen.headers.items() if key.lower() == name for value in values
        )
        for seen in setup.fake.exchanges
    }


@pytest_twisted.ensureDeferred
async def test_every_kind_of_request_has_the_key_and_none_the_clients(start: Start) -> None:
    model = Playlist([Say("Half of an answer", pieces=("Half of ", "an answer")), Die("close")])
    fake = FakeOllama(reactor, model=model, models=[ModelFacts(num_ctx=None)], loaded=False)
    setup = await start(fake=fake, upstream_api_key=KEY)
    assert await deferToThread(upstream_trouble, fake.url, KEY) is None
    await setup.ask(headers=CLIENTS | CODEX)
    await setup.request("GET", "/v1/models?client_version=0.169.0", headers=CLIENTS)
    await setup.request("GET", "/__health", headers=CLIENTS)
    await setup.request("GET", "/api/tags", headers=CLIENTS)
    await setup.request("POST", "/v1/chat/completions", {"model": "none"}, CLIENTS)
    asked = {seen.uri for seen in fake.exchanges}
    assert asked >= {
        b"/api/version",
        b"/api/show",
        b"/api/ps",
        b"/api/generate",
        b"/api/chat",
        b"/v1/models",
        b"/api/tags",
        b"/v1/chat/completions",
    }
    assert fake.renderings
    assert sent(setup, b"authorization") == {(f"Bearer {KEY}".encode(),)}
    assert sent(setup, b"x-api-key") == {()}


@pytest_twisted.ensureDeferred
async def test_without_a_key_exchanges_send_none_and_pass_through_the_clients(
    start: Start,
) -> None:
    setup = await start(Playlist([Say("ok")]))
    await deferToThread(upstream_trouble, setup.fake.url)
    await setup.ask(headers=CLIENTS)
    assert sent(setup, b"authorization") == {()}
    await setup.request("GET", "/api/tags", headers=CLIENTS)
    last = {name.lower(): values for name, values in setup.fake.exchanges[-1].headers.items()}
    assert last[b"authorization"] == [b"Bearer sk-client"]
    assert last[b"x-api-key"] == [b"sk-client"]


@pytest_twisted.ensureDeferred
async def test_both_keys_each_for_its_side(start: Start) -> None:
    setup = await start(Playlist([Say("ok")]), api_key="sk-bridge", upstream_api_key=KEY)
    assert (await setup.request("GET", "/api/tags")).status == 401
    assert (await setup.ask(headers={"Authorization": f"Bearer {KEY}"})).status == 401
    assert setup.fake.exchanges == []
    assert (
        await setup.request("GET", "/api/tags", headers={"x-api-key": "sk-bridge"})
    ).status == 200
    assert sent(setup, b"authorization") == {(f"Bearer {KEY}".encode(),)}


def echo(status: str) -> Callable[[str], bytes]:
    """A server that repeats the key which it refuses, as some do."""
    body = orjson.dumps({"error": {"message": f"Incorrect API key provided: {KEY}."}})
    return lambda path: answer(status, body, "Content-Type: application/json")


@pytest.mark.parametrize("status", ["401 Unauthorized", "400 Bad Request", "500 Oops", "429 Wait"])
@pytest_twisted.ensureDeferred
async def test_neither_the_log_nor_a_message_has_the_key(
    behind: Behind, logged: LogBook, status: str
) -> None:
    _, setup = await behind(echo(status), upstream_api_key=KEY, debug=True)
    told = [
        await setup.ask(headers=CODEX),
        await setup.ask(),
        await setup.ask({"stream": False}),
        await setup.request("GET", "/v1/models?client_version=0.169.0"),
        await setup.request("GET", "/__health"),
    ]
    await setup.request("GET", "/api/tags")
    lines = "\n".join(map(formatEvent, logged.events))
    assert "chat request" in lines
    assert KEY not in lines
    assert not [reply.body for reply in told if KEY.encode() in reply.body]
    assert "Incorrect API key provided" in told[0].response["error"]["message"]


def test_the_key_is_in_no_repr() -> None:
    assert KEY not in repr(Settings(upstream_api_key=KEY))


NO_KEY = "set CODEX_BRIDGE_UPSTREAM_API_KEY where the bridge runs"
BAD_KEY = "it refuses the key in CODEX_BRIDGE_UPSTREAM_API_KEY"


@pytest.mark.parametrize(("key", "says"), [(None, NO_KEY), (KEY, BAD_KEY)])
@pytest.mark.parametrize("status", [401, 403])
@pytest_twisted.ensureDeferred
async def test_a_server_that_denies_access_is_told_with_what_to_do(
    behind: Behind, logged: LogBook, status: int, key: str | None, says: str
) -> None:
    server, setup = await behind(
        lambda path: answer(f"{status} No", b"Please sign in."), upstream_api_key=key
    )
    (error,) = [(await setup.ask(headers=CODEX)).response["error"]]
    assert error["code"] == "invalid_prompt"
    reply = await setup.ask()
    listed = await setup.request("GET", "/v1/models?client_version=0.169.0")
    for told in (reply, listed):
        assert (told.status, told.json["error"]["code"]) == (403, "upstream_access_denied")
    for message in (error, reply.json["error"], listed.json["error"]):
        assert message["message"] == (
            f"The server at {server.url} denies access: Please sign in ({status}); "
            + ("if it wants a key, " if key is None else "")
            + f"{says}."
        )
    assert not any("is asked again" in formatEvent(event) for event in logged.events)


@pytest.mark.parametrize("key", [None, KEY])
@pytest_twisted.ensureDeferred
async def test_ollamas_own_401_is_about_the_sign_in_for_the_cloud(
    behind: Behind, key: str | None
) -> None:
    answers = {
        "/api/version": answer("200 OK", b'{"version":"0.33.0"}'),
        "/api/show": answer("200 OK", b'{"capabilities":["tools"],"remote_host":"x"}'),
        "/api/ps": answer("200 OK", b'{"models":[]}'),
        "/api/chat": answer("401 Unauthorized", b'{"error":"unauthorized","signin_url":"x"}'),
    }
    _, setup = await behind(answers.__getitem__, upstream_api_key=key)
    message = (await setup.ask()).json["error"]["message"]
    assert message.endswith("unauthorized. For a cloud model, run: ollama signin")


@pytest_twisted.ensureDeferred
async def test_a_server_that_denies_what_it_does_not_have_is_used(behind: Behind) -> None:
    """Some answer 403, not 404, for a route such as /api/version."""
    said = b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}'
    answers = {"/v1/chat/completions": answer("200 OK", said, "Content-Type: application/json")}
    server, setup = await behind(lambda path: answers.get(path, answer("403 Forbidden")))
    assert (await setup.ask()).response["status"] == "completed"
    assert (await setup.request("GET", "/__health")).status == 200
    assert (await setup.ask()).response["status"] == "completed"
    # At the start, for each exchange, and for the health: it does not tell what it is.
    asked = [head.split(b" ")[1] for head in server.heads]
    assert asked.count(b"/api/version") == 4


@pytest.mark.parametrize(("key", "says"), [(None, NO_KEY), (KEY, BAD_KEY)])
@pytest.mark.parametrize("quiet", [False, True])
@pytest_twisted.ensureDeferred
async def test_the_start_goes_on_without_access_and_prints_one_line(
    behind: Behind, capsys: pytest.CaptureFixture[str], quiet: bool, key: str | None, says: str
) -> None:
    server, setup = await behind(lambda path: answer("401 Unauthorized"))
    await setup.service.identified
    server.heads.clear()
    settings = Settings(port=0, upstream_url=server.url, upstream_api_key=key, quiet=quiet)
    await deferToThread(check_before_start, settings)
    printed = capsys.readouterr()
    assert printed.out == ""
    if quiet:
        assert printed.err == ""
        return
    assert printed.err.count("\n") == 1
    assert printed.err.startswith(f"codex-bridge: the server at {server.url} denies access: ")
    assert says in printed.err
    assert KEY not in printed.err
    assert server.header(b"authorization") == [key and f"Bearer {KEY}".encode()]


@pytest_twisted.ensureDeferred
async def test_a_server_that_denies_everything_does_not_look_like_one_without_models(
    behind: Behind,
) -> None:
    """A client's own key may open it, so its routes pass through."""
    _, setup = await behind(lambda path: answer("401 Unauthorized"))
    assert (await setup.request("GET", "/api/tags")).status == 401
    assert (await setup.request("DELETE", "/api/delete", {"model": "m"})).status == 401

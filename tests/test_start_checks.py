"""Before it starts, the bridge checks its port and its Ollama."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from codex_bridge import start_checks, tap
from codex_bridge.options import Options
from codex_bridge.settings import Settings
from codex_bridge.start_checks import (
    check_before_start,
    port_trouble,
    store_trouble,
    upstream_trouble,
)
from codex_bridge.storage.store import check_store
from tests.answering import AnsweringServer, answer
from tests.conftest import Start
from tests.fake_ollama import FakeOllama, sides


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which a server listens and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return server.getsockname()[1]


def test_a_free_port_is_fine(free_port: int) -> None:
    assert port_trouble("127.0.0.1", free_port, None) is None
    assert port_trouble("127.0.0.1", 0, None) is None


def test_a_taken_port_is_reported_with_a_port_that_is_free(
    taken_port: int, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start_checks, "TIMEOUT", 0.01)
    monkeypatch.setattr(start_checks, "OTHER_PORTS", (taken_port, free_port))
    assert port_trouble("127.0.0.1", taken_port, None) == (
        f"port {taken_port} on 127.0.0.1 is taken; give the bridge another port: "
        f"codex-bridge run --port {free_port}"
    )


def test_an_address_of_another_machine_is_reported() -> None:
    assert "--interface" in (port_trouble("192.0.2.1", 0, None) or "")


def test_a_store_that_cannot_be_used_ends_the_start_with_one_line(
    free_port: int, tmp_path: Path
) -> None:
    path = tmp_path / "no" / "store"
    with pytest.raises(SystemExit) as caught:
        check_before_start(Settings(port=free_port, store=str(path)))
    assert caught.value.code == (
        f"codex-bridge: --store: {path} cannot be made: there is no folder {path.parent}"
    )


def test_a_damaged_store_is_told_and_is_free_for_the_service(tmp_path: Path) -> None:
    path, told = tmp_path / "store", []
    path.write_bytes(b"no database" * 1000)
    assert store_trouble(str(path), told.append) is None
    assert len(told) == 1
    assert f"renamed to {path}.aside-1" in told[0]
    check_store(str(path), pytest.fail)


@pytest.mark.parametrize("store", ["memory", "off"])
def test_without_a_file_nothing_is_written(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert store_trouble(store, pytest.fail) is None
    assert list(tmp_path.iterdir()) == []


def test_a_name_in_place_of_an_address_is_reported() -> None:
    assert "--interface" in (port_trouble("no.such.host.invalid", 0, None) or "")


def test_an_ollama_that_does_not_run_is_reported(free_port: int) -> None:
    trouble = upstream_trouble(f"http://127.0.0.1:{free_port}") or ""
    assert trouble.startswith(f"no model server answers at http://127.0.0.1:{free_port} (")
    assert f"(for Ollama: OLLAMA_HOST=127.0.0.1:{free_port} ollama serve)" in trouble
    assert "refused" in trouble


def test_an_unknown_host_of_ollama_is_reported() -> None:
    assert "no.such.host.invalid" in (upstream_trouble("http://no.such.host.invalid:1") or "")


def closed(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def test_one_of_several_upstreams_that_does_not_answer_is_told(
    free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        answering = Thread(target=answer_once, args=(server,))
        answering.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        check_before_start(Settings(port=0, upstream=(("a", closed(free_port)), ("b", url))))
        answering.join()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"codex-bridge: a: no model server answers at {closed(free_port)}")
    assert line.endswith("or give the --upstream a=URL of one that runs")


def answer_once(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def test_several_upstreams_of_which_none_answers_end_the_start_with_one_line(
    free_port: int,
) -> None:
    upstream = (("a", closed(free_port)), ("b", closed(free_port)))
    with pytest.raises(SystemExit) as caught:
        check_before_start(Settings(port=0, upstream=upstream))
    assert isinstance(caught.value.code, str)
    assert caught.value.code.startswith("codex-bridge: a: no model server answers")
    assert "; b: no model server answers" in caught.value.code
    assert "\n" not in caught.value.code


def test_preflight_ends_the_process_with_one_line(free_port: int) -> None:
    with pytest.raises(SystemExit) as caught:
        check_before_start(Settings(port=0, upstream_url=f"http://127.0.0.1:{free_port}"))
    assert isinstance(caught.value.code, str)
    assert caught.value.code.startswith("codex-bridge: no model server answers at")
    assert "\n" not in caught.value.code


@pytest_twisted.async_yield_fixture
async def ollama(reactor_under_test: Any) -> Any:
    fake = FakeOllama(reactor_under_test)
    fake.listen()
    yield fake
    await fake.stop()


def use(monkeypatch: pytest.MonkeyPatch, moved: int, own: int) -> None:
    """Let `moved` and `own` stand for the ports 11433 and 11434, which may be in use here."""
    urls = tuple(f"http://127.0.0.1:{port}" for port in (moved, own))
    monkeypatch.setattr(start_checks, "USUAL_URLS", urls)
    monkeypatch.setattr(start_checks, "DEFAULTS", Settings(port=own))


async def checked(port: int, is_upstream_given: bool = False, **more: Any) -> Settings:
    """The settings that a bridge on `port` starts with."""
    settings = Settings(port=port, **more)
    done: Settings = await deferToThread(check_before_start, settings, is_upstream_given)
    return done


async def refusal(port: int, is_upstream_given: bool = False, **more: Any) -> str:
    """Why a bridge on `port` does not start."""
    with pytest.raises(SystemExit) as caught:
        await checked(port, is_upstream_given, **more)
    assert isinstance(caught.value.code, str)
    return caught.value.code


@pytest_twisted.ensureDeferred
async def test_an_ollama_on_its_own_port_is_found_by_a_bridge_on_another(
    ollama: FakeOllama, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, moved=free_port, own=ollama.port)
    assert (await checked(port=0)).upstream_url == ollama.url


@pytest_twisted.ensureDeferred
async def test_an_ollama_that_was_moved_is_found_first_whatever_the_port_of_the_bridge(
    ollama: FakeOllama, start: Start, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = (await start()).fake
    use(monkeypatch, moved=ollama.port, own=other.port)
    assert (await checked(port=0)).upstream_url == ollama.url
    use(monkeypatch, moved=ollama.port, own=free_port)
    assert (await checked(port=free_port)).upstream_url == ollama.url


@pytest.mark.parametrize("is_given", [False, True])
@pytest_twisted.ensureDeferred
async def test_the_service_is_made_with_the_upstream_that_was_found(
    ollama: FakeOllama, start: Start, is_given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, given = ollama, (await start()).fake
    use(monkeypatch, moved=found.port, own=found.port)
    made: list[Settings] = []

    def make_service(settings: Settings) -> SimpleNamespace:
        made.append(settings)
        return SimpleNamespace()

    monkeypatch.setattr(tap, "make_service", make_service)
    monkeypatch.setattr(tap, "choose_observer", lambda *_: None)
    for name in ("CODEX_BRIDGE_UPSTREAM_URL", "CODEX_BRIDGE_OLLAMA_URL"):
        monkeypatch.delenv(name, raising=False)
    options = Options()
    options.parseOptions(["--port=0", *([f"--upstream-url={given.url}"] if is_given else [])])
    await deferToThread(tap.makeService, options)
    assert [each.upstream_url for each in made] == [given.url if is_given else found.url]


@pytest_twisted.ensureDeferred
async def test_a_bridge_is_not_put_in_front_of_a_bridge_by_itself(
    start: Start, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = await start()
    use(monkeypatch, moved=free_port, own=bridge.port)
    assert await refusal(port=0) == (
        f"codex-bridge: no model server answers at http://127.0.0.1:{free_port} or {bridge.url}. "
        f"Start one (for Ollama: ollama serve), or give the --upstream-url of one that runs"
    )


@pytest_twisted.ensureDeferred
async def test_an_upstream_that_is_given_is_the_only_one(
    ollama: FakeOllama, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, moved=free_port, own=ollama.port)
    nowhere = f"http://127.0.0.1:{free_port}"
    assert nowhere in await refusal(0, is_upstream_given=True, upstream_url=nowhere)
    done = await checked(0, is_upstream_given=True, upstream_url=ollama.url)
    assert done.upstream_url == ollama.url


def test_without_any_ollama_both_places_to_start_it_are_told(
    free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        own = server.getsockname()[1]
    use(monkeypatch, moved=free_port, own=own)
    with pytest.raises(SystemExit) as caught:
        check_before_start(Settings(port=own), is_upstream_given=False)
    assert caught.value.code == (
        f"codex-bridge: no model server answers at http://127.0.0.1:{free_port}. Start one there "
        f"(for Ollama: OLLAMA_HOST=127.0.0.1:{free_port} ollama serve), or start Ollama as usual "
        f"and the bridge on another port (codex-bridge run --port 11500), or give the "
        f"--upstream-url of one that runs"
    )


@pytest_twisted.ensureDeferred
async def test_where_ollama_has_the_port_both_ways_are_told_the_shortest_first(
    ollama: FakeOllama, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, moved=free_port, own=ollama.port)
    monkeypatch.setattr(start_checks, "OTHER_PORTS", (ollama.port, free_port))
    monkeypatch.delenv("CODEX_OSS_BASE_URL", raising=False)
    first, *ways = (await refusal(ollama.port)).splitlines()
    assert first == (
        f"codex-bridge: port {ollama.port} on 127.0.0.1 is taken by Ollama. There are two ways:"
    )
    assert ways[1] == f"   codex-bridge run --port {free_port}"
    assert f"CODEX_OSS_PORT={free_port}" in ways[2].replace(" ", "=")
    assert f"codex-bridge configure --bridge-url http://127.0.0.1:{free_port} " in ways[3]
    assert ways[4].startswith("2. Move Ollama.")
    assert ways[-1] == "   codex-bridge run"


@pytest.mark.parametrize(
    ("upstream", "way"),
    [
        ("http://localhost:11433", "move it (OLLAMA_HOST=127.0.0.1:11433 ollama serve)"),
        ("http://[::1]:11500", "move it (OLLAMA_HOST=[::1]:11500 ollama serve)"),
        # The bridge is told to find Ollama on another machine.
        ("http://gpu:11434", "stop it"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_an_ollama_that_has_the_port_is_to_go_where_the_bridge_is_told_to_find_it(
    ollama: FakeOllama, free_port: int, upstream: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, moved=free_port, own=ollama.port)
    monkeypatch.setattr(start_checks, "OTHER_PORTS", (free_port,))
    assert await refusal(ollama.port, is_upstream_given=True, upstream_url=upstream) == (
        f"codex-bridge: port {ollama.port} on 127.0.0.1 is taken by Ollama; {way}, or give the "
        f"bridge another port: codex-bridge run --port {free_port}"
    )


@pytest_twisted.ensureDeferred
async def test_who_else_has_the_port_is_told_in_one_line(
    start: Start, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = await start()
    monkeypatch.setattr(start_checks, "OTHER_PORTS", (free_port,))
    other = f"give the bridge another port: codex-bridge run --port {free_port}"
    taken = f"codex-bridge: port {setup.port} on 127.0.0.1 is taken by"
    assert (
        await refusal(setup.port)
        == f"{taken} a codex-bridge that runs already; stop it, or {other}"
    )
    monkeypatch.delitem(sides.ROUTES, "/api/version")
    use(monkeypatch, moved=free_port, own=setup.fake.port)
    taken = f"codex-bridge: port {setup.fake.port} on 127.0.0.1 is taken by"
    assert await refusal(setup.fake.port) == f"{taken} a model server; {other}"
    assert (await checked(port=0)).upstream_url == setup.fake.url


@pytest.mark.parametrize(
    ("answers", "name"),
    [
        ({"/v1/models": '{"data": [{"id": "a", "owned_by": "vllm"}]}'}, "vLLM"),
        ({"/v1/models": '{"data": [{"id": "a", "owned_by": "llamacpp"}]}'}, "llama.cpp"),
        ({"/v1/models": '{"data": [{"id": "a", "owned_by": "organization_owner"}]}'}, "LM Studio"),
        # It says that it is an Ollama, too.
        (
            {
                "/api/version": '{"version": "0.7.0"}',
                "/v1/models": '{"data": [{"id": "a", "owned_by": "koboldcpp"}]}',
            },
            "KoboldCpp",
        ),
        ({"/api/version": '{"version": "0.33.0"}'}, "Ollama"),
        ({"/v1/models": '{"data": [{"id": "a", "owned_by": "someone"}]}'}, "a model server"),
        ({"/v1/models": '{"data": []}'}, "a model server"),
        ({"/v1/models": '["data"]', "/__health": "[" * 100_000}, None),
        ({}, None),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_server_is_called_what_it_says_that_it_is(
    answers: dict[str, str], name: str | None, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = AnsweringServer(
        reactor, lambda path: answer("200 OK", answers.get(path, "{}").encode())
    )
    monkeypatch.setattr(start_checks, "OTHER_PORTS", (free_port,))
    port = urlsplit(server.url).port or 0
    assert await refusal(port) == (
        f"codex-bridge: port {port} on 127.0.0.1 is taken{f' by {name}' if name else ''}; "
        f"give the bridge another port: codex-bridge run --port {free_port}"
    )
    await server.stop()


@pytest_twisted.ensureDeferred
async def test_a_server_that_redirects_is_told_only_if_no_other_answers(
    ollama: FakeOllama, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = "Location: http://gpu/api/version"
    server = AnsweringServer(reactor, lambda path: answer("301 X", b"", moved))
    port = urlsplit(server.url).port or 0
    use(monkeypatch, moved=port, own=ollama.port)
    assert (await checked(port=0)).upstream_url == ollama.url
    use(monkeypatch, moved=port, own=free_port)
    assert await refusal(port=0) == (
        f"codex-bridge: cannot talk to the server at {server.url}: it redirects to "
        f"http://gpu/api/version; give http://gpu as --upstream-url"
    )
    await server.stop()


@pytest_twisted.ensureDeferred
async def test_the_key_is_tried_on_the_server_that_is_found(
    free_port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = AnsweringServer(reactor, lambda path: answer("401 Unauthorized"))
    use(monkeypatch, moved=free_port, own=urlsplit(server.url).port or 0)
    assert (await checked(port=0, upstream_api_key="sk-1")).upstream_url == server.url
    assert server.header(b"authorization")[0] == b"Bearer sk-1"
    assert capsys.readouterr().err == (
        f"codex-bridge: the server at {server.url} denies access: Unauthorized (401); "
        f"it refuses the key in CODEX_BRIDGE_UPSTREAM_API_KEY\n"
    )
    await server.stop()


@pytest_twisted.ensureDeferred
async def test_a_bridge_that_is_passed_over_may_deny_access_without_a_word(
    start: Start,
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bridge = await start(api_key="sk-clients-of-the-bridge")
    use(monkeypatch, moved=free_port, own=bridge.port)
    assert f"no model server answers at http://127.0.0.1:{free_port} or" in await refusal(port=0)
    assert capsys.readouterr().err == ""

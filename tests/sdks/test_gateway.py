"""agentic-api, a gateway that keeps conversations, works in front of a bridge."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from tests.conftest import Start
from tests.fake_ollama import FakeOllama
from tests.processes import eventually
from tests.sdks.conftest import environment
from tests.sdks.conversation import ANSWERS, FACTS, MODELS, WEATHER, meant, script, seen
from tests.sdks.run import command, hold, task
from tests.sdks.table import CLIENTS


def free_port() -> int:
    """A port that was free just now; the gateway cannot be asked which one it took."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def gateway(bridge: str, folder: Path) -> Iterator[str]:
    """Run the gateway in front of the bridge at the URL `bridge`; the gateway's own URL."""
    port = free_port()
    program = environment("python") / "bin" / "agentic-server"
    arguments = ["--llm-api-base", bridge, "--skip-llm-ready-check"]
    arguments += ["--gateway-host", "127.0.0.1", "--gateway-port", str(port)]
    arguments += ["--db-url", f"sqlite://{folder / 'conversations.db'}"]
    process = subprocess.Popen(
        [str(program), *arguments],
        env={"HOME": str(folder), "NO_PROXY": "127.0.0.1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: socket.create_connection(("127.0.0.1", port)).close())
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.mark.sdks
@pytest.mark.timeout(700)
@pytest_twisted.ensureDeferred
async def test_a_gateway_keeps_conversations_for_a_bridge(start: Start, tmp_path: Path) -> None:
    """It drops the reasoning, of which it reads only the raw form that Codex does not show."""
    client = next(client for client in CLIENTS if client.name == "openai-python")
    run, path = await deferToThread(command, client, tmp_path)
    fake = FakeOllama(reactor, model=script(WEATHER), models=FACTS)
    setup = await start(fake=fake)

    def converse() -> object:
        with gateway(setup.url, tmp_path) as url:
            return hold(run, tmp_path, task(url, "previous id", MODELS, more=False), path)

    got = await deferToThread(converse)
    for name, model in MODELS.items():
        assert seen(fake, model) == meant(WEATHER, "none")
        assert got[name] == list(ANSWERS)

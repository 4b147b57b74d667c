"""The `codex-bridge` command."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from codex_bridge.cli import main
from codex_bridge.cli.command_line import say
from tests import processes
from tests.conftest import Start
from tests.harness import Setup


def test_the_demo_shows_request_chat_and_events_and_what_to_do_next(tmp_path: Path) -> None:
    done = processes.run("codex-bridge", "demo", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for shown in (
        "POST /v1/responses",
        "multi_agent_v1 (spawn_agent)",
        "POST /api/chat",
        "multi_agent_v1__spawn_agent",
        'function_call exec_command({"cmd":"ls /tmp"})',
        "completed",
        "codex-bridge run",
    ):
        assert shown in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_served_demo_answers_until_it_is_stopped(tmp_path: Path) -> None:
    demo = processes.spawn("codex-bridge", "demo", "--serve", cwd=tmp_path)
    assert demo.stdout is not None
    seen = ""
    while "Ctrl-C" not in seen:
        line = demo.stdout.readline()
        assert line, seen
        seen += line
    port = int(seen.split("CODEX_OSS_BASE_URL=http://127.0.0.1:")[1].split("/")[0])
    assert processes.health(port)["upstream"]["reachable"] is True
    demo.send_signal(signal.SIGINT)
    rest, _ = demo.communicate(timeout=processes.TIMEOUT)
    assert "Traceback" not in rest


@pytest_twisted.ensureDeferred
async def test_the_demo_tells_when_its_port_is_taken(start: Start, tmp_path: Path) -> None:
    setup: Setup = await start()
    port = str(setup.port)
    done: Any = await deferToThread(
        processes.run, "codex-bridge", "demo", "--serve", "--port", port, cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stderr == f"codex-bridge: port {port} is taken; give another --port\n"


@pytest.mark.parametrize("arguments", [[], ["fly"], ["demo", "--port", "x"]])
def test_wrong_use_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "codex-bridge" in capsys.readouterr().err


def test_a_name_cannot_move_the_cursor_of_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("evil\x1b[2J\u202e:7b\r\n\ta tab stays")
    assert capsys.readouterr().out == "evil\\x1b[2J\\u202e:7b\\r\n\ta tab stays\n"
    say("lost", sys.stderr)
    assert capsys.readouterr() == ("", "lost\n")

"""The `codex-bridge` command."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

import codex_bridge
from codex_bridge.cli import main, real_model
from codex_bridge.cli.command_line import CommandError, say
from codex_bridge.cli.llama_server import LlamaServer
from tests import processes
from tests.cli.command import run
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
    seen = read_until(demo, "Ctrl-C")
    port = int(seen.split("CODEX_OSS_BASE_URL=http://127.0.0.1:")[1].split("/")[0])
    assert processes.health(port)["upstream"]["reachable"] is True
    demo.send_signal(signal.SIGINT)
    rest, _ = demo.communicate(timeout=processes.TIMEOUT)
    assert "Traceback" not in rest


def test_the_real_demo_shows_what_llama_cpp_answers(tmp_path: Path, llama: LlamaServer) -> None:
    done = processes.run(
        "codex-bridge", "demo", "--real", "--model", str(llama.model), cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    for shown in (
        "llama.cpp runs tiny.gguf",
        "POST /v1/chat/completions",
        "multi_agent_v1__spawn_agent",
        'function_call exec_command({"cmd": "ls /tmp"})',
        "completed",
        f"codex-bridge demo --real --model {llama.model} --serve",
    ):
        assert shown in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_real_demo_takes_the_model_of_the_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, llama: LlamaServer
) -> None:
    monkeypatch.chdir(processes.ROOT)
    with real_model.running(None) as found:
        assert found.model.read_bytes() == llama.model.read_bytes()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(codex_bridge, "__file__", str(tmp_path / "codex_bridge" / "__init__.py"))
    with pytest.raises(CommandError, match=r"in a checkout of codex-bridge.* --model FILE\.gguf"):
        real_model.running(None).__enter__()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("none.gguf", None, "there is no file {path}; name another with --model FILE.gguf"),
        ("bad.gguf", b"garbage", "llama.cpp cannot run {path}: "),
    ],
)
def test_the_real_demo_tells_in_one_line_why_it_cannot_run_a_model(
    tmp_path: Path, llama: LlamaServer, name: str, content: bytes | None, told: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    done = run("demo", "--real", "--model", str(path))
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"codex-bridge: {told.format(path=path)}")
    assert done.err.count("\n") == 1


def test_the_real_demo_tells_which_extra_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_model, "is_installed", lambda: False)
    done = run("demo", "--real")
    assert done.code == 1
    remedy = "pip install 'codex-ollama-bridge[engine]'"
    assert done.err == f"codex-bridge: demo --real needs llama.cpp; run: {remedy}\n"


def test_a_model_for_the_demo_without_real_is_refused() -> None:
    done = run("demo", "--model", "tiny.gguf")
    assert (done.code, done.err) == (1, "codex-bridge: --model is for --real; give both\n")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_the_engine_of_the_served_real_demo_ends_with_it(
    tmp_path: Path, llama: LlamaServer, end: signal.Signals
) -> None:
    model = tmp_path / "another.gguf"
    model.symlink_to(llama.model)
    arguments = ("demo", "--serve", "--real", "--model", str(model))
    demo = processes.spawn("codex-bridge", *arguments, cwd=tmp_path)
    seen = read_until(demo, "Ctrl-C")
    port = int(seen.split("CODEX_OSS_BASE_URL=http://127.0.0.1:")[1].split("/")[0])
    assert "-m another" in seen
    assert processes.health(port)["upstream"]["reachable"] is True
    (engine,) = started_by(demo.pid)
    demo.send_signal(end)
    rest, _ = demo.communicate(timeout=processes.TIMEOUT)
    assert "Traceback" not in rest

    def is_gone() -> None:
        assert engine not in {pid for pid, _ in running_processes()}

    processes.eventually(is_gone)


def started_by(parent: int) -> list[int]:
    """The processes that a process started."""
    return [pid for pid, by in running_processes() if by == parent]


def running_processes() -> list[tuple[int, int]]:
    """Each process that has not ended, and the one that started it."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in listed.stdout.splitlines()]
    return [(int(pid), int(parent)) for pid, parent, state in rows if not state.startswith("Z")]


def read_until(process: subprocess.Popen[str], mark: str) -> str:
    """What a process printed, up to the line with `mark`."""
    assert process.stdout is not None
    seen = ""
    while mark not in seen:
        line = process.stdout.readline()
        assert line, seen
        seen += line
    return seen


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

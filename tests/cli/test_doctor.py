"""`codex-bridge doctor` against a bridge and a scripted model, on real sockets."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_twisted
from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from codex_bridge.cli import main
from codex_bridge.cli.doctor.report import COLUMNS
from codex_bridge.fake_ollama import Call, Die, FakeOllama, Hold, Model, ModelFacts, Refuse, Say
from tests import processes
from tests.cli.patients import GOOD_TICKET, TICKET, leaked, patient
from tests.conftest import Start
from tests.harness import Setup

Json = dict[str, Any]
NO_TOOLS = ModelFacts("gemma3:4b", ("completion", "vision"))
CLOSED = "http://127.0.0.1:9"


@frozen
class Report:
    """How doctor ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Json:
        return orjson.loads(self.out)

    def check(self, name: str) -> tuple[str, str, str | None]:
        """Status, detail and remedy of the one check called `name`."""
        (found,) = [each for each in self.json["checks"] if each["name"] == name]
        return found["status"], found["detail"], found["remedy"]

    @property
    def failures(self) -> list[str]:
        return [each["name"] for each in self.json["checks"] if each["status"] == "failed"]

    def outcome(self, trial: str) -> str:
        (found,) = [each for each in self.json["probe"]["trials"] if each["name"] == trial]
        return str(found["outcome"])


Doctor = Callable[..., Awaitable[Report]]


@pytest.fixture
def codex(tmp_path: Path) -> Path:
    """A program that tells a version, as Codex does."""
    program = tmp_path / "codex"
    program.write_text("#!/bin/sh\necho codex-cli 0.169.0\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment of which nothing is known but an empty CODEX_HOME."""
    for name in list(os.environ):
        if name.upper().endswith("_PROXY") or name.startswith("CODEX_"):
            monkeypatch.delenv(name)
    made = tmp_path / "codex-home"
    made.mkdir()
    monkeypatch.setenv("CODEX_HOME", str(made))
    return made


@pytest.fixture
def doctor(codex: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    async def run(url: str, *arguments: str, json: bool = True) -> Report:
        shape = ["--json"] if json else []
        given = ["doctor", *arguments, "--bridge-url", url, "--codex", str(codex), *shape]

        def blocking() -> int:
            with pytest.raises(SystemExit) as caught:
                main(given)
            return int(caught.value.code or 0)

        code: Any = await deferToThread(blocking)
        return Report(code, *capsys.readouterr())

    return run


def provider(setup: Setup, *lines: str, window: int | None = 32768) -> str:
    """A configuration of Codex that points at the bridge."""
    top = f"model_context_window = {window}\n" if window else ""
    return (
        f'model_provider = "bridge"\n{top}[model_providers.bridge]\nname = "codex-bridge"\n'
        f'base_url = "{setup.url}/v1"\n' + "".join(f"{line}\n" for line in lines)
    )


@pytest.fixture
def well(start: Start, home: Path) -> Callable[..., Awaitable[Setup]]:
    """Start a bridge that Codex is configured for."""

    async def run(model: Model | None = None, **more: Any) -> Setup:
        setup = await start(model or patient(), **more)
        (home / "config.toml").write_text(provider(setup))
        return setup

    return run


Well = Callable[..., Awaitable[Setup]]


@pytest_twisted.ensureDeferred
async def test_where_all_is_well_every_check_is_ok(doctor: Doctor, well: Well) -> None:
    setup = await well()
    done = await doctor(setup.url)
    assert done.code == 0
    assert {each["status"] for each in done.json["checks"]} == {"ok"}
    assert [each["name"] for each in done.json["checks"]] == [
        "bridge",
        "ollama",
        "ollama version",
        "model",
        "capabilities",
        "proxy",
        "codex",
        "context",
        "config",
        "probe plain",
        "probe command",
        "probe result",
        "probe nested",
        "verdict",
    ]
    assert done.json["verdict"] == "good"
    assert done.check("model")[1] == "qwen3:14b (loaded now); there is: qwen3:14b"


@pytest_twisted.ensureDeferred
async def test_the_json_has_a_stable_shape(doctor: Doctor, well: Well) -> None:
    done = await doctor((await well()).url, "qwen3:14b")
    assert set(done.json) == {"checks", "probe", "verdict"}
    assert all(set(c) == {"name", "status", "detail", "remedy"} for c in done.json["checks"])
    probe = done.json["probe"]
    assert set(probe) == {
        "model",
        "trials",
        "mended",
        "first_token_seconds",
        "tokens_per_second",
    }
    trial = {"name", "outcome", "right", "detail", "mended", "seconds"}
    assert all(set(each) == trial for each in probe["trials"])
    assert probe["first_token_seconds"] >= 0


@pytest_twisted.ensureDeferred
async def test_people_get_a_line_for_each_check_and_the_remedy_below(
    doctor: Doctor, start: Start
) -> None:
    setup = await start(fake=FakeOllama((await start()).reactor, models=[NO_TOOLS]))
    done = await doctor(setup.url, json=False)
    lines = done.out.splitlines()
    assert done.code == 1
    assert lines[0].startswith("ok       bridge          codex-bridge ")
    (at,) = [i for i, line in enumerate(lines) if line.startswith("FAILED   capabilities")]
    assert lines[at].endswith(
        "no tools, no thinking, vision; Ollama refuses every request of Codex with it"
    )
    assert lines[at + 1].strip().startswith("-> choose a model whose `ollama show` lists tools")


@pytest_twisted.ensureDeferred
async def test_the_probe_asks_as_codex_does(doctor: Doctor, well: Well) -> None:
    setup = await well()
    await doctor(setup.url)
    chats = [chat.effective or {} for chat in setup.fake.chats]
    assert len(chats) == 4
    offered = [[tool["function"]["name"] for tool in chat["tools"]] for chat in chats]
    assert offered == [["exec_command", TICKET]] * 4
    roles = [message["role"] for message in chats[2]["messages"]]
    assert roles[-3:] == ["user", "assistant", "tool"]


@pytest.mark.parametrize(
    ("answers", "verdict", "trial", "outcome", "mended"),
    [
        ({"command": leaked("exec_command", {"cmd": "ls /tmp/doctor"})},
         "works, with mending", "command", "called", {"leak: tool_call tag": 1}),
        ({"command": [Call("bash", {"command": ["ls", "/tmp/doctor"]})]},
         "works, with mending", "command", "called", {"stand-in name": 1}),
        ({"nested": [Call(TICKET, GOOD_TICKET | {"place": {"floor": "3", "room": 12.0}})]},
         "works, with mending", "nested", "called", {"number in a string": 1}),
        ({"nested": [Call(TICKET, GOOD_TICKET | {"labels": ["red"]})]},
         "weak", "nested", "wrong arguments", {}),
        ({"command": [Call("make_coffee", {})]}, "weak", "command", "wrong tool", {}),
        ({"command": [Call("exec_command", {"cmd": "ls /home"})]},
         "weak", "command", "wrong arguments", {}),
        ({"plain": [Call("exec_command", {"cmd": "expr 2 + 3"})]},
         "weak", "plain", "called without need", {}),
        ({"plain": [Say("It is 4.")]}, "weak", "plain", "wrong answer", {}),
        ({"result": [Call("exec_command", {"cmd": "ls /tmp/doctor"})]},
         "weak", "result", "called again", {}),
        ({"result": [Say("I cannot know.")]}, "weak", "result", "wrong answer", {}),
        ({"nested": [Say("Done!")]}, "weak", "nested", "no call", {}),
        ({"command": [Say("Run ls.")], "nested": [Say("Done!")]},
         "cannot", "command", "no call", {}),
    ],
)  # fmt: skip
@pytest_twisted.ensureDeferred
async def test_the_verdict_tells_models_apart(
    doctor: Doctor,
    well: Well,
    answers: Json,
    verdict: str,
    trial: str,
    outcome: str,
    mended: dict[str, int],
) -> None:
    done = await doctor((await well(patient(**answers))).url)
    assert (done.json["verdict"], done.outcome(trial)) == (verdict, outcome)
    assert mended.items() <= done.json["probe"]["mended"].items()
    assert bool(mended) is bool(done.json["probe"]["mended"])
    assert done.code == (1 if verdict == "cannot" else 0)
    status, _, remedy = done.check("verdict")
    assert (status, remedy is None) == {
        "works, with mending": ("ok", True),
        "weak": ("warning", False),
        "cannot": ("failed", False),
    }[verdict]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([Refuse(500, "model requires more system memory")], "more system memory"),
        ([Die("close")], ""),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_model_that_fails_is_told_in_its_own_words(
    doctor: Doctor, well: Well, answer: Any, said: str
) -> None:
    done = await doctor((await well(patient(plain=answer))).url)
    status, detail, remedy = done.check("probe plain")
    assert (done.code, status, done.json["verdict"]) == (1, "failed", "unknown")
    assert detail.startswith("a plain question: error")
    assert said in detail
    assert "codex-bridge run --debug" in str(remedy)


@pytest_twisted.ensureDeferred
async def test_the_probe_ends_when_its_time_is_over(doctor: Doctor, well: Well) -> None:
    setup = await well(patient(plain=[Say("It"), Hold(Deferred())]))
    done = await doctor(setup.url, "--timeout", "0.2")
    status, detail, remedy = done.check("probe plain")
    assert (done.code, status, detail) == (1, "failed", "a plain question: out of time")
    assert "--timeout 900" in str(remedy)
    await setup.fake.chats[0].when_hung_up()


@pytest_twisted.ensureDeferred
async def test_without_the_probe_the_model_is_left_alone(doctor: Doctor, well: Well) -> None:
    setup = await well()
    done = await doctor(setup.url, "--no-probe")
    assert (done.code, done.json["probe"], done.json["verdict"]) == (0, None, None)
    assert setup.fake.chats == []
    assert all(seen.uri != b"/api/generate" for seen in setup.fake.exchanges)


@pytest_twisted.ensureDeferred
async def test_nothing_at_the_bridges_address(doctor: Doctor) -> None:
    done = await doctor(CLOSED)
    assert done.code == 1
    assert done.check("bridge") == (
        "failed",
        f"nothing answers at {CLOSED} (Connection refused)",
        "start it: codex-bridge run; or name its address: --bridge-url",
    )
    assert "model" not in done.out


@pytest_twisted.ensureDeferred
async def test_ollama_on_the_bridges_port(doctor: Doctor, start: Start) -> None:
    setup = await start()
    done = await doctor(setup.fake.url)
    assert done.failures == ["bridge", "port"]
    _, detail, remedy = done.check("port")
    assert "is Ollama itself" in detail
    assert "OLLAMA_HOST=127.0.0.1:11433 ollama serve" in str(remedy)
    assert (done.code, done.json["probe"], done.check("model")[0]) == (1, None, "ok")


@pytest_twisted.ensureDeferred
async def test_ollama_down_behind_the_bridge(doctor: Doctor, start: Start) -> None:
    setup = await start()
    await setup.fake.stop()
    done = await doctor(setup.url)
    status, detail, remedy = done.check("ollama")
    assert (done.code, status) == (1, "failed")
    assert f"does not reach Ollama at {setup.fake.url}" in detail
    assert f"OLLAMA_HOST=127.0.0.1:{setup.fake.port} ollama serve" in str(remedy)


@pytest_twisted.ensureDeferred
async def test_an_ollama_that_codex_refuses(
    doctor: Doctor, start: Start, reactor_under_test: Any
) -> None:
    fake = FakeOllama(reactor_under_test, patient(), version="0.13.3")
    done = await doctor((await start(fake=fake)).url, "--no-probe")
    status, detail, remedy = done.check("ollama version")
    assert (done.code, status) == (1, "failed")
    assert detail == "0.13.3; Codex needs 0.13.4 or newer: `codex --oss` refuses it"
    assert remedy == "update Ollama: https://ollama.com/download"


@pytest.mark.parametrize(
    ("wanted", "detail", "remedy"),
    [
        (
            "qwen3",
            "qwen3 is not listed, qwen3:latest is; Codex compares exactly and would download it",
            "say: codex -m qwen3:latest",
        ),
        (
            "llama3.1",
            "llama3.1 is not there; there is: gemma3:4b, qwen3:latest",
            "get it: ollama pull llama3.1",
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_model_that_codex_would_not_find(
    doctor: Doctor,
    start: Start,
    reactor_under_test: Any,
    wanted: str,
    detail: str,
    remedy: str,
) -> None:
    fake = FakeOllama(reactor_under_test, patient(), models=[NO_TOOLS, ModelFacts("qwen3:latest")])
    done = await doctor((await start(fake=fake)).url, wanted, "--no-probe")
    assert (done.code, done.check("model")) == (1, ("failed", detail, remedy))


@pytest_twisted.ensureDeferred
async def test_no_model_at_all(doctor: Doctor, start: Start, reactor_under_test: Any) -> None:
    done = await doctor((await start(fake=FakeOllama(reactor_under_test, models=[]))).url)
    assert done.check("model") == (
        "failed",
        "Ollama has no model at all",
        "get one: ollama pull qwen3:14b",
    )


@pytest_twisted.ensureDeferred
async def test_of_models_that_sleep_the_first_with_tools_is_taken(
    doctor: Doctor, start: Start, reactor_under_test: Any
) -> None:
    fake = FakeOllama(reactor_under_test, patient(), models=[NO_TOOLS, ModelFacts()])
    fake.loaded.clear()
    done = await doctor((await start(fake=fake)).url, "--no-probe")
    assert done.check("model")[1] == (
        "qwen3:14b (the first with tools); there is: gemma3:4b, qwen3:14b"
    )


@pytest_twisted.ensureDeferred
async def test_a_model_without_tools_is_not_tried(
    doctor: Doctor, start: Start, reactor_under_test: Any
) -> None:
    fake = FakeOllama(reactor_under_test, patient(), models=[NO_TOOLS])
    setup = await start(fake=fake)
    done = await doctor(setup.url)
    assert (done.code, done.json["probe"], setup.fake.chats) == (1, None, [])
    assert "capabilities" in done.failures


@pytest_twisted.ensureDeferred
async def test_a_context_that_is_too_small(
    doctor: Doctor, start: Start, reactor_under_test: Any
) -> None:
    fake = FakeOllama(reactor_under_test, patient(), models=[ModelFacts(num_ctx=8192)])
    setup = await start(fake=fake, upstream_api="chat")
    done = await doctor(setup.url)
    status, detail, remedy = done.check("context")
    assert (done.code, status) == (1, "failed")
    assert detail.startswith("8192 tokens (")
    assert "codex-bridge prepare qwen3:14b --num-ctx 32768" in str(remedy)


@pytest_twisted.ensureDeferred
async def test_a_codex_that_is_not_there(doctor: Doctor, well: Well, codex: Path) -> None:
    setup = await well()
    codex.unlink()
    done = await doctor(setup.url, "--no-probe")
    status, detail, remedy = done.check("codex")
    assert (done.code, status) == (1, "failed")
    assert detail == f"{codex} does not run (No such file or directory)"
    assert "npm install -g @openai/codex" in str(remedy)


@pytest_twisted.ensureDeferred
async def test_a_configuration_that_codex_does_not_take(
    doctor: Doctor, well: Well, home: Path
) -> None:
    setup = await well()
    (home / "bridge.config.toml").write_text(provider(setup, 'wire_api = "chat"'))
    done = await doctor(setup.url, "--no-probe")
    assert (done.code, done.check("config")[2]) == (1, 'set wire_api = "responses"')


@pytest_twisted.ensureDeferred
async def test_a_proxy_in_between(
    doctor: Doctor, well: Well, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = await well()
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    done = await doctor(setup.url, "--no-probe")
    assert (done.code, done.failures) == (1, ["proxy"])
    assert done.check("proxy")[2] == "export NO_PROXY=localhost,127.0.0.1"


@pytest_twisted.ensureDeferred
async def test_a_row_has_the_columns_of_the_table(doctor: Doctor, well: Well) -> None:
    setup = await well()
    done = await doctor(setup.url, "--row", json=False)
    (row,) = done.out.splitlines()
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(cells) == len(COLUMNS)
    assert cells[:8] == [
        "qwen3:14b", "0.33.0", "32768", "answered", "called", "answered", "called", "nothing",
    ]  # fmt: skip
    assert cells[-1] == "good"
    none = await doctor(setup.url, "--row", "--no-probe", json=False)
    assert (none.out, none.err) == (
        "",
        "codex-bridge: no row without a probe; leave out --no-probe\n",
    )


@pytest_twisted.ensureDeferred
async def test_as_a_process_it_reports_and_ends_with_its_code(
    well: Well, home: Path, codex: Path, tmp_path: Path
) -> None:
    setup = await well()
    done: Any = await deferToThread(
        processes.run,
        "codex-bridge",
        "doctor",
        "--codex",
        str(codex),
        cwd=tmp_path,
        CODEX_BRIDGE_URL=setup.url,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "qwen3:14b: good" in done.stdout.splitlines()[-1]
    assert "trying qwen3:14b: a command …" in done.stderr


@pytest_twisted.ensureDeferred
async def test_ctrl_c_ends_the_probe_cleanly(well: Well, codex: Path, tmp_path: Path) -> None:
    setup = await well(patient(plain=[Say("It"), Hold(Deferred())]))
    seen = setup.fake.chat_seen()
    process = processes.spawn(
        "codex-bridge", "doctor", "--codex", str(codex), "--bridge-url", setup.url, cwd=tmp_path
    )
    chat = await seen
    process.send_signal(signal.SIGINT)
    out: Any = await deferToThread(process.communicate, timeout=processes.TIMEOUT)
    assert process.returncode == 130
    assert "Traceback" not in out[0]
    assert out[0].endswith("codex-bridge: stopped before the end\n")
    await chat.when_hung_up()


@pytest.mark.parametrize(
    "arguments", [["--timeout", "0"], ["--bridge-url", "x"], ["--json", "--row"]]
)
def test_wrong_use_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["doctor", *arguments])
    assert caught.value.code == 2
    assert "codex-bridge doctor: error" in capsys.readouterr().err

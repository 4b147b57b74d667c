"""`codex-bridge doctor`: the probe, with models of every kind behind a real bridge."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from codex_bridge.cli.doctor.report import COLUMNS
from tests import processes
from tests.cli.conftest import Doctor, Json, Well
from tests.cli.doctor_models import GOOD_TICKET, TICKET, leaked, scripted
from tests.fake_ollama import Call, Die, Hold, Refuse, Say


@pytest_twisted.ensureDeferred
async def test_the_probe_asks_as_codex_does(doctor: Doctor, well: Well) -> None:
    setup = await well()
    await doctor(setup.url)
    chats = [chat.effective or {} for chat in setup.fake.turns]
    assert len(chats) == 4
    offered = [[tool["function"]["name"] for tool in chat["tools"]] for chat in chats]
    assert offered == [["exec_command", TICKET]] * 4
    roles = [message["role"] for message in chats[2]["messages"]]
    assert roles[-3:] == ["user", "assistant", "tool"]


@pytest.mark.parametrize(
    ("answers", "verdict", "trial", "outcome", "repairs"),
    [
        ({"command": leaked("exec_command", {"cmd": "ls /tmp/doctor"})},
         "works, with repairs", "command", "called", {"leak: tool_call tag": 1}),
        ({"command": [Call("bash", {"command": ["ls", "/tmp/doctor"]})]},
         "works, with repairs", "command", "called", {"stand-in name": 1}),
        ({"nested": [Call(TICKET, GOOD_TICKET | {"place": {"floor": "3", "room": 12.0}})]},
         "works, with repairs", "nested", "called", {"number in a string": 1}),
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
async def test_the_verdict_depends_on_the_answers(
    doctor: Doctor,
    well: Well,
    answers: Json,
    verdict: str,
    trial: str,
    outcome: str,
    repairs: dict[str, int],
) -> None:
    done = await doctor((await well(scripted(**answers))).url)
    assert (done.json["verdict"], done.outcome(trial)) == (verdict, outcome)
    assert repairs.items() <= done.json["probe"]["repairs"].items()
    assert bool(repairs) is bool(done.json["probe"]["repairs"])
    assert done.code == (1 if verdict == "cannot" else 0)
    status, _, remedy = done.check("verdict")
    assert (status, remedy is None) == {
        "works, with repairs": ("ok", True),
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
async def test_the_error_of_a_model_that_fails_is_in_the_report(
    doctor: Doctor, well: Well, answer: Any, said: str
) -> None:
    done = await doctor((await well(scripted(plain=answer))).url)
    status, detail, remedy = done.check("probe plain")
    assert (done.code, status, done.json["verdict"]) == (1, "failed", "unknown")
    assert detail.startswith("a plain question: error")
    assert said in detail
    assert "codex-bridge run --debug" in str(remedy)


@pytest_twisted.ensureDeferred
async def test_the_probe_ends_when_its_time_is_over(doctor: Doctor, well: Well) -> None:
    setup = await well(scripted(plain=[Say("It"), Hold(Deferred())]))
    # Enough for a busy machine to get the question to the model.
    done = await doctor(setup.url, "--timeout", "1.5")
    status, detail, remedy = done.check("probe plain")
    assert (done.code, status, detail) == (1, "failed", "a plain question: out of time")
    assert "--timeout 900" in str(remedy)
    await setup.fake.turns[0].when_hung_up()


@pytest_twisted.ensureDeferred
async def test_without_the_probe_the_model_is_left_alone(doctor: Doctor, well: Well) -> None:
    setup = await well()
    done = await doctor(setup.url, "--no-probe")
    assert (done.code, done.json["probe"], done.json["verdict"]) == (0, None, None)
    assert setup.fake.turns == []
    assert all(seen.uri != b"/api/generate" for seen in setup.fake.exchanges)


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
    setup = await well(scripted(plain=[Say("It"), Hold(Deferred())]))
    seen = setup.fake.chat_seen()
    process = processes.spawn(
        "codex-bridge", "doctor", "--codex", str(codex), "--bridge-url", setup.url, cwd=tmp_path
    )
    chat = await seen
    process.send_signal(signal.SIGINT)
    out: Any = await deferToThread(process.communicate, timeout=processes.TIMEOUT)
    assert process.returncode == 130
    assert "Traceback" not in out[0]
    assert out[0].endswith("codex-bridge: stopped; run the same command again to finish\n")
    await chat.when_hung_up()

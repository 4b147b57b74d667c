"""`codex-bridge doctor`: the checks, against a bridge and a fake Ollama on real sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from codex_bridge.cli import main
from codex_bridge.cli.doctor.trials import TRIALS
from codex_bridge.cli.llama_server import LlamaServer
from tests.cli.command import run
from tests.cli.conftest import Doctor, Well, provider
from tests.cli.doctor_models import leaked, scripted
from tests.conftest import Start
from tests.fake_ollama import FakeOllama, ModelFacts, sides
from tests.harness import serve

NO_TOOLS = ModelFacts("gemma3:4b", ("completion", "vision"))
CLOSED = "http://127.0.0.1:9"


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
        "repairs",
        "first_token_seconds",
        "tokens_per_second",
    }
    trial = {"name", "outcome", "right", "detail", "repairs", "seconds"}
    assert all(set(each) == trial for each in probe["trials"])
    assert probe["first_token_seconds"] >= 0


@pytest_twisted.ensureDeferred
async def test_a_model_that_was_asked_for_under_another_spelling_is_the_same(
    doctor: Doctor, start: Start
) -> None:
    facts = ModelFacts("qwen3:latest", num_ctx=None)
    setup = await start(fake=FakeOllama((await start()).reactor, models=[facts]))
    await setup.ask({"model": "Qwen3"})
    done = await doctor(setup.url, "--no-probe")
    assert "requested by the bridge" in done.check("context")[1]


@pytest_twisted.ensureDeferred
async def test_people_get_a_line_for_each_check_and_the_remedy_below(
    doctor: Doctor, start: Start
) -> None:
    setup = await start(fake=FakeOllama((await start()).reactor, models=[NO_TOOLS]))
    done = await doctor(setup.url, "--no-probe", json=False)
    lines = done.out.splitlines()
    assert done.code == 0
    assert lines[0].startswith("ok       bridge          codex-bridge ")
    (at,) = [i for i, line in enumerate(lines) if line.startswith("warning  capabilities")]
    assert lines[at].endswith(
        "no tools, no thinking, vision; the bridge describes Codex's tools in its prompt"
    )
    assert lines[at + 1].strip().startswith("-> a model for which `ollama show` lists tools")


@pytest_twisted.ensureDeferred
async def test_nothing_at_the_bridges_address(doctor: Doctor) -> None:
    done = await doctor(CLOSED)
    assert done.code == 1
    assert done.check("bridge") == (
        "failed",
        f"nothing answers at {CLOSED} (Connection refused)",
        "start it: codex-bridge run --port 9; or name its address: --bridge-url",
    )
    assert "model" not in done.out


@pytest_twisted.ensureDeferred
async def test_ollama_on_the_bridges_port(doctor: Doctor, start: Start) -> None:
    setup = await start()
    done = await doctor(setup.fake.url)
    assert done.failures == ["bridge", "port"]
    _, detail, remedy = done.check("port")
    assert "is Ollama itself" in detail
    first, _, second = str(remedy).partition("; or ")
    assert f"codex-bridge run --port 11500 --upstream-url {setup.fake.url}" in first
    assert "OLLAMA_HOST=127.0.0.1:11433 ollama serve" in second
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
    fake = FakeOllama(reactor_under_test, scripted(), version="0.13.3")
    done = await doctor((await start(fake=fake)).url, "--no-probe")
    status, detail, remedy = done.check("ollama version")
    assert (done.code, status) == (1, "failed")
    assert detail == "0.13.3; Codex refuses an Ollama older than 0.13.4"
    assert remedy == "update Ollama: https://ollama.com/download"


@pytest.mark.parametrize(
    ("wanted", "detail", "remedy"),
    [
        (
            "qwen3",
            "qwen3 is not listed, but qwen3:latest is; Codex compares names exactly, and would "
            "download qwen3",
            "say: codex -m qwen3:latest",
        ),
        (
            "llama3.1",
            "llama3.1 is not there; there is: gemma3:4b, qwen3:latest",
            "get it: OLLAMA_HOST={url} ollama pull llama3.1",
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
    fake = FakeOllama(reactor_under_test, scripted(), models=[NO_TOOLS, ModelFacts("qwen3:latest")])
    url = (await start(fake=fake)).url
    done = await doctor(url, wanted, "--no-probe")
    assert (done.code, done.check("model")) == (1, ("failed", detail, remedy.format(url=url)))


@pytest_twisted.ensureDeferred
async def test_no_model_at_all(doctor: Doctor, start: Start, reactor_under_test: Any) -> None:
    url = (await start(fake=FakeOllama(reactor_under_test, models=[]))).url
    done = await doctor(url)
    assert done.check("model") == (
        "failed",
        "Ollama has no model at all",
        f"get one: OLLAMA_HOST={url} ollama pull qwen3:14b",
    )


@pytest_twisted.ensureDeferred
async def test_other_programs_that_use_the_model_with_another_context(
    doctor: Doctor, start: Start, reactor_under_test: Any
) -> None:
    facts = ModelFacts(num_ctx=None)
    fake = FakeOllama(reactor_under_test, scripted(), models=[facts], loaded=False)
    setup = await start(fake=fake)
    for _ in range(5):
        await setup.ask({"input": TRIALS[0].prompt})
        await setup.request("POST", "/api/generate", {"model": "qwen3:14b"})
    done = await doctor(setup.url, "--no-probe")
    status, detail, remedy = done.check("loads")
    assert (done.code, status) == (0, "warning")
    assert "loaded qwen3:14b anew 4 times" in detail
    assert "OLLAMA_CONTEXT_LENGTH=32768" in str(remedy)
    assert "--share-context" in str(remedy)


@pytest_twisted.ensureDeferred
async def test_a_context_that_is_too_small_where_ollama_is_elsewhere(
    doctor: Doctor, start: Start, reactor_under_test: Any
) -> None:
    facts = ModelFacts(num_ctx=8192)
    setup = await start(
        fake=FakeOllama(reactor_under_test, scripted(), models=[facts]), upstream_api="chat"
    )
    await setup.ask({"input": TRIALS[0].prompt})
    _, _, remedy = (await doctor(setup.url, "--no-probe")).check("context")
    assert remedy == (
        f"codex-bridge prepare qwen3:14b --num-ctx 32768 --ollama-url {setup.fake.url}, then use "
        f"qwen3:14b-ctx32k"
    )
    # It works as it stands there.
    command = str(remedy).split(",")[0].split()[1:]
    made = await deferToThread(run, *command)
    assert (made.code, setup.fake.models["qwen3:14b-ctx32k"].num_ctx) == (0, 32768)


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_not_ollama_is_tried_all_the_same(
    doctor: Doctor, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("/api/version", "/api/tags", "/api/ps", "/api/show"):
        monkeypatch.delitem(sides.ROUTES, path)
    done = await doctor((await start(scripted())).url)
    assert (done.code, done.json["verdict"]) == (0, "good")
    assert done.check("upstream")[1].startswith("The model server at http://127.0.0.1:")
    for name in ("capabilities", "context"):
        assert done.check(name)[0] == "warning"
    assert done.check("model")[1] == "qwen3:14b (loaded now); there is: qwen3:14b"
    said = [f"{check['detail']} {check['remedy']}" for check in done.json["checks"]]
    assert not any("ollama" in words for words in said if "codex --oss" not in words)


@pytest_twisted.ensureDeferred
async def test_a_real_llama_cpp_is_called_by_its_name_and_its_context_is_known(
    doctor: Doctor, llama: LlamaServer
) -> None:
    setup = await serve(reactor, llama.url)
    done = await doctor(setup.url, "--no-probe")
    await setup.stop()
    status, detail, _ = done.check("upstream")
    assert status == "ok"
    assert detail.startswith("llama.cpp ")
    assert detail.endswith(f" at {llama.url}")
    assert done.check("model")[1] == "tiny (loaded now); there is: tiny"
    assert done.check("capabilities")[1] == "tools, thinking, no vision"
    assert done.check("context")[1].startswith("16384 tokens")
    said = [f"{check['detail']} {check['remedy']}" for check in done.json["checks"]]
    assert "the option -c of llama.cpp's server" in " ".join(said)
    assert not any("ollama pull" in words for words in said)


@pytest_twisted.ensureDeferred
async def test_if_no_model_is_loaded_the_first_with_tools_is_taken(
    doctor: Doctor, start: Start, reactor_under_test: Any
) -> None:
    fake = FakeOllama(reactor_under_test, scripted(), models=[NO_TOOLS, ModelFacts()])
    fake.loaded.clear()
    done = await doctor((await start(fake=fake)).url, "--no-probe")
    assert done.check("model")[1] == (
        "qwen3:14b (the first with tools); there is: gemma3:4b, qwen3:14b"
    )


@pytest_twisted.ensureDeferred
async def test_a_model_without_tools_is_tried_in_words(
    doctor: Doctor, start: Start, reactor_under_test: Any
) -> None:
    command = leaked("exec_command", {"cmd": "ls /tmp/doctor"})
    fake = FakeOllama(reactor_under_test, scripted(command=command), models=[NO_TOOLS])
    setup = await start(fake=fake)
    done = await doctor(setup.url)
    trials = {trial["name"]: trial["outcome"] for trial in done.json["probe"]["trials"]}
    assert trials["command"] == "called"
    assert all("tools" not in chat.json for chat in fake.turns)


@pytest_twisted.ensureDeferred
async def test_a_context_that_is_too_small(
    doctor: Doctor, start: Start, reactor_under_test: Any
) -> None:
    fake = FakeOllama(reactor_under_test, scripted(), models=[ModelFacts(num_ctx=8192)])
    setup = await start(fake=fake, upstream_api="chat")
    done = await doctor(setup.url)
    status, detail, remedy = done.check("context")
    assert (done.code, status) == (1, "failed")
    assert detail.startswith("8192 tokens (")
    assert "codex-bridge prepare qwen3:14b --num-ctx 32768" in str(remedy)


@pytest_twisted.ensureDeferred
async def test_a_context_that_the_bridge_makes_large_enough(
    doctor: Doctor, start: Start, reactor_under_test: Any
) -> None:
    fake = FakeOllama(reactor_under_test, scripted(), models=[ModelFacts(num_ctx=None)])
    setup = await start(fake=fake)
    before = await doctor(setup.url, "--no-probe")
    status, detail, _ = before.check("context")
    assert (status, detail[:12]) == ("warning", "4096 tokens ")
    done = await doctor(setup.url)
    assert done.check("context") == (
        "ok",
        "32768 tokens (requested by the bridge; reason: by itself Ollama allocates 4096)",
        None,
    )


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


@pytest.mark.parametrize(
    "arguments", [["--timeout", "0"], ["--bridge-url", "x"], ["--json", "--row"]]
)
def test_wrong_use_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["doctor", *arguments])
    assert caught.value.code == 2
    assert "see codex-bridge doctor --help" in capsys.readouterr().err

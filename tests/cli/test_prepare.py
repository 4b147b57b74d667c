"""`codex-bridge prepare`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from codex_bridge.cli import main
from codex_bridge.cli.model_names import derived_name, named_context, same_model
from tests import processes
from tests.cli.command import Done, run
from tests.cli.model_making import Registry
from tests.conftest import Start
from tests.fake_ollama import FakeOllama, ModelFacts, sides

MODELS = (ModelFacts(num_ctx=None), ModelFacts("qwen3:latest", num_ctx=None))
Prepare = Callable[..., Awaitable[Done]]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    made = Registry()
    made.install(monkeypatch)
    return made


@pytest_twisted.async_yield_fixture
async def fake(reactor_under_test: Any, registry: Registry) -> Any:
    running = FakeOllama(reactor_under_test, models=MODELS)
    running.listen()
    yield running
    await running.stop()


@pytest.fixture
def prepare(fake: FakeOllama) -> Prepare:
    return partial(deferToThread, run, "prepare", "--ollama-url", fake.url)


@pytest.mark.parametrize(
    ("model", "num_ctx", "name"),
    [
        ("qwen3:14b", 32768, "qwen3:14b-ctx32k"),
        ("qwen3:14b", 10000, "qwen3:14b-ctx10000"),
        ("qwen3", 32768, "qwen3:ctx32k"),
        ("qwen3:latest", 65536, "qwen3:ctx64k"),
        ("me/qwen3:8b", 16384, "me/qwen3:8b-ctx16k"),
        ("hf.co/u/Some-GGUF:Q4_K_M", 32768, "hf.co/u/Some-GGUF:Q4_K_M-ctx32k"),
        ("localhost:5000/u/m", 32768, "localhost:5000/u/m:ctx32k"),
        ("localhost:5000/u/m:8b", 32768, "localhost:5000/u/m:8b-ctx32k"),
        ("qwen3:14b-ctx32k", 65536, "qwen3:14b-ctx64k"),
        ("qwen3:ctx32k", 65536, "qwen3:ctx64k"),
    ],
)
def test_a_derived_model_is_named_after_what_it_came_from(
    model: str, num_ctx: int, name: str
) -> None:
    assert derived_name(model, num_ctx) == name
    assert named_context(name) == num_ctx
    assert derived_name(name, num_ctx) == name


def test_different_names_of_one_model_are_recognised() -> None:
    assert same_model("Qwen3", "registry.ollama.ai/library/qwen3:latest")
    assert same_model("library/qwen3", "qwen3")
    assert same_model("registry.ollama.ai/me/x", "me/x:latest")
    assert not same_model("qwen3", "qwen3:14b")


@pytest_twisted.ensureDeferred
async def test_it_makes_the_model_and_prints_its_name_and_the_command(
    prepare: Prepare, fake: FakeOllama
) -> None:
    done = await prepare("qwen3:14b")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "Making qwen3:14b-ctx32k from qwen3:14b …",
        f"  using existing layer {sides.DIGEST}",
        "  writing manifest",
        "qwen3:14b-ctx32k is ready: qwen3:14b with a context of 32768 tokens. "
        "It shares the weights of qwen3:14b.",
        "Use it:  codex --oss --local-provider ollama -m qwen3:14b-ctx32k",
    ]
    (asked,) = [seen.json for seen in fake.exchanges if seen.uri == b"/api/create"]
    assert asked == {
        "model": "qwen3:14b-ctx32k",
        "from": "qwen3:14b",
        "parameters": {"num_ctx": 32768},
        "stream": True,
    }


@pytest.mark.parametrize(
    ("given", "listed"), [("coder", "coder:latest"), ("QWEN3:14b-CTX32k", "qwen3:14b-ctx32k")]
)
@pytest_twisted.ensureDeferred
async def test_the_command_has_the_name_that_ollama_lists_since_codex_finds_no_other(
    prepare: Prepare, fake: FakeOllama, given: str, listed: str
) -> None:
    await prepare("qwen3:14b")
    done = await prepare("qwen3:14b", "--name", given)
    assert done.out.endswith(f"Use it:  codex --oss --local-provider ollama -m {listed}\n")
    assert listed in fake.models


@pytest_twisted.ensureDeferred
async def test_at_the_usual_address_the_ollama_program_needs_no_other(
    fake: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = await deferToThread(run, "prepare", "nope:1b", "--ollama-url", fake.url)
    # On any other one, the bridge or another server may be at the address that it asks by itself.
    assert done.err.endswith(f"get it first: OLLAMA_HOST={fake.url} ollama pull nope:1b\n")
    monkeypatch.setattr("codex_bridge.advice.OWN_URL", fake.url)
    done = await deferToThread(run, "prepare", "nope:1b", "--ollama-url", fake.url)
    assert done.err.endswith("get it first: ollama pull nope:1b\n")


@pytest_twisted.ensureDeferred
async def test_the_second_time_it_says_that_the_model_is_there(
    prepare: Prepare, fake: FakeOllama
) -> None:
    await prepare("qwen3:14b")
    seen = len(fake.exchanges)
    again = await prepare("qwen3:14b")
    assert again.code == 0
    assert "is there already, with a context of 32768 tokens." in again.out
    assert "-m qwen3:14b-ctx32k" in again.out
    assert all(each.uri != b"/api/create" for each in fake.exchanges[seen:])


@pytest_twisted.ensureDeferred
async def test_a_context_that_is_too_small_for_codex_gets_a_note(prepare: Prepare) -> None:
    done = await prepare("qwen3:14b", "--num-ctx", "8192")
    assert done.code == 0
    assert done.out.endswith(
        "Codex needs a context of at least 16384 tokens: give --num-ctx 32768.\n"
    )


@pytest_twisted.ensureDeferred
async def test_a_model_derived_from_a_derived_one_is_the_same(prepare: Prepare) -> None:
    await prepare("qwen3:14b", "--num-ctx", "16384")
    made = await prepare("qwen3:14b-ctx16k")
    assert "qwen3:14b-ctx32k is ready" in made.out
    again = await prepare("qwen3:14b")
    assert (again.code, again.err) == (0, "")


@pytest_twisted.ensureDeferred
async def test_a_model_of_that_name_with_other_settings_is_replaced_only_by_force(
    prepare: Prepare, fake: FakeOllama
) -> None:
    await prepare("qwen3:14b", "--name", "coder:big", "--num-ctx", "16384")
    refused = await prepare("qwen3:14b", "--name", "coder:big")
    assert (refused.code, fake.models["coder:big"].num_ctx) == (1, 16384)
    assert refused.err == (
        "codex-bridge: coder:big is there already, with other settings; give another --name, "
        "or --force to replace it\n"
    )
    forced = await prepare("qwen3:14b", "--name", "coder:big", "--force")
    assert (forced.code, fake.models["coder:big"].num_ctx) == (0, 32768)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["nope:1b"],
            "nope:1b is not in Ollama; get it first: OLLAMA_HOST={url} ollama pull nope:1b",
        ),
        (
            ["qwen3:14b", "--num-ctx", "65536"],
            "qwen3:14b was made for 40960 tokens at most, so 65536 are refused; "
            "give --num-ctx 40960 or less",
        ),
        (
            ["qwen3", "--name", "qwen3:latest", "--force"],
            "--name qwen3:latest is the model itself; give it another name",
        ),
        (["a b"], "Ollama tells nothing of a b (invalid model name); check the name"),
        (
            ["qwen3:14b", "--remove"],
            "qwen3:14b-ctx32k is not in Ollama, so there is nothing to remove",
        ),
        (
            ["qwen3:14b", "--remove", "--name", "qwen3:latest"],
            "qwen3:latest is not known to be made from qwen3:14b by prepare, so it is left "
            "alone; `OLLAMA_HOST={url} ollama rm qwen3:latest` deletes it",
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_an_impossible_order_is_one_line(
    prepare: Prepare, fake: FakeOllama, arguments: list[str], said: str
) -> None:
    done = await prepare(*arguments)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"codex-bridge: {said.format(url=fake.url)}\n"
    assert set(fake.models) == {"qwen3:14b", "qwen3:latest"}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"refuses": "neither 'from' or 'files' was specified"}, "(neither 'from' or 'files'"),
        ({"breaks_with": "no space left on device"}, "(no space left on device)"),
        ({"breaks_off": True}, "(it ended without success, HTTP 200)"),
        ({"forgets_context": True}, "made qwen3:14b-ctx32k without that context"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_an_ollama_that_does_not_make_the_model_is_one_line(
    prepare: Prepare, registry: Registry, how: dict[str, Any], said: str
) -> None:
    for name, value in how.items():
        setattr(registry, name, value)
    done = await prepare("qwen3:14b")
    assert done.code == 1
    assert said in done.err
    assert "instead, OLLAMA_CONTEXT_LENGTH gives all models" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["qwen3:14b"], ["qwen3:14b-ctx32k"]])
@pytest_twisted.ensureDeferred
async def test_it_removes_a_model_that_it_made(
    prepare: Prepare, fake: FakeOllama, arguments: list[str]
) -> None:
    await prepare("qwen3:14b")
    done = await prepare(*arguments, "--remove")
    assert (done.code, done.out) == (0, "qwen3:14b-ctx32k is deleted.\n")
    assert set(fake.models) == {"qwen3:14b", "qwen3:latest"}


@pytest_twisted.ensureDeferred
async def test_a_model_with_a_name_of_its_own_is_removed_if_its_parent_is_known(
    prepare: Prepare, fake: FakeOllama
) -> None:
    await prepare("qwen3:14b", "--name", "coder:big")
    wrong = await prepare("qwen3", "--name", "coder:big", "--remove")
    assert wrong.code == 1
    done = await prepare("qwen3:14b", "--name", "coder:big", "--remove")
    assert (done.code, set(fake.models)) == (0, {"qwen3:14b", "qwen3:latest"})


@pytest_twisted.ensureDeferred
async def test_a_model_that_only_looks_prepared_is_left_alone(
    prepare: Prepare, fake: FakeOllama
) -> None:
    fake.models["mine:ctx32k"] = ModelFacts("mine:ctx32k", num_ctx=8192)
    done = await prepare("mine:ctx32k", "--remove")
    assert done.code == 1
    assert "prepare did not make it" in done.err
    assert "mine:ctx32k" in fake.models


def test_an_ollama_that_is_down_is_one_line(tmp_path: Path) -> None:
    done = processes.run(
        "codex-bridge",
        "prepare",
        "qwen3:14b",
        cwd=tmp_path,
        CODEX_BRIDGE_OLLAMA_URL="http://127.0.0.1:9",
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "codex-bridge: Ollama does not answer at http://127.0.0.1:9 (Connection refused); start "
        "it there or give its --ollama-url\n"
    )


@pytest.mark.parametrize("has_moved", [True, False])
@pytest_twisted.ensureDeferred
async def test_ollama_is_found_where_it_usually_is(
    fake: FakeOllama, has_moved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CODEX_BRIDGE_UPSTREAM_URL", "CODEX_BRIDGE_OLLAMA_URL"):
        monkeypatch.delenv(name, raising=False)
    nowhere = "http://127.0.0.1:9"
    urls = (fake.url, nowhere) if has_moved else (nowhere, fake.url)
    monkeypatch.setattr("codex_bridge.cli.prepare.USUAL_URLS", urls)
    done = await deferToThread(run, "prepare", "qwen3:14b")
    assert done.code == 0, done.err
    assert "qwen3:14b-ctx32k" in fake.models


@pytest_twisted.ensureDeferred
async def test_a_bridge_before_an_ollama_that_is_down_does_not_hide_that(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CODEX_BRIDGE_UPSTREAM_URL", "CODEX_BRIDGE_OLLAMA_URL"):
        monkeypatch.delenv(name, raising=False)
    bridge = await start()
    await bridge.fake.stop()
    for module in ("passthrough", "app"):
        monkeypatch.setattr(f"codex_bridge.web.{module}.PATIENCE", 0.0)
    monkeypatch.setattr("codex_bridge.cli.prepare.USUAL_URLS", (bridge.fake.url, bridge.url))
    done = await deferToThread(run, "prepare", "qwen3:14b")
    assert done.err == (
        f"codex-bridge: Ollama does not answer at {bridge.fake.url} or {bridge.url} (Connection "
        f"refused); start it there or give its --ollama-url\n"
    )


@pytest.mark.parametrize(
    "arguments", [["--num-ctx", "0"], ["--num-ctx", "many"], ["--ollama-url", "ftp://x"]]
)
def test_wrong_use_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["prepare", "qwen3:14b", *arguments])
    assert caught.value.code == 2
    assert "give a" in capsys.readouterr().err

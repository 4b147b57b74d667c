"""`codex-bridge configure`: what it asks, writes, prints and undoes."""

from __future__ import annotations

import argparse
import json
import socket
import tempfile
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.threads import deferToThread

from codex_bridge.cli import codex_program, configure, main
from codex_bridge.clients.catalog import catalog
from codex_bridge.vocabulary import ModelInfo
from tests.cli.command import call, state
from tests.conftest import Start
from tests.fake_ollama import FakeOllama, ModelFacts
from tests.processes import ROOT

FETCH = "codex_bridge.cli.configure.fetch_catalog"
SOCKET = "codex_bridge.cli.configure.serves_websocket"
CAPABLE = frozenset({"completion", "tools"})
OFFERED = catalog(
    [
        (ModelInfo("qwen3:14b", CAPABLE), 32768),
        (ModelInfo("qwen3:4b", CAPABLE), 8192),
        (ModelInfo("mistral:latest", CAPABLE), None),
        (ModelInfo("gemma3:27b", frozenset({"completion"})), 32768),
    ]
)
MINE = b'# mine\nmodel = "gpt-5"  # keep\n\n[projects."/x"]\ntrust_level = "trusted"\n'
OLD, NEW = "--codex-version=0.130.0", "--codex-version=0.169.0"


@pytest.fixture
def offered() -> Iterator[None]:
    """A bridge whose models are OFFERED."""
    with patch(FETCH, return_value=OFFERED), patch(SOCKET, return_value=False):
        yield


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_bytes(MINE)
    return tmp_path


@pytest.mark.usefixtures("offered")
def test_the_files_written_and_the_commands_to_type_are_printed(home: Path) -> None:
    done = call(home, NEW)
    assert (done.code, done.err) == (0, "")
    assert "codex -p bridge " in done.out
    assert "codex -p bridge -m qwen3:4b" in done.out
    assert "gemma3" not in done.out
    assert f"wrote {home / 'bridge.config.toml'}\n" in done.out
    assert "config.toml\nwrote" not in done.out
    assert "--undo" in done.out


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize("version", [OLD, NEW])
def test_the_profile_names_the_catalog_and_the_first_model(home: Path, version: str) -> None:
    assert call(home, version, "qwen3:4b", "MISTRAL").code == 0
    if version == OLD:
        profile = tomllib.loads((home / "config.toml").read_text())["profiles"]["bridge"]
    else:
        profile = tomllib.loads((home / "bridge.config.toml").read_text())
    assert profile["model"] == "qwen3:4b"
    told = json.loads(Path(profile["model_catalog_json"]).read_text())["models"]
    assert [model["slug"] for model in told] == ["qwen3:4b", "mistral:latest"]


@pytest.mark.usefixtures("offered")
def test_all_models_with_tools_are_written_the_best_first(home: Path) -> None:
    call(home, NEW)
    told = json.loads((home / "bridge-models.json").read_text())["models"]
    assert [model["slug"] for model in told] == ["qwen3:14b", "qwen3:4b", "mistral:latest"]


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize("version", [OLD, NEW])
def test_twice_is_the_same_as_once(home: Path, version: str) -> None:
    call(home, version)
    once = state(home)
    done = call(home, version)
    assert "No change." in done.out
    assert state(home) == once
    assert call(home, "--undo").code == 0
    assert state(home) == {"config.toml": MINE}


@pytest.mark.usefixtures("offered")
def test_after_another_version_or_choice_undo_gets_back_to_the_first_state(home: Path) -> None:
    call(home, OLD)
    call(home, NEW)
    assert (home / "config.toml").read_bytes() == MINE
    call(home, OLD, "qwen3:4b")
    assert not (home / "bridge.config.toml").exists()
    call(home, "--undo")
    assert state(home) == {"config.toml": MINE}
    again = call(home, "--undo")
    assert (again.code, again.out) == (0, f"Nothing to undo in {home}.\n")


@pytest.mark.usefixtures("offered")
def test_undo_refuses_what_was_changed_since_unless_forced(home: Path) -> None:
    call(home, OLD)
    with (home / "config.toml").open("a") as config:
        config.write("# later\n")
    changed = state(home)
    done = call(home, "--undo")
    assert done.code == 1
    assert "changed since, by you or by Codex: config.toml" in done.err
    assert "Traceback" not in done.err
    assert state(home) == changed
    call(home, OLD, "qwen3:4b")
    assert "# later" in (home / "config.toml").read_text()
    assert call(home, "--undo").code == 1
    assert "-# later" in call(home, "--undo", "--dry-run").out
    assert call(home, "--undo", "--force").code == 0
    assert state(home) == {"config.toml": MINE}


@pytest.mark.usefixtures("offered")
def test_undo_ignores_what_codex_notes_about_trusted_folders(home: Path) -> None:
    call(home, OLD)
    with (home / "config.toml").open("a") as config:
        config.write('\n[projects."/y"]\ntrust_level = "trusted"\n')
    call(home, OLD, "qwen3:4b")
    assert '[projects."/y"]' in (home / "config.toml").read_text()
    with (home / "config.toml").open("a") as config:
        config.write('\n[projects."/z"]\ntrust_level = "untrusted"\n')
    done = call(home, "--undo")
    assert (done.code, done.err) == (0, "")
    assert "Codex will ask again" in done.out
    assert state(home) == {"config.toml": MINE}


@pytest.mark.usefixtures("offered")
def test_a_dry_run_shows_a_diff_and_writes_nothing(home: Path) -> None:
    done = call(home, OLD, "--dry-run")
    assert done.code == 0
    assert f"--- {home / 'config.toml'}\n+++ {home / 'config.toml'}\n@@ " in done.out
    assert "+[profiles.bridge]\n" in done.out
    assert f"--- /dev/null\n+++ {home / 'bridge-models.json'}\n" in done.out
    assert state(home) == {"config.toml": MINE}
    nowhere = home / "no" / "where"
    call(nowhere, NEW, "--dry-run")
    assert not nowhere.parent.exists()


@pytest.mark.usefixtures("offered")
def test_only_aliases_are_printed_on_stdout(home: Path) -> None:
    done = call(home, NEW, "--aliases")
    assert done.out.splitlines() == [
        "alias cx14='codex -p bridge -m qwen3:14b'",
        "alias cx4='codex -p bridge -m qwen3:4b'",
        "alias cxmistral='codex -p bridge -m mistral:latest'",
    ]
    assert "wrote" in done.err
    assert (home / "bridge.config.toml").exists()


def test_what_is_to_be_copied_is_quoted_and_moves_no_cursor(home: Path) -> None:
    odd = [ModelInfo(name, CAPABLE) for name in ("a;rm -rf ~:7b", "b\x1b[2J:7b")]
    with patch(FETCH, return_value=catalog([(model, 8192) for model in odd])):
        done = call(home, NEW)
        assert "codex -p bridge -m 'b\\x1b[2J:7b'" in done.out
        assert "\x1b" not in done.out
        aliases = call(home, NEW, "--aliases").out
    assert "'codex -p bridge -m '\"'\"'a;rm -rf ~:7b'\"'\"''" in aliases
    assert "\x1b" not in aliases


@pytest.fixture
def oss(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which `codex --oss` goes to port 11434, and the shell is bash."""
    for name in ("CODEX_OSS_PORT", "CODEX_OSS_BASE_URL", "CODEX_BRIDGE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SHELL", "/bin/bash")
    return monkeypatch


ELSEWHERE = ["--bridge-url", "http://127.0.0.1:11500"]
OSS = "`codex --oss` goes to http://localhost:11434/v1. To send it to the bridge: "


@pytest.mark.usefixtures("offered")
def test_the_variable_for_oss_is_told_where_it_does_not_reach_the_bridge(
    home: Path, oss: pytest.MonkeyPatch
) -> None:
    told = call(home, NEW, *ELSEWHERE).out.splitlines()[-1]
    assert told == f"{OSS}export CODEX_OSS_PORT=11500"
    oss.setenv("SHELL", "/usr/bin/fish")
    assert f"{OSS}set -gx CODEX_OSS_PORT 11500\n" in call(home, NEW, *ELSEWHERE).out
    box = call(home, NEW, "--bridge-url", "http://box:1/a").out
    assert f"{OSS}set -gx CODEX_OSS_BASE_URL http://box:1/a/v1\n" in box
    assert "--oss" not in call(home, NEW, "--bridge-url", "http://localhost:11434").out
    oss.setenv("CODEX_OSS_PORT", "11500")
    assert "--oss" not in call(home, NEW, *ELSEWHERE).out


@pytest.mark.usefixtures("offered")
def test_oss_is_not_offered_where_a_key_is_needed(home: Path, oss: pytest.MonkeyPatch) -> None:
    oss.setenv("CODEX_BRIDGE_API_KEY", "sk-1")
    assert "--oss" not in call(home, NEW, *ELSEWHERE).out


@pytest.mark.usefixtures("offered", "oss")
def test_with_aliases_the_variable_for_oss_is_told_on_stderr(home: Path) -> None:
    done = call(home, NEW, *ELSEWHERE, "--aliases")
    assert f"{OSS}export CODEX_OSS_PORT=11500\n" in done.err
    assert all(line.startswith("alias ") for line in done.out.splitlines())


@pytest.mark.usefixtures("offered")
def test_an_unknown_model_is_one_line_with_what_there_is(home: Path) -> None:
    done = call(home, NEW, "qwen9")
    assert done.code == 1
    assert done.err == (
        "codex-bridge: Ollama has no model qwen9; "
        "it has gemma3:27b, mistral:latest, qwen3:14b, qwen3:4b\n"
    )
    assert state(home) == {"config.toml": MINE}


@pytest.mark.usefixtures("offered")
def test_a_model_without_tools_is_written_with_a_note_if_it_is_named(home: Path) -> None:
    done = call(home, NEW, "gemma3:27b")
    assert done.code == 0
    assert "gemma3:27b has no tools" in done.err


def test_no_model_with_tools_is_an_error(home: Path) -> None:
    with patch(FETCH, return_value=OFFERED[-1:]):
        done = call(home, NEW)
    assert done.code == 1
    assert "ollama pull" in done.err


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize("version", [OLD, NEW])
def test_an_invalid_config_is_one_line_and_nothing_is_touched(home: Path, version: str) -> None:
    (home / "config.toml").write_bytes(b"a = = b\n")
    done = call(home, version)
    assert done.code == 1
    assert done.err.startswith("codex-bridge: config.toml is no valid TOML: ")
    assert done.err.count("\n") == 1
    assert state(home) == {"config.toml": b"a = = b\n"}


@pytest.mark.usefixtures("offered")
def test_a_window_in_the_config_gets_a_note(home: Path) -> None:
    (home / "config.toml").write_bytes(b"model_context_window = 4096\n")
    assert "config.toml sets model_context_window" in call(home, NEW).err


@pytest.mark.usefixtures("offered")
def test_a_file_that_cannot_be_written_is_one_line(home: Path) -> None:
    (home / "bridge-models.json").mkdir()
    done = call(home, NEW)
    assert done.code == 1
    assert done.err == f"codex-bridge: {home / 'bridge-models.json'}: Is a directory\n"
    assert (home / "config.toml").read_bytes() == MINE


@pytest.mark.usefixtures("offered")
def test_codexs_own_instructions_replace_ours(home: Path) -> None:
    with patch.object(codex_program, "own_instructions", return_value="Long ones."):
        call(home, NEW, "--instructions", "codex")
    told = json.loads((home / "bridge-models.json").read_text())["models"]
    assert {model["base_instructions"] for model in told} == {"Long ones."}


@pytest.mark.usefixtures("offered")
def test_the_files_go_to_codexs_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    with pytest.raises(SystemExit, match="0"):
        main(["configure", NEW])
    assert (tmp_path / "codex" / "bridge.config.toml").exists()
    monkeypatch.delenv("CODEX_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SystemExit, match="0"):
        main(["configure", NEW])
    assert (tmp_path / ".codex" / "bridge.config.toml").exists()


@pytest.mark.usefixtures("offered")
def test_the_version_is_that_of_the_codex_in_path(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    missing = call(home)
    assert missing.err == (
        "codex-bridge: no codex in PATH; install it, or name its version with --codex-version\n"
    )
    program = tmp_path / "bin" / "codex"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    for text, file in (("codex-cli 0.133.1", "config.toml"), ("0.134.0-b", "bridge.config.toml")):
        program.write_text(f"#!/bin/sh\necho {text}\n")
        program.chmod(0o755)
        call(home)
        assert b"codex-bridge" in (home / file).read_bytes()
    program.write_text("#!/bin/sh\nexit 3\n")
    assert "codex --version failed" in call(home).err
    program.write_text("#!/bin/sh\necho nonsense\n")
    assert "'nonsense' is no version of Codex" in call(home).err


@pytest.mark.parametrize("url", ["", "localhost:1", "http://", "http://a:b", "http://a/?b", "x y"])
def test_a_wrong_url_is_one_line(home: Path, url: str) -> None:
    done = call(home, NEW, f"--bridge-url={url}")
    assert done.code == 2
    assert "--bridge-url: " in done.err
    assert done.err.count("\n") == 1


@pytest_twisted.ensureDeferred
async def test_it_asks_the_running_bridge(
    start: Start, reactor_under_test: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [ModelFacts("qwen3:8b"), ModelFacts("embed:latest", ("embedding",))]
    setup = await start(fake=FakeOllama(reactor_under_test, models=models))
    monkeypatch.setenv("CODEX_BRIDGE_URL", f"{setup.url}/v1/")
    done = await deferToThread(call, home, NEW)
    assert done.code == 0, done.err
    values = tomllib.loads((home / "bridge.config.toml").read_text())
    assert values["model"] == "qwen3:8b"
    assert values["model_providers"]["bridge"]["base_url"] == f"{setup.url}/v1"
    assert models[0].name in done.out
    assert "embed" not in (home / "bridge-models.json").read_text()


@pytest.mark.parametrize("websocket", [True, False])
@pytest_twisted.ensureDeferred
async def test_codex_is_told_whether_the_bridge_serves_websocket(
    start: Start, home: Path, websocket: bool
) -> None:
    setup = await start(websocket=websocket)
    done = await deferToThread(call, home, NEW, "--bridge-url", setup.url)
    assert done.code == 0, done.err
    values = tomllib.loads((home / "bridge.config.toml").read_text())
    told = values["model_providers"]["bridge"].get("supports_websockets")
    assert told is (True if websocket else None)


@pytest_twisted.ensureDeferred
async def test_no_bridge_at_the_address_is_one_line(start: Start, home: Path) -> None:
    setup = await start()
    ollama = setup.fake.url
    itself = await deferToThread(call, home, NEW, "--bridge-url", ollama)
    assert itself.err == (
        f"codex-bridge: what answers at {ollama} is no codex-bridge (perhaps Ollama). "
        f"Start it on a port of its own (codex-bridge run --port 11500) and name its address: "
        f"--bridge-url http://127.0.0.1:11500\n"
    )
    await setup.fake.stop()
    behind = await deferToThread(call, home, NEW, "--bridge-url", setup.url)
    assert behind.err.startswith(f"codex-bridge: {setup.url} answers: Ollama does not answer at ")
    await setup.stop()
    gone = await deferToThread(call, home, NEW, "--bridge-url", setup.url)
    assert gone.err == (
        f"codex-bridge: no bridge answers at {setup.url} (Connection refused). "
        f"Start it: codex-bridge run --port {setup.port}\n"
    )
    assert {itself.code, behind.code, gone.code} == {1}
    assert state(home) == {"config.toml": MINE}


def test_every_option_is_in_the_documentation() -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    configure.add_to(commands)
    actions = commands.choices["configure"]._actions
    flags = {flag for action in actions for flag in action.option_strings}
    table = (ROOT / "docs" / "models.md").read_text()
    assert {flag for flag in flags - {"-h", "--help"} if f"| `{flag}` |" not in table} == set()


def test_a_server_that_speaks_no_http_is_one_line(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-thing\r\n")

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        done = call(home, NEW, "--bridge-url", url)
    assert done.code == 1
    assert done.err.startswith(f"codex-bridge: no bridge answers at {url} (")
    assert done.err.count("\n") == 1


TEXTS = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.lists(
        st.sampled_from(
            [
                b"# a comment  ",
                b"model = 'x' # mine",
                b"[profiles.bridge]",
                b"[profiles.a]",
                b"[model_providers.bridge]",
                b"x = [1,\n  2, # two\n]",
                b"",
                "ü = 'ä'".encode(),
                '"ü" = "ä"\t# tab'.encode(),
                b"text = '''\nlong\n'''",
            ]
        ),
        unique=True,
        max_size=8,
    ).map(lambda lines: b"\n".join(lines)),
)


@given(
    st.fixed_dictionaries(
        {"config.toml": TEXTS, "bridge.config.toml": TEXTS, "bridge-models.json": TEXTS}
    ),
    st.lists(st.sampled_from([OLD, NEW]), min_size=1, max_size=3),
    st.booleans(),
)
def test_undo_restores_byte_for_byte(
    files: dict[str, bytes | None], versions: list[str], crlf: bool
) -> None:
    with tempfile.TemporaryDirectory() as name, patch(FETCH, return_value=OFFERED):
        home = Path(name)
        for file, text in files.items():
            if text is not None:
                (home / file).write_bytes(text.replace(b"\n", b"\r\n") if crlf else text)
        before = state(home)
        for version in versions:
            done = call(home, version)
            assert done.code == 0 or "nothing was changed" in done.err
        assert call(home, "--undo").code == 0
        assert state(home) == before

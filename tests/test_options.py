"""Flags and environment -> Settings."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import pytest

from codex_bridge import __version__
from codex_bridge.options import Options
from codex_bridge.settings import SETTINGS, Settings


def parsed(*flags: str, **environ: str) -> Options:
    options = Options()
    with patch.dict(os.environ, environ, clear=True):
        options.parseOptions(list(flags))
    return options


def settings(*flags: str, **environ: str) -> Settings:
    return parsed(*flags, **environ).settings


def refusal(capsys: pytest.CaptureFixture[str], *flags: str, **environ: str) -> str:
    with pytest.raises(SystemExit) as caught:
        settings(*flags, **environ)
    # A text as exit code is what Python prints to stderr, exiting with 1.
    assert isinstance(caught.value.code, str)
    assert "\n" not in caught.value.code
    assert capsys.readouterr().out == ""
    return caught.value.code


def test_defaults() -> None:
    assert settings() == Settings(
        port=11434,
        interface="127.0.0.1",
        upstream_url="http://localhost:11433",
        upstream=(),
        allow_host=(),
        allow_origin=(),
        api_key=None,
        upstream_api_key=None,
        seal_key=None,
        alias=(),
        debug=False,
        quiet=False,
        max_body_size=67108864,
        max_answer_size=8388608,
        store="memory",
        store_age=30,
        store_size=268435456,
        client_timeout=30,
        upstream_stream=True,
        websocket=True,
        upstream_api="auto",
        num_ctx=None,
        keep_alive=None,
        read_ahead=True,
        share_context=False,
        context_guard=True,
        confirm=True,
        grace=0.5,
        heartbeat=15,
        upstream_timeout=1800,
        drain=30,
        tool_profile="essential",
        directives=True,
        repair=True,
    )


@pytest.mark.parametrize("flags", [["--port", "80"], ["-p", "80"], ["--listen-port=80"]])
def test_port_and_its_aliases(flags: list[str]) -> None:
    assert settings(*flags).port == 80


VARIABLES = [
    ("PORT", "80", "port", 80),
    ("INTERFACE", "0.0.0.0", "interface", "0.0.0.0"),
    ("UPSTREAM_URL", "http://gpu:11434/", "upstream_url", "http://gpu:11434"),
    ("OLLAMA_URL", "http://gpu:11434/", "upstream_url", "http://gpu:11434"),
    ("UPSTREAM", "a=http://x:1/, b=http://y", "upstream", (("a", "http://x:1"), ("b", "http://y"))),
    ("LISTEN_PORT", "80", "port", 80),
    ("ALLOW_HOST", "Box.lan., [::1] ,", "allow_host", ("box.lan", "::1")),
    ("ALLOW_HOST", "", "allow_host", ()),
    (
        "ALLOW_ORIGIN",
        "https://A.example,http://b:*",
        "allow_origin",
        ("https://a.example", "http://b:*"),
    ),
    ("API_KEY", " sk-1 \n", "api_key", "sk-1"),
    ("UPSTREAM_API_KEY", " sk-1 \n", "upstream_api_key", "sk-1"),
    ("SEAL_KEY", "/etc/seal key ", "seal_key", "/etc/seal key"),
    ("SEAL_KEY", "~/seal.key", "seal_key", os.path.expanduser("~/seal.key")),
    ("SEAL_KEY", "seal.key", "seal_key", os.path.abspath("seal.key")),
    ("ALIAS", "GPT-4o = Qwen3:14b,", "alias", (("GPT-4o", "Qwen3:14b"),)),
    ("DEBUG", "1", "debug", True),
    ("DEBUG", "off", "debug", False),
    ("QUIET", "yes", "quiet", True),
    ("GRACE", "0", "grace", 0.0),
    ("HEARTBEAT", "2.5", "heartbeat", 2.5),
    ("UPSTREAM_TIMEOUT", "60", "upstream_timeout", 60.0),
    ("DRAIN", "5", "drain", 5.0),
    ("MAX_BODY_SIZE", "2048", "max_body_size", 2048),
    ("MAX_ANSWER_SIZE", "2048", "max_answer_size", 2048),
    ("STORE", "OFF", "store", "off"),
    ("STORE", "Memory", "store", "memory"),
    ("STORE", "/var/lib/x/../Off", "store", "/var/lib/Off"),
    ("STORE_AGE", "1", "store_age", 1),
    ("STORE_SIZE", "1048576", "store_size", 1048576),
    ("CLIENT_TIMEOUT", "5", "client_timeout", 5),
    ("UPSTREAM_STREAM", "off", "upstream_stream", False),
    ("WEBSOCKET", "off", "websocket", False),
    ("TOOL_PROFILE", "Compact", "tool_profile", "compact"),
    ("UPSTREAM_API", "Ollama", "upstream_api", "ollama"),
    ("NUM_CTX", "65536", "num_ctx", 65536),
    ("KEEP_ALIVE", "-1", "keep_alive", "-1"),
    ("KEEP_ALIVE", "1h30m", "keep_alive", "1h30m"),
    ("READ_AHEAD", "off", "read_ahead", False),
    ("SHARE_CONTEXT", "1", "share_context", True),
    ("NO_CONTEXT_GUARD", "1", "context_guard", False),
    ("NO_CONFIRM", "1", "confirm", False),
    ("NO_NUDGE", "1", "nudge", False),
    ("THINK_BUDGET", "2000", "think_budget", 2000),
    ("NO_DIRECTIVES", "1", "directives", False),
    ("NO_REPAIR", "yes", "repair", False),
    ("NO_REPAIR", "0", "repair", True),
]


@pytest.mark.parametrize(("name", "value", "attribute", "expected"), VARIABLES)
def test_an_environment_variable_sets_its_option(
    name: str, value: str, attribute: str, expected: object
) -> None:
    assert getattr(settings(**{f"CODEX_BRIDGE_{name}": value}), attribute) == expected


def test_every_option_is_among_the_variables_above() -> None:
    assert {attribute for _, _, attribute, _ in VARIABLES} == set(SETTINGS)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("OLAMA_URL", "OLLAMA_URL"),
        ("OLLAMA-URL", "OLLAMA_URL"),
        ("port", "PORT"),
        ("LISTENPORT", "LISTEN_PORT"),
        ("UPSTREAMURL", "UPSTREAM_URL"),
        ("APIKEY", "API_KEY"),
        ("CONTEXT_GUARD", "NO_CONTEXT_GUARD"),
        ("NO_DEBUG", "DEBUG"),
        ("BRIDGE_URL", "URL"),
        ("STATEDIR", "STATE_DIR"),
    ],
)
def test_a_variable_that_sets_nothing_is_refused_with_the_closest_name(
    capsys: pytest.CaptureFixture[str], name: str, meant: str
) -> None:
    line = refusal(capsys, **{f"CODEX_BRIDGE_{name}": "sk-secret", "CODEX_BRIDGE_PORT": "80"})
    assert line == (
        f"codex-bridge: CODEX_BRIDGE_{name} is no setting of codex-bridge; "
        f"did you mean CODEX_BRIDGE_{meant}?"
    )


def test_the_name_of_a_variable_forges_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "CODEX_BRIDGE_X\\nY is no setting" in refusal(capsys, **{"CODEX_BRIDGE_X\nY": "1"})


def test_variables_of_other_programs_and_of_the_other_commands_are_left_alone() -> None:
    others = {"CODEX_HOME": "/x", "CODEX_BRIDGE": "/x", "OLLAMA_HOST": "x"}
    ours = {"CODEX_BRIDGE_URL": "x", "CODEX_BRIDGE_STATE_DIR": "/x", "CODEX_BRIDGE_VENV": "/x"}
    assert settings(**others, **ours) == settings()


def test_help_and_version_are_shown_whatever_the_environment_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for flag, says in (("--help", "--upstream-url="), ("--version", __version__)):
        with pytest.raises(SystemExit) as caught:
            settings(flag, CODEX_BRIDGE_PRT="80", CODEX_BRIDGE_PORT="x")
        assert not caught.value.code
        assert says in capsys.readouterr().out


def test_a_flag_wins_over_its_variable() -> None:
    assert settings("--port", "80", CODEX_BRIDGE_PORT="81").port == 80


def test_a_default_is_what_its_own_text_would_give() -> None:
    shown = [
        setting for setting in SETTINGS.values() if setting.default_text and not setting.is_flag
    ]
    assert {k.option: k.read("", k.default_text or "") for k in shown} == {
        k.option: k.default for k in shown
    }
    assert all(type(k.read("", k.default_text or "")) is type(k.default) for k in shown)


def test_the_path_of_a_store_does_not_depend_on_the_folder_that_twistd_changes_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings("--store", "off.db").store == str(tmp_path / "off.db")
    assert settings("--store", "./off").store == str(tmp_path / "off")
    assert settings("--store", "~/x", HOME="/home/me").store == "/home/me/x"


@pytest.mark.parametrize("port", [0, 65535])
def test_both_ends_of_a_range_are_accepted(port: int) -> None:
    assert settings("--port", str(port)).port == port


def test_it_is_known_whether_the_upstream_was_given() -> None:
    default = "http://localhost:11433"
    assert not parsed("--port", "80").is_upstream_given
    # The default is no address of the user's choice, even where the bridge itself has it.
    assert not parsed("--port", "11433").is_upstream_given
    assert parsed("--upstream-url", default).is_upstream_given
    assert parsed("--ollama-url", default).is_upstream_given
    assert parsed(CODEX_BRIDGE_UPSTREAM_URL=default).is_upstream_given
    assert parsed(CODEX_BRIDGE_OLLAMA_URL=default).is_upstream_given


def test_another_address_on_the_same_port_is_no_loop() -> None:
    url = "http://10.0.0.6:11434"
    assert settings("--interface=10.0.0.5", "--upstream-url", url).upstream_url == url


def test_lists_are_given_several_times_or_with_commas() -> None:
    given = settings("--allow-host", "a,b", "--allow-host=c", "--allow-origin", "*")
    assert given.allow_host == ("a", "b", "c")
    assert given.allow_origin == ("*",)
    aliases = settings("--alias", "a=m,b=m", "--alias=c=n").alias
    assert aliases == (("a", "m"), ("b", "m"), ("c", "n"))
    assert settings("--allow-host", "a", CODEX_BRIDGE_ALLOW_HOST="b").allow_host == ("a",)


@pytest.mark.parametrize("name", ["api-key", "upstream-api-key"])
@pytest.mark.parametrize("key", ["", " ", "two words", "secret\tkey", "größer-secret"])
def test_an_invalid_key_is_refused_and_not_shown(
    capsys: pytest.CaptureFixture[str], key: str, name: str
) -> None:
    variable = f"CODEX_BRIDGE_{name.upper().replace('-', '_')}"
    for line in (refusal(capsys, **{variable: key}), refusal(capsys, f"--{name}", key)):
        assert f"{variable}: give a key" in line or f"--{name}: give a key" in line
        assert not key.strip() or key.strip() not in line


@pytest.mark.parametrize(
    "flags",
    [
        ["--api-key=sk-secret", "--port", "x"],
        ["--upstream-api-key=sk-secret", "--port", "x"],
        ["--upstream-api=chat", "--upstream-api-key=sk-secret", "extra"],
        ["--api-key=sk-secret", "extra"],
        ["--api_key=sk-secret"],
        ["-api-key=sk-secret"],
        ["--debug", "--quiet", "--api-key", "sk-secret"],
    ],
)
def test_no_mistake_shows_the_key(capsys: pytest.CaptureFixture[str], flags: list[str]) -> None:
    assert "secret" not in refusal(capsys, *flags)


@pytest.mark.parametrize("name", ["api-key", "upstream-api-key"])
@pytest.mark.parametrize("is_flag", [False, True])
def test_nothing_but_the_settings_keeps_the_key(
    capsys: pytest.CaptureFixture[str], name: str, is_flag: bool
) -> None:
    attribute = name.replace("-", "_")
    flags = [f"--{name}", "sk-secret"] if is_flag else []
    variables = {f"CODEX_BRIDGE_{attribute.upper()}": "sk-secret"}
    options = parsed(*flags, **variables)
    assert getattr(options.settings, attribute) == "sk-secret"
    assert "sk-secret" not in f"{options!r} {options.settings!r} {vars(options)!r}"
    with pytest.raises(SystemExit):
        parsed(*flags, "--help", **variables)
    assert "sk-secret" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--allow-host", "http://x"], "--allow-host: give names such as"),
        (["--allow-host", "x:80"], "without port"),
        (["--allow-host", "*.x"], "or * for all"),
        (["--allow-host", "a b"], "give names"),
        (["--allow-origin", "x.example"], "--allow-origin: give origins such as"),
        (["--allow-origin", "https://x/path"], "give origins"),
        (["--allow-origin", "https://*.*"], "give origins"),
        (["--upstream", "gpu"], "--upstream: give a name and a URL: gpu=http"),
        (["--upstream", "http://gpu"], "give a name and a URL"),
        (["--upstream", "a=gpu"], "give a URL"),
        (["--upstream", "A b=http://x"], "small letters, digits"),
        (["--upstream", "a=http://x,a=http://y"], "two servers have the same name"),
        (
            ["--upstream", "a=http://x", "--ollama-url", "http://y"],
            "--upstream and --upstream-url exclude each other; give every server by --upstream",
        ),
        (["--upstream", "a=http://x,b=http://localhost:11434"], "b=http://localhost:11434 is the"),
        (
            ["--upstream", "a=http://x,b=http://y", "--upstream-api-key", "sk-secret"],
            "--upstream-api-key: give NAME=KEY, with the name of an upstream",
        ),
        (
            ["--upstream", "a=http://x", "--upstream-api-key", "sk-secret=="],
            "--upstream-api-key: a key has a name that no --upstream has",
        ),
        (
            ["--upstream", "a=http://x", "--upstream-api-key", "Secret/x=y"],
            "--upstream-api-key: names have small letters",
        ),
        (["--alias", "gpt-4o"], "--alias: give a name and the model that it stands for: gpt-4o="),
        (["--alias", "gpt-4o="], "give a name and the model that it stands for"),
        (["--alias", "=qwen3"], "give a name and the model"),
        (["--alias", "a=b,b=c"], "--alias a=b: b is itself an alias"),
        (["--alias", "a=b", "--alias", "b=a"], "--alias a=b: b is itself an alias"),
        (["--alias", "a=a"], "--alias a=a: a is itself an alias"),
        (["--alias", "a=b,a=c"], "--alias: a stands for b and for c"),
        (["--port", "http"], "--port: give a whole number from 0 to 65535 (got 'http')"),
        (["--port", "65536"], "65535"),
        (["--port", "-1"], "65535"),
        (["--port", "1_1"], "65535"),
        (["--port", "٣"], "65535"),
        (["--max-body-size", "10"], "1024"),
        (["--store", ""], "--store: give the path of a file, memory or off"),
        (["--store-age", "0"], "--store-age: give a whole number from 1 to 36500"),
        (["--store-size", "1000"], "--store-size: give a whole number from 1048576"),
        (["--client-timeout", "0"], "86400"),
        (["--upstream-stream", "maybe"], "on or off"),
        (["--heartbeat", "0"], "--heartbeat: give a number of seconds from 0.1 to 3600"),
        (["--grace", "1e1"], "--grace: give a number of seconds"),
        (["--drain", "-1"], "--drain: give a number of seconds"),
        (["--upstream-timeout", "x"], "--upstream-timeout: give a number of seconds"),
        (["--tool-profile", "tiny"], "--tool-profile: give one of small, essential, compact, full"),
        (["--interface", "http://x"], "IP address"),
        (["--upstream-url", "localhost:11433"], "--upstream-url: give a URL such as"),
        (["--upstream-url", "ftp://localhost"], "give a URL"),
        (["--upstream-url", "http://"], "give a URL"),
        (["--upstream-url", "http://localhost:port"], "no URL"),
        (["--upstream-url", "http://localhost:99999"], "no URL"),
        (["--upstream-url", "http://[::1"], "no URL"),
        (["--upstream-url", "http://u:p@localhost:1"], "only scheme, host, port"),
        (["--upstream-url", "http://localhost:1/?q"], "only scheme, host, port"),
        (["--upstream-url", "http://localhost:1/v1"], "leave out /v1"),
        (["--upstream-url", "http://local host:1"], "no spaces"),
        (["--upstream-url", "http://localhost:11434"], "the bridge's own address"),
        (["--port", "80", "--upstream-url", "http://127.0.0.1"], "the bridge's own address"),
        (["--port", "443", "--upstream-url", "https://[::1]"], "the bridge's own address"),
        (["--interface=10.0.0.5", "--upstream-url=http://10.0.0.5:11434"], "own address"),
        (
            ["--upstream-url", "http://localhost:11434"],
            "(Ollama: OLLAMA_HOST=127.0.0.1:11433 ollama ",
        ),
        (["--port=11433", "--upstream-url=http://[::1]:11433"], "OLLAMA_HOST=127.0.0.1:11434"),
        (["--upstream-url", "http://localhost:11434"], "another port (--port 11500)"),
        (["--port=11500", "--upstream-url=http://localhost:11500"], "port (--port 11501)"),
        (["--share-context", "--upstream-api", "chat"], "use --upstream-api ollama"),
        (["--debug", "--quiet"], "exclude each other"),
        (["--colour"], "--colour"),
        (["extra"], "argument"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(
    capsys: pytest.CaptureFixture[str], flags: list[str], says: str
) -> None:
    line = refusal(capsys, *flags)
    assert says in line
    assert "secret" not in line.lower()


def test_each_of_several_upstreams_has_its_url_and_its_key() -> None:
    given = settings(
        *(
            "--upstream",
            "gpu=http://10.0.0.5:11434/,b=http://b:8080",
            "--upstream=c.d-e_1=https://c",
        ),
        *("--upstream-api-key", "gpu=sk-1", "--upstream-api-key=c.d-e_1=sk-2=="),
    )
    assert given.servers == {
        "gpu": ("http://10.0.0.5:11434", "sk-1"),
        "b": ("http://b:8080", None),
        "c.d-e_1": ("https://c", "sk-2=="),
    }
    assert "sk-" not in repr(given)


def test_without_several_upstreams_a_key_is_taken_as_it_is() -> None:
    given = settings("--upstream-url", "http://x", "--upstream-api-key", "a=b,c=d")
    assert given.servers == {"": ("http://x", "a=b,c=d")}


def test_a_mistake_in_a_variable_names_the_variable(capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, CODEX_BRIDGE_PORT="http")
    assert line.startswith("codex-bridge: CODEX_BRIDGE_PORT: ")


def test_version_prints_the_version_of_the_bridge(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        settings("--version")
    assert not caught.value.code
    assert capsys.readouterr().out == f"codex-bridge {__version__}\n"


def test_help_names_every_option_with_default_and_unit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        settings("--help")
    text = " ".join(capsys.readouterr().out.split())
    for option in (
        "--port=",
        "--listen-port=",
        "--interface=",
        "--upstream-url=",
        "--upstream=",
        "--allow-host=",
        "--allow-origin=",
        "--api-key=",
        "--upstream-api-key=",
        "--alias=",
        "--max-body-size=",
        "--store=",
        "--store-age=",
        "--store-size=",
        "--client-timeout=",
        "--upstream-stream=",
        "--websocket=",
        "--upstream-api=",
        "--num-ctx=",
        "--keep-alive=",
        "--share-context",
        "--no-context-guard",
        "--grace=",
        "--heartbeat=",
        "--upstream-timeout=",
        "--drain=",
        "--tool-profile=",
        "--no-directives",
        "--no-repair",
        "--debug",
        "--quiet",
        "--version",
    ):
        assert option in text
    for default in ("11434", "http://localhost:11433", "67108864", "0.5", "1800", "on", "off"):
        assert f"[default: {default}]" in text
    assert "bytes" in text
    # No marks and links of Markdown, which README's table has.
    assert "`" not in text
    assert "](" not in text


@pytest.mark.parametrize(
    ("flags", "ways_out"),
    [
        (["--num-ctx", "9000"], ["--upstream-api ollama", "prepare MODEL --num-ctx 9000"]),
        (["--keep-alive", "5m"], ["--upstream-api ollama", "OLLAMA_KEEP_ALIVE=5m"]),
    ],
)
def test_what_chat_completions_cannot_carry_is_refused_with_both_ways_out(
    capsys: pytest.CaptureFixture[str], flags: list[str], ways_out: list[str]
) -> None:
    text = refusal(capsys, "--upstream-api", "chat", *flags)
    assert all(way in text for way in ways_out)
    assert settings("--upstream-api", "ollama", *flags).upstream_api == "ollama"


@pytest.mark.parametrize("value", ["soon", "5 m", "", "1.5", "m"])
def test_an_invalid_keep_alive_is_refused(capsys: pytest.CaptureFixture[str], value: str) -> None:
    assert "30m" in refusal(capsys, "--keep-alive", value)

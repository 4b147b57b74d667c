"""How configure changes Codex's configuration files."""

from __future__ import annotations

import tomllib

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.cli.codex_config import CONFIG, PROFILE, Entries, overrides, rewritten
from codex_bridge.cli.command_line import CommandError

OLD = Entries(
    "qwen3:14b", "http://127.0.0.1:11434", "/home/x/.codex/bridge-models.json", (0, 130, 0)
)
NEW = evolve(OLD, version=(0, 169, 0))
MINE = b"""\
# my settings
model = "gpt-5"   # the big one

[projects."/home/x"]
trust_level = "trusted"  # mine

[mcp_servers.demo]
command = 'demo'
args = [
    "a",  # first
]
"""


def make(entries: Entries, config: bytes | None, profile: bytes | None = None) -> dict[str, str]:
    made = rewritten({CONFIG: config, PROFILE: profile}, entries)
    return {name: text.decode() for name, text in made.items() if text is not None}


def test_an_old_codex_gets_tables_at_the_end_of_its_file() -> None:
    made = make(OLD, MINE)
    assert made.keys() == {CONFIG}
    assert made[CONFIG].startswith(MINE.decode())
    values = tomllib.loads(made[CONFIG])
    assert values["profiles"]["bridge"] == OLD.profile
    assert values["model_providers"]["bridge"] == OLD.provider


def test_a_new_codex_gets_a_file_of_its_own_and_nothing_else() -> None:
    made = make(NEW, MINE)
    assert made[CONFIG] == MINE.decode()
    values = tomllib.loads(made[PROFILE])
    assert values.pop("model_providers") == {"bridge": NEW.provider}
    assert values == NEW.profile
    assert make(NEW, None).keys() == {PROFILE}


@pytest.mark.parametrize(
    ("version", "websocket", "told"),
    [
        ((0, 130, 0), True, True),
        ((0, 169, 0), True, True),
        ((0, 169, 0), False, None),
        ((0, 129, 9), True, None),
    ],
)
def test_a_codex_that_can_is_told_of_websocket(
    version: tuple[int, int, int], websocket: bool, told: bool | None
) -> None:
    entries = evolve(NEW, version=version, websocket=websocket)
    values = tomllib.loads("".join(make(entries, None).values()))
    assert values["model_providers"]["bridge"].get("supports_websockets") is told


@pytest.mark.parametrize(
    ("version", "in_file"),
    [((0, 130, 0), False), ((0, 133, 0), False), ((0, 134, 0), True), ((1, 0, 0), True)],
)
def test_the_version_decides_which_file_holds_the_profile(
    version: tuple[int, ...], in_file: bool
) -> None:
    entries = evolve(OLD, version=version)
    files = rewritten({CONFIG: None, PROFILE: None}, entries)
    assert [name for name, text in files.items() if text] == [PROFILE if in_file else CONFIG]


def test_the_provider_accepts_long_silence_and_is_not_called_openai() -> None:
    assert OLD.provider["stream_idle_timeout_ms"] > 300_000
    assert OLD.provider["name"] != "OpenAI"
    assert OLD.provider["base_url"] == "http://127.0.0.1:11434/v1"
    assert OLD.profile["web_search"] == "disabled"


@pytest.mark.parametrize(
    "config",
    [
        b"",
        b"x = 1",
        b"# only a comment",
        b"\r\n[a]\r\nb = 1 # c\r\n",
        b"profiles = {mine = {model = 'x'}} # all\n",
        b"profiles.mine.model = 'x'\n",
        b"[profiles.mine]\nmodel = 'x'\n[between]\n[profiles.other]\nmodel = 'y'\n",
        b"[model_providers.bridge]\nname = 'mine' # n\nhttp_headers = {a = 'b'}\n[z]\n",
        b"model_providers = {}\n",
        b"[profiles]\n[profiles.bridge]\nmodel = 'old'\n[profiles.bridge.features]\na = true\n",
        b"[[list]]\nx = nan\n[[list]]\nx = inf\n",
    ],
)
def test_every_layout_keeps_its_values(config: bytes) -> None:
    for entries in (OLD, NEW):
        before = tomllib.loads(config.decode())
        after = tomllib.loads(make(entries, config).get(CONFIG, ""))
        for tree in (before, after):
            tree.pop("profiles", {}).pop("bridge", None)
            tree.pop("model_providers", None)
        assert repr(after) == repr(before)


def test_keys_of_the_user_in_our_tables_stay() -> None:
    config = b"[model_providers.bridge]\nname = 'mine' # n\nhttp_headers = {a = 'b'}\n"
    provider = tomllib.loads(make(OLD, config)[CONFIG])["model_providers"]["bridge"]
    assert provider == OLD.provider | {"http_headers": {"a": "b"}}
    profile = b"# mine\nmodel = 'old'\nmodel_reasoning_effort = 'high' # h\n"
    made = make(NEW, None, profile)[PROFILE]
    assert "# mine\n" in made
    assert tomllib.loads(made)["model_reasoning_effort"] == "high"
    assert tomllib.loads(made)["model"] == "qwen3:14b"


def test_a_profile_table_is_removed_for_a_new_codex() -> None:
    """A new Codex refuses a profile table beside a profile file."""
    config = b"profile = 'bridge'\n# c\n[profiles.bridge]\nmodel = 'x'\n[profiles.a]\nmodel = 'y'\n"
    made = tomllib.loads(make(NEW, config)[CONFIG])
    assert made == {"profiles": {"a": {"model": "y"}}}
    only = tomllib.loads(make(NEW, b"[profiles.bridge]\nmodel = 'x'\n")[CONFIG])
    assert only.get("profiles", {}) == {}


@pytest.mark.parametrize("config", [b"a = = b\n", b"\xff\xfe", b"[a]\n[a]\n", b"\x00"])
def test_invalid_toml_is_an_error_and_nothing_is_changed(config: bytes) -> None:
    for entries in (OLD, NEW):
        if entries is NEW and config == b"\x00":
            continue
        with pytest.raises(CommandError, match=r"is no valid TOML: .*; nothing was changed"):
            rewritten({CONFIG: config, PROFILE: None}, entries)


@pytest.mark.parametrize("config", [b"profiles = 3\n", b"[[model_providers]]\nname = 'x'\n"])
def test_a_value_in_place_of_a_table_is_an_error(config: bytes) -> None:
    with pytest.raises(CommandError, match="nothing was changed"):
        rewritten({CONFIG: config, PROFILE: None}, OLD)


def test_keys_that_win_over_the_catalog_are_found() -> None:
    assert overrides(b"model_context_window = 4096\n[a]\nmodel_auto_compact_token_limit = 1\n") == [
        "model_context_window"
    ]
    assert overrides(None) == []


KEYS = st.sampled_from(["a", "b", '"c d"', "profiles", "model_providers", "bridge", "model"])
VALUES = st.sampled_from(["1", '"x"', "true", "{y = 2}", "[1, 2] # l", "{bridge = {z = 1}}", "{}"])
LINES = st.one_of(
    st.builds("{} = {}".format, KEYS, VALUES),
    st.builds("{}.{} = {}".format, KEYS, KEYS, VALUES),
    st.builds("[{}]".format, KEYS),
    st.builds("[{}.{}]".format, KEYS, KEYS),
    st.builds("[[{}.{}]]".format, KEYS, KEYS),
    st.builds("[{}.{}.{}]".format, KEYS, KEYS, KEYS),
    st.sampled_from(["# comment", "", "  # indented", "\t"]),
)


@given(st.lists(LINES, max_size=8), st.sampled_from(["\n", "\r\n"]), st.sampled_from([OLD, NEW]))
def test_any_configuration_is_changed_correctly_or_refused(
    lines: list[str], newline: str, entries: Entries
) -> None:
    config = newline.join(lines).encode()
    try:
        made = make(entries, config)
    except CommandError as error:
        assert "nothing was changed" in str(error)  # noqa: PT017
        return
    values = tomllib.loads(made[CONFIG])
    if entries is OLD:
        assert values["profiles"]["bridge"].items() >= OLD.profile.items()
        assert values["model_providers"]["bridge"].items() >= OLD.provider.items()
    else:
        profiles = values.get("profiles")
        assert not isinstance(profiles, dict) or "bridge" not in profiles
    again = make(entries, made[CONFIG].encode())
    assert again[CONFIG] == made[CONFIG]

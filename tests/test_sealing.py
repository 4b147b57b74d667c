"""Sealed texts: only who has the key can open them, and nobody can change them."""

from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel

from codex_bridge.sealing import BrokenSeal, Seal
from tests.conftest import LogBook

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_="


def seal_in(folder: Path) -> Seal:
    return Seal(str(folder / "seal.key"), Logger())


@pytest.fixture(scope="module")
def seal(tmp_path_factory: pytest.TempPathFactory) -> Seal:
    return seal_in(tmp_path_factory.mktemp("seal"))


@given(st.text())
def test_what_was_sealed_can_be_opened(seal: Seal, text: str) -> None:
    sealed = seal.close(text)
    assert sealed.isascii()
    assert seal.open(sealed) == text


def test_a_sealed_text_does_not_show_what_it_says(seal: Seal) -> None:
    assert "notes" not in seal.close("notes.txt " * 50)


@given(st.data())
def test_no_bit_of_a_sealed_text_can_be_changed(seal: Seal, data: st.DataObject) -> None:
    sealed = seal.close("notes.txt is done")
    place = data.draw(st.integers(0, len(sealed) - 1))
    bit = data.draw(st.integers(0, 6))
    changed = sealed[:place] + chr(ord(sealed[place]) ^ 1 << bit) + sealed[place + 1 :]
    with pytest.raises(BrokenSeal):
        seal.open(changed)


@given(st.data())
def test_no_sign_of_a_sealed_text_can_be_changed(seal: Seal, data: st.DataObject) -> None:
    # The last signs of Base64 hold bits that say nothing.
    sealed = seal.close(data.draw(st.sampled_from(["", "ab", "notes.txt is done"])))
    place = data.draw(st.integers(1, 5))
    # A sealed text differs each time; what is drawn must not depend on it.
    further = data.draw(st.integers(1, len(ALPHABET) - 1))
    at = ALPHABET.find(sealed[-place])
    sign = ALPHABET[(at + further) % len(ALPHABET)]
    with pytest.raises(BrokenSeal):
        seal.open(sealed[: len(sealed) - place] + sign + sealed[len(sealed) - place + 1 :])


@given(st.one_of(st.text(), st.text(ALPHABET, min_size=80)))
def test_what_was_never_sealed_cannot_be_opened(seal: Seal, text: str) -> None:
    with pytest.raises(BrokenSeal):
        seal.open(text)


@pytest.mark.parametrize("change", [lambda s: s[:-4], lambda s: f"{s}\n", lambda s: f" {s}"])
def test_a_cut_or_padded_text_cannot_be_opened(seal: Seal, change: object) -> None:
    assert callable(change)
    with pytest.raises(BrokenSeal):
        seal.open(change(seal.close("notes")))


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    with pytest.raises(BrokenSeal):
        seal_in(tmp_path / "b").open(seal_in(tmp_path / "a").close("notes"))


def test_the_key_outlives_the_process_and_only_its_user_can_read_it(tmp_path: Path) -> None:
    sealed = seal_in(tmp_path / "new").close("notes")
    assert seal_in(tmp_path / "new").open(sealed) == "notes"
    modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (tmp_path / "new").iterdir()]
    assert modes == [0o600]
    assert stat.S_IMODE(os.stat(tmp_path / "new").st_mode) == 0o700


def test_nothing_is_made_before_it_is_needed(tmp_path: Path) -> None:
    seal_in(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environ", "file"),
    [
        ({"XDG_STATE_HOME": "{}/state"}, "state/codex-bridge/seal.key"),
        ({"HOME": "{}"}, ".local/state/codex-bridge/seal.key"),
        ({"XDG_STATE_HOME": "relative", "HOME": "{}"}, ".local/state/codex-bridge/seal.key"),
        ({"XDG_STATE_HOME": "", "HOME": "{}"}, ".local/state/codex-bridge/seal.key"),
    ],
)
def test_the_key_is_in_the_users_folder_for_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], file: str
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    Seal(None, Logger()).close("notes")
    assert (tmp_path / file).is_file()


def _seal_at_once(folder: str, start: object, sealed: object) -> None:
    seal = seal_in(Path(folder))
    start.wait()  # type: ignore[attr-defined]
    sealed.put(seal.close("notes"))  # type: ignore[attr-defined]


def test_bridges_that_start_at_once_have_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, sealed = context.Barrier(4), context.Queue()
    arguments = (str(tmp_path / "new"), start, sealed)
    bridges = [context.Process(target=_seal_at_once, args=arguments) for _ in range(4)]
    for bridge in bridges:
        bridge.start()
    texts = [sealed.get(timeout=20) for _ in bridges]
    for bridge in bridges:
        bridge.join()
    seal = seal_in(tmp_path / "new")
    assert [seal.open(text) for text in texts] == ["notes"] * 4
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["seal.key"]


@pytest.mark.parametrize("content", [b"", b"no key", b"\xff" * 44])
def test_a_damaged_key_is_left_alone_and_told_of(
    tmp_path: Path, logged: LogBook, content: bytes
) -> None:
    path = tmp_path / "seal.key"
    path.write_bytes(content)
    seal = seal_in(tmp_path)
    assert seal.open(seal.close("notes")) == "notes"
    assert path.read_bytes() == content
    (warning,) = logged.at(LogLevel.warn)
    assert str(path) in str(warning["path"])


def test_without_a_home_the_key_lasts_as_long_as_the_process(
    monkeypatch: pytest.MonkeyPatch, logged: LogBook
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    seal = Seal(None, Logger())
    assert seal.open(seal.close("notes")) == "notes"
    assert len(logged.at(LogLevel.warn)) == 1

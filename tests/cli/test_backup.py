"""Changes to files that can be undone to the first state."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.cli.backup import FOLDER, Folder
from codex_bridge.cli.command_line import CommandError

CONTENTS = st.one_of(st.none(), st.binary(max_size=60))
NAMES = ("a.toml", "b.json")
STATES = st.fixed_dictionaries(dict.fromkeys(NAMES, CONTENTS))


def state(path: Path) -> dict[str, bytes]:
    """The files in a folder, without its backup."""
    return {each.name: each.read_bytes() for each in path.iterdir() if each.is_file()}


@given(STATES, st.lists(STATES, max_size=3))
def test_undo_gets_back_to_the_first_state_from_any_number_of_writes(
    first: dict[str, bytes | None], wanted: list[dict[str, bytes | None]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        for file, data in first.items():
            if data is not None:
                (path / file).write_bytes(data)
        before = state(path)
        for each in wanted:
            Folder(path).write(each)
            assert state(path) == {file: data for file, data in each.items() if data is not None}
        if Folder(path).is_changed:
            assert Folder(path).changed_by_others() == []
            Folder(path).undo()
        assert state(path) == before
        assert list(path.iterdir()) == [path / file for file in state(path)] or before


def test_a_file_that_somebody_else_changed_is_named(tmp_path: Path) -> None:
    Folder(tmp_path).write({"a": b"ours"})
    (tmp_path / "a").write_bytes(b"theirs")
    assert Folder(tmp_path).changed_by_others() == ["a"]
    Folder(tmp_path).write({"a": b"theirs and ours"})
    assert Folder(tmp_path).changed_by_others() == ["a"]
    (tmp_path / "a").unlink()
    assert Folder(tmp_path).changed_by_others() == []


def test_a_change_starts_from_the_first_state_or_from_the_changes_of_others(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").write_bytes(b"first")
    Folder(tmp_path).write({"a": b"ours"})
    assert Folder(tmp_path).base("a") == b"first"
    (tmp_path / "a").write_bytes(b"ours and theirs")
    assert Folder(tmp_path).base("a") == b"ours and theirs"


def test_modes_are_kept_and_new_files_are_private(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_bytes(b"x")
    old.chmod(0o640)
    Folder(tmp_path).write({"old": b"y", "new": b"z"})
    assert old.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700
    old.unlink()
    Folder(tmp_path).undo()
    assert old.stat().st_mode & 0o777 == 0o640


def test_links_are_followed_and_stay(tmp_path: Path) -> None:
    home, dotfiles = tmp_path / "home", tmp_path / "dotfiles"
    home.mkdir()
    dotfiles.mkdir()
    (dotfiles / "a").write_bytes(b"mine")
    (home / "a").symlink_to(dotfiles / "a")
    (home / "b").symlink_to(Path("..") / "dotfiles" / "b")
    Folder(home).write({"a": b"ours", "b": b"new"})
    assert (dotfiles / "a").read_bytes() == b"ours"
    assert (dotfiles / "b").read_bytes() == b"new"
    Folder(home).undo()
    assert (home / "a").is_symlink()
    assert (home / "b").is_symlink()
    assert (dotfiles / "a").read_bytes() == b"mine"
    assert [each.name for each in dotfiles.iterdir()] == ["a"]


def test_undo_removes_a_folder_that_was_not_there_before(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    Folder(home).write({"a": b"x"})
    Folder(home).undo()
    assert not home.exists()
    Folder(home).write({"a": b"x"})
    (home / "codex-made-this").touch()
    Folder(home).undo()
    assert [each.name for each in home.iterdir()] == ["codex-made-this"]


def test_a_write_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"first")

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="full"):
        Folder(tmp_path).write({"a": b"ours"})
    assert state(tmp_path) == {"a": b"first"}


def test_no_change_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"same")
    assert Folder(tmp_path).write({"a": b"same", "b": None}) == []
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{}", b'{"made_folder": 1, "files": {"a": 5}}'])
def test_a_broken_backup_is_an_error(tmp_path: Path, manifest: bytes) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "manifest.json").write_bytes(manifest)
    with pytest.raises(CommandError, match=r"manifest\.json cannot be read"):
        Folder(tmp_path)

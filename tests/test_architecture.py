"""The house stays the house: imports go one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.metadata import files
from pathlib import Path

import pytest

import codex_bridge

ROOT = Path(codex_bridge.__file__).parent
SHARED = {"codex_bridge.vocabulary", "codex_bridge.ids", "codex_bridge"}
PURE = {
    "PIL",
    "base64",
    "binascii",
    "io",
    "__future__",
    "attrs",
    "collections",
    "enum",
    "functools",
    "hashlib",
    "itertools",
    "orjson",
    "re",
    "shlex",
}
PURE |= {"typing"}

# room -> what of the house it may import, besides itself and what all rooms share
ARROWS = {
    "leaks": set(),
    "tools": {"codex_bridge.errors"},
    "repair": {"codex_bridge.errors", "codex_bridge.leaks", "codex_bridge.tools"},
    "responses": {
        "codex_bridge.errors",
        "codex_bridge.leaks",
        "codex_bridge.repair",
        "codex_bridge.tools",
    },
    "engines": {"codex_bridge.idle", "codex_bridge.twisted_private"},
    "clients": {"codex_bridge.errors"},
    "web": {
        "codex_bridge.clients",
        "codex_bridge.engines",
        "codex_bridge.errors",
        "codex_bridge.idle",
        "codex_bridge.repair",
        "codex_bridge.responses",
        "codex_bridge.settings",
        "codex_bridge.text",
        "codex_bridge.tools",
        "codex_bridge.twisted_private",
    },
}
PURE_ROOMS = ("leaks", "tools", "repair", "responses")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which room they lead to"
            yield node.module or ""


def modules(room: str) -> list[Path]:
    found = sorted((ROOT / room).rglob("*.py"))
    assert found
    return found


@pytest.mark.parametrize("room", ARROWS)
def test_a_room_imports_only_what_the_design_allows(room: str) -> None:
    allowed = {f"codex_bridge.{room}", *ARROWS[room]}
    for path in modules(room):
        for name in imports(path):
            if name.startswith("codex_bridge") and name not in SHARED:
                assert any(name == a or name.startswith(f"{a}.") for a in allowed), (path, name)


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_the_core_does_no_io(room: str) -> None:
    for path in modules(room):
        for name in imports(path):
            top = name.split(".")[0]
            assert top == "codex_bridge" or top in PURE, (path, name)


def test_leaks_could_be_a_library_of_its_own() -> None:
    for path in modules("leaks"):
        for name in imports(path):
            assert not name.startswith("codex_bridge") or name.startswith("codex_bridge.leaks")


def test_the_plugin_folder_is_no_package_of_ours() -> None:
    """An __init__.py there would hide Twisted's own."""
    checkout = Path(__file__).parent.parent / "twisted"
    shipped = [str(path) for path in files("codex-ollama-bridge") or []]
    assert not list(checkout.rglob("__init__.py"))
    assert [path for path in shipped if path.startswith("twisted/") and "__init__" in path] == []

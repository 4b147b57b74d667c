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
    "bisect",
    "binascii",
    "calendar",
    "io",
    "ipaddress",
    "__future__",
    "ast",
    "attrs",
    "collections",
    "contextlib",
    "copy",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "html",
    "itertools",
    "operator",
    "orjson",
    "posixpath",
    "re",
    "shlex",
    "unicodedata",
    "urllib",
}
PURE |= {"typing"}

# room -> what of the house it may import, besides itself and what all rooms share
ARROWS = {
    "leaks": set(),
    "tools": {"codex_bridge.errors", "codex_bridge.text"},
    "repair": {"codex_bridge.errors", "codex_bridge.leaks", "codex_bridge.tools"},
    "responses": {
        "codex_bridge.errors",
        "codex_bridge.leaks",
        "codex_bridge.repair",
        "codex_bridge.text",
        "codex_bridge.tools",
    },
    "engines": {"codex_bridge.idle", "codex_bridge.twisted_private"},
    "clients": {"codex_bridge.errors"},
    "storage": set(),
    "web": {
        "codex_bridge.clients",
        "codex_bridge.engines",
        "codex_bridge.errors",
        "codex_bridge.idle",
        "codex_bridge.repair",
        "codex_bridge.responses",
        "codex_bridge.sealing",
        "codex_bridge.settings",
        "codex_bridge.storage",
        "codex_bridge.text",
        "codex_bridge.tools",
        "codex_bridge.twisted_private",
    },
    "cli": {
        "codex_bridge.advice",
        "codex_bridge.clients",
        "codex_bridge.engines",
        "codex_bridge.service",
        "codex_bridge.settings",
        "codex_bridge.text",
        "codex_bridge.values",
    },
}
# root module -> what of the house it may import, besides what all share
ROOT_ARROWS = {
    "__init__": set(),
    "advice": {"codex_bridge.settings"},
    "errors": {"codex_bridge.text"},
    "idle": set(),
    "ids": set(),
    "log": {"codex_bridge.settings", "codex_bridge.signals", "codex_bridge.text"},
    "options": {"codex_bridge.advice", "codex_bridge.settings", "codex_bridge.text"},
    "start_checks": {
        "codex_bridge.advice",
        "codex_bridge.engines",
        "codex_bridge.settings",
        "codex_bridge.storage",
        "codex_bridge.text",
        "codex_bridge.values",
    },
    "service": {
        "codex_bridge.engines",
        "codex_bridge.log",
        "codex_bridge.sealing",
        "codex_bridge.settings",
        "codex_bridge.signals",
        "codex_bridge.sleep",
        "codex_bridge.storage",
        "codex_bridge.twisted_private",
        "codex_bridge.values",
        "codex_bridge.web",
    },
    "sealing": set(),
    "settings": {"codex_bridge.values"},
    "signals": set(),
    "sleep": set(),
    "tap": {
        "codex_bridge.log",
        "codex_bridge.options",
        "codex_bridge.start_checks",
        "codex_bridge.service",
    },
    "text": set(),
    "twisted_private": set(),
    "values": set(),
    "vocabulary": set(),
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


def unwanted(path: Path, allowed: set[str]) -> list[str]:
    """What a module imports of the house beyond `allowed` and what all share."""
    return [
        name
        for name in imports(path)
        if name.startswith("codex_bridge")
        and name not in SHARED
        and not any(name == each or name.startswith(f"{each}.") for each in allowed)
    ]


@pytest.mark.parametrize("room", ARROWS)
def test_a_room_imports_only_what_the_design_allows(room: str) -> None:
    for path in modules(room):
        assert unwanted(path, {f"codex_bridge.{room}", *ARROWS[room]}) == []


def test_every_room_and_root_module_has_its_row() -> None:
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == set(ARROWS)
    assert {path.stem for path in ROOT.glob("*.py")} == set(ROOT_ARROWS)


@pytest.mark.parametrize("name", ROOT_ARROWS)
def test_a_root_module_imports_only_what_the_design_allows(name: str) -> None:
    assert unwanted(ROOT / f"{name}.py", ROOT_ARROWS[name]) == []


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


NETWORK_CALLS = {"deliverBody", "request", "connect", "addTimeout", "callLater", "deferLater"}
"""Calls that begin a wait for the upstream, or a wait of their own."""
WITHOUT_BUDGET = {
    ("engines/answer.py", "deliverBody"): "its timers and sizes are the budget's",
    ("engines/budget.py", "deliverBody"): "it is the budget",
    ("engines/budget.py", "callLater"): "the next turn, which is no wait",
    ("engines/connections.py", "connect"): "the endpoints have a limit of their own",
    ("engines/client.py", "request"): "`_send`, see below; and pass-through, which has no limit",
    ("web/passthrough.py", "deliverBody"): "pass-through keeps nothing, and has no limit",
}
"""Where such a call may stand, and why."""


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Every call in a tree, with the last part of the name of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, getattr(node.func, "attr", getattr(node.func, "id", ""))


def test_no_wait_for_the_upstream_is_without_a_budget() -> None:
    found = {
        (str(path.relative_to(ROOT)), name)
        for path in [*modules("engines"), ROOT / "web/passthrough.py", ROOT / "web/exchange.py"]
        for _, name in calls(ast.parse(path.read_text()))
        if name in NETWORK_CALLS
    }
    # The pause before another attempt.
    pauses = {("web/exchange.py", "deferLater"), ("web/passthrough.py", "deferLater")}
    assert found - pauses == set(WITHOUT_BUDGET)


def test_a_request_is_only_sent_within_a_budget() -> None:
    """In the client `_send` sends it; whoever calls that waits by `within` or has a question."""
    tree = ast.parse((ROOT / "engines/client.py").read_text())
    senders = {
        function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.AsyncFunctionDef)
        and any(name in {"_send", "_ask"} for _, name in calls(function))
    }
    guarded = {
        function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.AsyncFunctionDef)
        and any(name == "within" for _, name in calls(function))
    }
    assert senders - guarded == {"_ask"}
    assert "ask" in guarded


def test_the_plugin_folder_is_no_package_of_ours() -> None:
    """An __init__.py there would hide Twisted's own."""
    checkout = Path(__file__).parent.parent / "twisted"
    shipped = [str(path) for path in files("codex-ollama-bridge") or []]
    assert not list(checkout.rglob("__init__.py"))
    assert [path for path in shipped if path.startswith("twisted/") and "__init__" in path] == []

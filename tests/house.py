"""The tree of the package as docs/design.md shows it, made of the modules' docstrings.

`python -m tests.house` writes it into docs/design.md.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import codex_bridge

PACKAGE = Path(codex_bridge.__file__).parent
DESIGN = Path(__file__).parent.parent / "docs" / "design.md"
BEGIN, END = "<!-- tree: made by `python -m tests.house` -->\n```\n", "```\n<!-- end of tree -->"
WIDTH = 22
"""Columns for a name and its indentation."""


def tree() -> str:
    """One line for each module: its name, and the first line of its docstring."""
    return "".join(f"{line}\n" for line in ["codex_bridge/", *_lines(PACKAGE, "    ")])


def _lines(folder: Path, indent: str) -> Iterator[str]:
    """The modules of a folder, then its packages."""
    for path in sorted(folder.glob("*.py")):
        if path.name not in {"__init__.py", "__main__.py"}:
            yield _line(path, path.name, indent)
    for package in sorted(path.parent for path in folder.glob("*/__init__.py")):
        yield _line(package / "__init__.py", f"{package.name}/", indent)
        yield from _lines(package, indent + "    ")


def _line(path: Path, name: str, indent: str) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return f"{indent + name:<{WIDTH + len(indent)}} {docstring.partition(chr(10))[0]}".rstrip()


def shown() -> str:
    """The tree that docs/design.md shows."""
    return DESIGN.read_text().partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    before, _, rest = DESIGN.read_text().partition(BEGIN)
    DESIGN.write_text(before + BEGIN + tree() + END + rest.partition(END)[2])

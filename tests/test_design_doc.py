"""docs/design.md shows the house as it stands."""

from __future__ import annotations

import ast
import re

from tests import house


def test_the_tree_in_the_design_is_that_of_the_package() -> None:
    assert house.shown() == house.tree(), "run: python -m tests.house"


def test_every_module_says_in_one_line_what_it_is_for() -> None:
    silent = []
    for path in house.PACKAGE.rglob("*.py"):
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
        first = docstring.partition("\n")[0]
        if not first or first[-1] not in ".:?":
            silent.append((path.name, first))
    assert silent == []


def test_every_file_that_the_documents_name_is_there() -> None:
    root = house.DESIGN.parent.parent
    pattern = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|md|sh|service|txt))`")
    # A bridge that is installed from a wheel does not lie beside its documents.
    folders = [root, house.PACKAGE.parent, house.PACKAGE]
    missing = []
    for page in [*root.glob("*.md"), *root.glob("docs/*.md")]:
        if page.name == "CHANGELOG.md":
            continue
        for name in pattern.findall(page.read_text()):
            if not any((folder / name).exists() for folder in folders):
                missing.append((page.name, name))
    assert missing == []

"""Slips in patches that leave no doubt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.repair.patch_slips import needs_repair, repair_patch
from codex_bridge.repair.patches import is_valid
from tests.repair.test_patches import ADD, DELETE, MANY, MOVE, UPDATE


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        (UPDATE.replace("\n", "\r\n"), UPDATE),
        (UPDATE.removeprefix("*** Begin Patch\n"), UPDATE),
        (UPDATE.removesuffix("*** End Patch\n"), UPDATE),
        (f"```diff\n{UPDATE}```", UPDATE),
        (f"apply_patch <<'EOF'\n{UPDATE}EOF", UPDATE),
        (f"apply_patch <<EOF\n{UPDATE}EOF\n", UPDATE),
        (UPDATE.replace("\n x = 1", "\nx = 1"), UPDATE),
        (UPDATE.replace("@@\n", "@@ -1,2 +1,2 @@\n"), UPDATE),
        (MOVE.replace("@@ def f():", "@@ -10 +10,2 @@ def f():"), MOVE),
        (ADD.replace("+one\n+\n+two", "one\n\ntwo"), ADD),
        (ADD.replace("+\n", "\n"), ADD),
        (f"\n\n{ADD}\n", ADD),
        (f"Here is the patch:\n\n{ADD}\nIt adds a file.\n", ADD),
        (ADD.replace("*** Begin Patch", "*** Begin Patch  "), ADD),
        (f"cd sub && apply_patch <<'EOF'\n{UPDATE}EOF", None),
        # All context lines lack their space, also those that begin with others.
        (
            "*** Begin Patch\n*** Update File: a\n@@\nclass A:\n    def f():\n-x\n*** End Patch",
            "*** Begin Patch\n*** Update File: a\n@@\n class A:\n     def f():\n-x\n"
            "*** End Patch\n",
        ),
        # Some lack it: which ones cannot be told.
        ("*** Begin Patch\n*** Update File: a\n@@\nclass A:\n     def f():\n-x\n", None),
        ("*** Begin Patch ***\n" + UPDATE.partition("\n")[2], UPDATE),
        (UPDATE.replace("*** Begin", "***Begin").replace("*** End", "***End"), UPDATE),
        (UPDATE.replace("*** Update File", "*** Modify File"), UPDATE),
        (ADD.replace("*** Add File", "*** Create File"), ADD),
        (DELETE.replace("*** Delete File", "*** Remove File"), DELETE),
        (ADD.replace("Add File: a.txt", "Rename File: a.txt"), None),
        # What stands behind "@@" is searched for above the lines that follow.
        (
            MOVE.replace("@@ def f():\n", "@@ def f():\n def f():\n"),
            MOVE.replace("@@ def f():\n", "@@\n def f():\n"),
        ),
        ("--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n x = 1\n-y = 2\n+y = 3\n", UPDATE),
        (
            "diff --git a/a.py b/a.py\nindex 1a2b3c..4d5e6f 100644\n--- a/a.py\n+++ b/a.py\n"
            "@@ -1,2 +1,2 @@\n x = 1\n-y = 2\n+y = 3\n\\ No newline at end of file\n",
            UPDATE,
        ),
        (
            "*** Begin Patch\n--- a.py\n+++ a.py\n@@\n x = 1\n-y = 2\n+y = 3\n*** End Patch\n",
            UPDATE,
        ),
        (
            "--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+one\n",
            "*** Begin Patch\n*** Add File: n\n+one\n*** End Patch\n",
        ),
        ("--- a/a.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-one\n", DELETE),
        # A rename, a copy that was kept, or another prefix: that cannot be told.
        ("--- a/o\n+++ b/n\n@@ -1 +1 @@\n-a\n+b\n", None),
        ("--- x.py.orig\n+++ x.py\n@@ -1 +1 @@\n-a\n+b\n", None),
        (
            "--- a/x.py\n+++ a/x.py\n@@ -1 +1 @@\n-a\n+b\n",
            "*** Begin Patch\n*** Update File: a/x.py\n@@\n-a\n+b\n*** End Patch\n",
        ),
        # Only its number says where such a hunk belongs.
        ("--- a/a.py\n+++ b/a.py\n@@ -10,0 +11,2 @@\n+x\n+y\n", None),
        (UPDATE.replace("@@\n x = 1\n-y = 2\n", "@@ -1,0 +2 @@\n"), None),
        # Lines of a hunk that look like the header of a file.
        (
            "--- a/q.sql\n+++ b/q.sql\n@@ -1,2 +1,2 @@\n--- old note\n+++ new note\n x\n",
            "*** Begin Patch\n*** Update File: q.sql\n@@\n--- old note\n+++ new note\n x\n"
            "*** End Patch\n",
        ),
        (
            "***Begin Patch\n*** Delete File: build/*\n*** End Patch",
            "*** Begin Patch\n*** Delete File: build/*\n*** End Patch\n",
        ),
        ("--- a.py\nno second line\n", None),
        (f"```\n{UPDATE}```  ", UPDATE),
        ("```\n*** Delete File: a.txt\n```  ", DELETE),
        ("```\n*** Delete File: a.txt", None),
        ("*** Delete File: a.txt\n```", None),
        ("``\n*** Delete File: a.txt\n```", None),
        (f"```\n{UPDATE}``` x", UPDATE),
        (f'applypatch  <<"EOF"\n{UPDATE}EOF', UPDATE),
        (f"  {UPDATE}", None),
        (UPDATE.replace("*** End Patch\n", "*** End Patch  "), UPDATE),
        (UPDATE.replace("a.py", "a.py  "), UPDATE),
        (MOVE.replace("Move to: b", "Move to: b "), MOVE),
        (MANY.replace("*** Delete File: a.txt\n", "*** Delete File: a.txt\n  \n\n"), MANY),
        (ADD.replace("*** End", "\n\n*** End"), ADD),
        (UPDATE.replace("*** End", "\n\n*** End"), UPDATE),
        (UPDATE.replace("-y = 2", "\n-y = 2"), UPDATE.replace("-y = 2", " \n-y = 2")),
        (UPDATE.replace("\n", "\r\n").replace("x = 1\r\n", "x = 1\n"), None),
        (UPDATE.replace("@@\n", "@@ -1 +1 @@ def f():\n"), UPDATE.replace("@@", "@@ def f():")),
        (UPDATE.replace("@@\n", "@@ -1,2 +1,2 @@\n@@ -3 +3 @@\n"), UPDATE.replace("@@", "@@\n@@")),
        (UPDATE.replace("x = 1", "@@ -1 +1 @@"), UPDATE.replace("x = 1", "@@ -1 +1 @@")),
        (UPDATE.replace(" x = 1", "x = 1\n    y"), UPDATE.replace(" x = 1", " x = 1\n     y")),
        (UPDATE.replace(" x = 1", "x = 1\n   y"), None),
        (ADD + "*** Begin Patch\n", ADD),
        (f"{ADD}and *** End Patch of it\n", ADD),
        *(
            (f"{command}\n{UPDATE}", None)
            for command in ("cd x", "a && b", "a; b", "apply_patch", "applypatch")
        ),
        # What follows a patch would become a part of the file.
        ("*** Add File: a\none", None),
        ("*** Add File: a\n+one", "*** Begin Patch\n*** Add File: a\n+one\n*** End Patch\n"),
        ("*** Add File: a\n+one\ntwo", None),
        ("*** Add File: a\n\n", None),
        ("x\n*** Delete File: a", None),
    ],
)
def test_slips_are_repaired(broken: str, whole: str | None) -> None:
    assert repair_patch(broken) == whole


def block(old: str, new: str) -> str:
    return f"<<<<<<< SEARCH\n{old}=======\n{new}>>>>>>> REPLACE\n"


CHANGE = block("x = 1\ny = 2\n", "x = 1\ny = 3\n")
CHANGED = "@@\n-x = 1\n-y = 2\n+x = 1\n+y = 3\n"


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        (f"*** Begin Patch\n*** Update File: a.py\n{CHANGE}*** End Patch", [("a.py", CHANGED)]),
        (f"*** Update File: a.py\n{CHANGE}{block('z', '')}", None),
        (
            f"*** Update File: a.py\n{CHANGE}\n{block('z' + chr(10), '')}",
            [("a.py", CHANGED + "@@\n-z\n")],
        ),
        (f"src/a.py\n```python\n{CHANGE}```\n", [("src/a.py", CHANGED)]),
        (f"**`a.py`**\n{CHANGE}\nb.py:\n{CHANGE}", [("a.py", CHANGED), ("b.py", CHANGED)]),
        (f"a.py\n{CHANGE.replace('<<<<<<< SEARCH', '------- SEARCH>')}", [("a.py", CHANGED)]),
        (f"a.py\n{CHANGE.replace('>>>>>>> REPLACE', '+++++++ REPLACE')}", [("a.py", CHANGED)]),
        # Not every block has a path, an end, or a place.
        (CHANGE, None),
        (f"Here is the change:\n{CHANGE}", None),
        (f"a.py\n{CHANGE.partition('>>>>')[0]}", None),
        (f"a.py\n{CHANGE.replace('=======', '---')}", None),
        (f"*** Update File: a.py\n{block('', 'x' + chr(10))}", None),
        (f"a.py\n{CHANGE}{block('', 'x' + chr(10))}", None),
    ],
)
def test_blocks_with_a_text_and_its_replacement_become_hunks(
    text: str, sections: list[tuple[str, str]] | None
) -> None:
    whole = None
    if sections is not None:
        body = "".join(f"*** Update File: {path}\n{hunks}" for path, hunks in sections)
        whole = f"*** Begin Patch\n{body}*** End Patch\n"
    assert repair_patch(text) == whole


def test_a_block_without_an_old_text_is_a_new_file() -> None:
    whole = "*** Begin Patch\n*** Add File: n.py\n+x\n*** End Patch\n"
    assert repair_patch(f"n.py\n{block('', 'x' + chr(10))}") == whole


@pytest.mark.parametrize(
    "text",
    ["", "print('x')", "--- a/x\n@@ -1 +1 @@\n-a\n+b\n", "*** Begin Patch\n*** End Patch"],
)
def test_what_is_no_patch_is_not_made_one(text: str) -> None:
    assert repair_patch(text) is None


@pytest.mark.parametrize(
    ("patch", "needed"),
    [
        (UPDATE, False),
        (UPDATE.replace("@@", "@@ -1 +1 @@"), True),
        (UPDATE.replace("@@", "@@ -1,2 +1,2 @@ def f"), True),
        (UPDATE.replace("x = 1", "@@ -1 +1 @@"), False),
        (UPDATE.strip(), False),
        ("x", True),
    ],
)
def test_line_numbers_need_a_repair_though_the_grammar_takes_them(patch: str, needed: bool) -> None:
    assert needs_repair(patch) is needed


def test_the_last_end_counts_for_a_patch_that_adds_a_patch() -> None:
    inner = "".join(f"+{line}\n" for line in ADD.splitlines())
    patch = f"*** Begin Patch\n*** Add File: b\n{inner}*** End Patch\n"
    assert repair_patch(f"Here:\n{patch}") == patch
    bare = "*** Begin Patch\n*** Add File: b\nx\n*** End Patch\n*** End Patch"
    repaired = repair_patch(bare)
    assert repaired
    assert repaired.count("*** End Patch") == 2


lines = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)


@given(st.lists(lines, min_size=1, max_size=6))
def test_a_new_file_keeps_every_line(content: list[str]) -> None:
    body = "".join(f"+{line}\n" for line in content)
    patch = f"*** Begin Patch\n*** Add File: a\n{body}*** End Patch\n"
    assert is_valid(patch)
    assert repair_patch(patch) == patch


@given(st.text(max_size=200))
def test_what_is_repaired_is_valid(text: str) -> None:
    repaired = repair_patch(text)
    assert repaired is None or is_valid(repaired)

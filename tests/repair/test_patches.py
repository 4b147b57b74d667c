"""The patch format: valid or not, and the commands that apply a patch."""

from __future__ import annotations

import pytest

from codex_bridge.repair import patches
from codex_bridge.repair.patch_slips import needs_repair, repair_patch
from codex_bridge.repair.patches import is_valid
from tests.tools.declared import VALID_PATCH

UPDATE = "*** Begin Patch\n*** Update File: a.py\n@@\n x = 1\n-y = 2\n+y = 3\n*** End Patch\n"
ADD = "*** Begin Patch\n*** Add File: a.txt\n+one\n+\n+two\n*** End Patch\n"
DELETE = "*** Begin Patch\n*** Delete File: a.txt\n*** End Patch\n"
MOVE = (
    "*** Begin Patch\n*** Update File: a\n*** Move to: b\n@@ def f():\n-x\n+y\n*** End of File\n"
    "*** End Patch\n"
)


MANY = (
    "*** Begin Patch\n"
    + "".join(
        "\n".join(patch.split("\n")[1:-2]) + "\n" for patch in (DELETE, ADD, UPDATE, DELETE, MOVE)
    )
    + "*** End Patch\n"
)
EMPTY = "*** Begin Patch\n*** Update File: a\n*** Move to: b\n*** End Patch\n"


@pytest.mark.parametrize("patch", [UPDATE, ADD, DELETE, MOVE, MANY, EMPTY, VALID_PATCH])
def test_what_the_grammar_allows_is_valid_and_stays_as_it_is(patch: str) -> None:
    assert is_valid(patch)
    assert repair_patch(patch) == patch.removesuffix("\n") + "\n"
    assert not needs_repair(patch)


@pytest.mark.parametrize(
    "patch",
    [
        "",
        "hello",
        "*** Begin Patch\n*** End Patch\n",
        "*** Begin Patch\n+x\n*** End Patch",
        "*** Begin Patch\n*** Add File: a\n*** End Patch",
        "*** Begin Patch\n*** Add File: a\nx\n*** End Patch",
        "*** Begin Patch\n*** Delete File: a\n+x\n*** End Patch",
        "*** Begin Patch\n*** Update File: a\nx\n*** End Patch",
        "*** Begin Patch\n*** Update File: a\n+x\n*** Move to: b\n*** End Patch",
        "*** Update File: a\n+x\n",
        "*** Begin Patch\n*** Delete File: a\n",
        "*** Delete File: a\n*** End Patch",
        "*** Begin Patch\n*** Add File: \n+x\n*** End Patch",
        "*** Begin Patch\n*** Add File: a\n*** Move to: b\n+x\n*** End Patch",
        "*** Begin Patch\n*** Move to: b\n*** Delete File: a\n*** End Patch",
        "*** Begin Patch\n*** Update File: a\n*** Move to: b\n*** Move to: c\n*** End Patch",
        "*** Begin Patch\n*** Update File: a\n@@x\n*** End Patch",
        "*** Begin Patch\n*** Update File: a\n*x\n*** End Patch",
        "*** Begin Patch\n*** Update File: a\n+x\n\n+y\n*** End Patch",
        "*** Begin Patch\n*** Delete File: a\n*** Add File: b\n*** End Patch",
        "*** Begin Patch\n*** Add File: b\n*** Delete File: a\n*** End Patch",
        "*** Begin Patch\n*** Delete File: a\n*** End Patch\n\n",
    ],
)
def test_what_the_grammar_forbids_is_not_valid(patch: str) -> None:
    assert not is_valid(patch)


def test_a_patch_is_applied_by_a_heredoc() -> None:
    command = patches.as_command(DELETE + "\n")
    assert command == f"apply_patch <<'EOF'\n{DELETE}EOF"


def test_a_patch_becomes_a_command_that_no_line_of_it_ends() -> None:
    patch = UPDATE.replace("+y = 3", "+y\nEOF").replace("\nEOF", "\n EOF")
    assert patches.as_command(patch).startswith("apply_patch <<'EOF'\n")
    tricky = "*** Begin Patch\n*** Add File: a\n+x\nEOF\n*** End Patch"
    assert patches.as_command(tricky).endswith("\nEOF_")


@pytest.mark.parametrize(
    ("command", "folder", "is_bare"),
    [
        (f"apply_patch <<'EOF'\n{UPDATE}EOF", "", False),
        (f"apply_patch <<'EOF'\n{UPDATE}EOF\n", "", False),
        (f"applypatch <<-PATCH\n{UPDATE}PATCH", "", False),
        (f"cd src && apply_patch << 'EOF'\n{UPDATE}EOF", "cd src && ", False),
        # The shell would say that the end is missing, and yet run it.
        (f"apply_patch <<'EOF'\n{UPDATE}", "", False),
        (f"apply_patch '{UPDATE}'", "", False),
        (f'apply_patch "{UPDATE}"', "", False),
        (UPDATE, "", True),
    ],
)
def test_a_command_that_only_applies_a_patch_is_recognised(
    command: str, folder: str, is_bare: bool
) -> None:
    found = patches.in_command(command)
    assert found
    assert found.patch.rstrip("\n") == UPDATE.rstrip("\n")
    assert (found.folder, found.is_bare) == (folder, is_bare)


@pytest.mark.parametrize(
    "command",
    [
        "ls",
        "",
        f"git stash && apply_patch <<'EOF'\n{UPDATE}EOF",
        f"apply_patch <<'EOF' && make\n{UPDATE}EOF",
        f"apply_patch <<'EOF'\n{UPDATE}EOF\nmake",
        "apply_patch < a.patch",
        f"apply_patch '{UPDATE}' && make",
        f"apply_patch '{UPDATE}",
        f"cd a; rm b && apply_patch <<'EOF'\n{UPDATE}EOF",
    ],
)
def test_a_command_that_does_more_is_left_alone(command: str) -> None:
    found = patches.in_command(command)
    assert found is None or not is_valid(found.patch)


def test_a_patch_of_a_replacement_has_what_stays_as_context() -> None:
    assert patches.replacing("a", ["x", "y", "z"], ["x", "Y", "z"]) == (
        "*** Begin Patch\n*** Update File: a\n@@\n x\n-y\n+Y\n z\n*** End Patch\n"
    )
    # A line that both begin and end with is context once.
    assert patches.replacing("a", ["x"], ["x", "x"]) == (
        "*** Begin Patch\n*** Update File: a\n@@\n x\n+x\n*** End Patch\n"
    )
    assert patches.replacing("a", ["x"], []) == (
        "*** Begin Patch\n*** Update File: a\n@@\n-x\n*** End Patch\n"
    )

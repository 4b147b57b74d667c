"""docs/failures.md says what the code does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import codex_bridge
from codex_bridge.clients.traits import CODEX
from codex_bridge.engines import retries
from codex_bridge.errors import TABLE, from_upstream
from codex_bridge.vocabulary import FailureKind, ServerWords, UpstreamFailure

SOURCE = Path(codex_bridge.__file__).parent
TEXT = (Path(__file__).parent.parent / "docs" / "failures.md").read_text()
RULES = dict(retries.RULES)


def rows() -> Iterator[list[str]]:
    """The cells of every row of a table."""
    for line in TEXT.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("kind", [kind for kind in TABLE if kind is not FailureKind.SWALLOWED])
def test_each_failure_of_the_upstream_has_its_row(kind: FailureKind) -> None:
    error = from_upstream(UpstreamFailure(kind, "why", 500), "m", ServerWords("u"), tried=True)
    check_row(kind, f"`{error.code}`")


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        (FailureKind.NOT_RUNNING, "`upstream_unreachable`, the connection was refused"),
        (FailureKind.STALE, "`upstream_unreachable`, on a kept connection"),
        (FailureKind.SWALLOWED, "`malformed_call`, dropped in silence"),
    ],
)
def test_failures_that_share_a_code_have_rows_of_their_own(kind: FailureKind, row: str) -> None:
    check_row(kind, row)


def check_row(kind: FailureKind, name: str) -> None:
    error = from_upstream(UpstreamFailure(kind, "why", 500), "m", ServerWords("u"), tried=True)
    (row,) = [cells for cells in rows() if cells[0] == name]
    _, _, again, status, codex, _ = row
    # An empty answer is a success to an SDK.
    assert status.startswith("completed" if kind is FailureKind.EMPTY else str(error.status))
    assert codex == f"`{CODEX.failure_code(error)}`"
    steps = RULES[kind].steps if kind in RULES else ()
    waits = [step.wait for step in steps if step.wait]
    if len(waits) > 10:
        assert f"every {waits[0]:g} s" in again
        assert len(set(waits)) == 1
    elif waits:
        said = ", ".join(f"{step.wait:g}" for step in steps)
        assert f"after {said} s" in again
    elif kind in RULES:
        assert "at once" in again
    else:
        assert again.startswith("no")


def test_each_code_in_the_source_is_in_the_document() -> None:
    source = "\n".join(path.read_text() for path in SOURCE.rglob("*.py"))
    codes = set(re.findall(r'\bcode="(\w+)"', source))
    assert codes
    assert {code for code in codes if f"`{code}`" not in TEXT} == set()

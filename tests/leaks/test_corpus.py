"""The corpus: in each situation every form of a call has the outcome that it should have."""

from __future__ import annotations

from collections import Counter

import pytest

from codex_bridge.leaks.quotations import Quotations
from codex_bridge.leaks.scanner import Found, LeakScanner, Piece
from codex_bridge.repair.judge import Judge
from tests.leaks.corpus import CALL, DOUBT, SITUATIONS, TEXT, Case, Situation, cases, table
from tests.leaks.test_scanner import TOOLBOX
from tests.processes import ROOT

CASES = list(cases())


def scan(case: Case, *pieces: str) -> list[Piece]:
    judge = Judge(TOOLBOX, Quotations([case.read]))
    shows = case.situation.asked_to_show
    scanner = LeakScanner(judge.known, judge.accepts, is_shown_json=lambda: shows)
    return [piece for text in pieces for piece in scanner.feed(text)] + scanner.end()


def outcome(pieces: list[Piece]) -> str:
    found = [piece for piece in pieces if isinstance(piece, Found) and piece.calls]
    if not found:
        return TEXT
    return CALL if all(piece.is_certain for piece in found) else DOUBT


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_every_form_has_its_outcome(situation: Situation) -> None:
    wanted = {case.form: case.outcome for case in CASES if case.situation is situation}
    found = {
        case.form: outcome(scan(case, case.answer)) for case in CASES if case.situation is situation
    }
    assert found == wanted


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_the_outcome_does_not_depend_on_where_the_text_was_cut(situation: Situation) -> None:
    for case in CASES:
        if case.situation is situation and len(case.answer) < 70:
            whole = outcome(scan(case, case.answer))
            for at in range(1, len(case.answer)):
                cut = scan(case, case.answer[:at], case.answer[at:])
                assert outcome(cut) == whole, (case.form, at)


def test_the_corpus_is_large_and_has_every_outcome() -> None:
    counts = Counter(case.outcome for case in CASES)
    assert len(CASES) >= 400
    assert min(counts[CALL], counts[DOUBT], counts[TEXT]) >= 100


def test_the_page_on_tools_has_the_table_of_the_corpus() -> None:
    page = (ROOT / "docs" / "tools.md").read_text()
    assert table() in page, "paste what `python -m tests.leaks.corpus` prints"

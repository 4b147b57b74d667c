"""Which answers without a call only announce the next step, over a corpus of both kinds."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from codex_bridge.responses.announcements import announces
from tests.responses.endings import ANNOUNCED, HONEST, Ending


@pytest.mark.parametrize("kind", sorted({each.kind for each in HONEST}))
def test_an_honest_ending_is_no_announcement(kind: str) -> None:
    endings = [each.text for each in HONEST if each.kind == kind]
    assert [text for text in endings if announces(text)] == []


def test_most_announcements_are_found() -> None:
    missed = [each for each in ANNOUNCED if not announces(each.text)]
    english = [each for each in missed if each.text.isascii()]
    assert len(ANNOUNCED) > 200
    assert len(missed) < 0.1 * len(ANNOUNCED), missed
    assert len(english) < 0.1 * sum(each.text.isascii() for each in ANNOUNCED), english


@pytest.mark.parametrize(
    "kind",
    [
        "German",
        "French",
        "Spanish",
        "Portuguese",
        "Italian",
        "Dutch",
        "Polish",
        "Russian",
        "Chinese",
        "Japanese",
        "Korean",
        "Turkish",
        "decorated",
        "behind a finding",
    ],
)
def test_announcements_of_every_kind_are_found(kind: str) -> None:
    texts = [each.text for each in ANNOUNCED if each.kind == kind]
    assert texts
    assert all(map(announces, texts))


STEP = "Let me check the output:"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("", "", True),
        ("It failed. ", "", True),
        ("It failed.\n\n", "\n\n", True),
        ("- one\n- two\n\n", "", True),
        ("- It failed.\n", "", True),
        ("It says:\n\n```\nfailed\n```\n\n", "", True),
        # Done, or shown.
        ("", " It is fine.", False),
        ("", "\n\nIt is fine.", False),
        ("", "\n\n```\nok\n```", False),
        ("", "\n\n- ok", False),
        ("", " ok", False),
        ("It says:\n\n", "", False),
        ("It says:\n\nStarting up.\n\n", "", False),
        ("It says:\n\n```\nfailed\n\n", "", False),
        ("It failed.\n- Try again. ", "", False),
        ("- ", "", False),
        ("12. ", "", False),
        ("- one\n  ", "", False),
        ("> ", "", False),
        ("# ", "", False),
        ('He wrote: "It failed. ', '"', False),
        # Asked for, or a plan.
        ("Which one? ", "", False),
        ("Which one?\n\n", "", False),
        ("Please confirm.\n\n", "", False),
        ("Now I will read the file. ", "", False),
    ],
)
def test_what_stands_around_an_announcement_counts(
    before: str, after: str, *, expected: bool
) -> None:
    assert announces(before + STEP + after) is expected


@pytest.mark.parametrize(
    ("announced", "put_off"),
    [
        ("I'll run the tests.", "I'll run the tests once it is merged."),
        ("I'll run the tests.", "I'll run the tests later."),
        ("I'll run the tests.", "I'll not run the tests."),
        ("I'll run the tests.", "It will run the tests."),
        ("I'll run the tests.", "I could run the tests."),
        ("I'll run the tests.", "I'll run tests."),
        ("I’ll run\nthe tests.", "I’ll try\nto be more careful."),
        ("Let me check if it works.", "Let me check it if it fails."),
        ("I'll run the tests for you.", "I'll run the tests that you name."),
        ("I'll read it before editing it.", "I'll read it before the release."),
        ("I need to read the file:", "I need to read the file."),
        ("We will now read the file.", "We will read the file."),
        ("Reading the file now…", "Reading the file takes long now…"),
        ("So let's run the tests.", "So let's say that it is done."),
    ],
)
def test_a_step_is_of_the_model_of_work_and_of_now(announced: str, put_off: str) -> None:
    assert announces(announced)
    assert not announces(put_off)


@given(st.text(), st.sampled_from(ANNOUNCED), st.sampled_from("?\uff1f"))
def test_a_question_is_no_announcement(before: str, ending: Ending, mark: str) -> None:
    assert not announces(before + mark)
    assert not announces(f"{before}\n\n{ending.text}{mark}")


@given(st.text() | st.sampled_from(ANNOUNCED).map(lambda each: each.text), st.sampled_from(HONEST))
@example("```\n", Ending("fence", "It is fine."))
@example("Let me check the output.", Ending("emoji", "👍"))
def test_an_honest_ending_makes_every_answer_honest(before: str, ending: Ending) -> None:
    if ending.text.strip():
        assert not announces(f"{before}\n\n{ending.text}")


@pytest.mark.parametrize("far", ["a ", "Why? ", "Let me check. ", "```\n", "\n\n", ": "])
def test_only_the_end_of_a_long_answer_counts(far: str) -> None:
    assert announces(far * 1000 + "\n" * 3 + "It failed. " * 100 + STEP)


def test_what_only_looks_like_a_sentence_where_the_window_begins_is_none() -> None:
    end = "let me run " + "it and " * 140 + "it there."
    assert len(end) == 1000
    assert not announces("He did not " + end)


@pytest.mark.parametrize(
    "part",
    [
        "I'll now ",
        "now, so ",
        "Let me run by ",
        "*",
        "\n",
        " ",
        "so ",
        "Ich werde jetzt ",
        "我来",
        "??",
        "to a, ",
        "Now running the ",
        ". ",
        ":\n\n",
        "이제 ",
        "では",
        "I am going to go ahead and ",
    ],
)
def test_a_huge_answer_is_judged_by_its_end(part: str) -> None:
    """Whatever took quadratic time for it would not end within the limit of a test."""
    assert not announces(f"{part * 1_000_000}\n\nDone.")

"""Where in a text a call may stand, by the text before it."""

from __future__ import annotations

import pytest

from codex_bridge.leaks.scanner import Found
from tests.leaks.test_styles import scan

TAG = "<tool_call>{'name': 'ls'}</tool_call>"
JSON = '{"name": "ls", "arguments": {}}'
FENCED = f"```json\n{JSON}\n```"
WORDS = "functions.ls:0 {}"


def is_call(before: str, call: str, after: str = "") -> bool:
    """Whether `call` is read as one between two texts, which come out as they are if not."""
    text = before + call + after
    answers = [scan(*pieces, known="ls functions.ls:0") for pieces in ([text], text)]
    whole, cut = ([piece for piece in pieces if isinstance(piece, Found)] for pieces in answers)
    assert whole == cut
    if not whole:
        assert "".join(map(str, answers[0])) == text
    return bool(whole)


@pytest.mark.parametrize(
    ("before", "tag", "json", "words"),
    [
        ("", True, True, True),
        ("   ", True, True, True),
        ("    ", False, False, False),
        ("\t", False, False, False),
        (" \t", False, False, False),
        ("Go.\n\n", True, True, True),
        ("Go.\n    ", False, False, False),
        ("Go: ", True, True, False),
        ("Go:", True, True, False),
        ("Go.\u3000", True, True, False),
        ("Go.", True, False, False),
        ("- ", True, True, False),
        *((f"Go {char}", False, False, False) for char in "\"'`“‘«=\\(|+/#"),
        *((f"Go {char} ", False, False, False) for char in "\"'`“‘«=\\(|+/#"),
        ("> ", False, False, False),
        (">", False, False, False),
        (" > Go: ", False, False, False),
        ("Go > there: ", True, True, False),
        ("A `b` and: ", True, True, False),
        ("A `b and: ", False, False, False),
        ("A `b and:\n", True, True, True),
        ("A ``` b ` and: ", True, True, False),
    ],
)
def test_a_call_may_stand_where_nothing_quotes_it(
    before: str, tag: bool, json: bool, words: bool
) -> None:
    assert [is_call(before, call) for call in (TAG, JSON, WORDS)] == [tag, json, words]


@pytest.mark.parametrize(("before", "found"), [("", True), ("  ", True), ("Go: ", False)])
def test_a_fence_with_calls_begins_a_line(before: str, found: bool) -> None:
    assert is_call(before, FENCED) is found


@pytest.mark.parametrize(
    ("opened", "inside"),
    [
        ("```py", True),
        ("~~~", True),
        ("````py", True),
        ("- ```", True),
        ("* 1. ```", True),
        ("> ```", True),
        ("12. ~~~~ x", True),
        ('x = """', True),
        ("x = '''", True),
        ('"""a"""', False),
        ("``", False),
        ("``` a ` b", False),
        ("a ```", False),
        ("-```", False),
        ("```py\nx\n```", False),
        ("```py\nx\n````", False),
        ("```py\nx\n``", True),
        ("```py\nx\n```x", True),
        ("````py\nx\n```", True),
        ("```py\nx\n~~~", True),
        ("```py\nx\n> ```", False),
        ("```py\nx\n   ```  ", False),
        ("~~~\nx\n~~~", False),
        ('x = """\na\n"""', False),
        ("x = '''\na\n\"\"\"", True),
        ('x = """\na """ b """', True),
        ("```\n'''\n```", False),
        ("```a\n\n", True),
    ],
)
def test_a_fence_is_open_until_its_own_mark(opened: str, inside: bool) -> None:
    assert is_call(f"{opened}\n", TAG) is not inside


@pytest.mark.parametrize(
    "intent",
    [
        "I'll run it.", "I’ll run it.", "Ill run it.", "I will run it.", "I'm going to run it.",
        "I am going to run it.", "Let me run it.", "LET ME RUN IT.", "Let's run it.",
        "Let us run it.", "We will run it.", "We'll run it.",
        "我来运行。", "我将运行。", "我要运行。", "我会运行。", "让我运行。",
    ],
)  # fmt: skip
def test_announced_json_is_a_call_though_prose_follows(intent: str) -> None:
    assert is_call(f"{intent}\n\n", JSON, "\n\nDone.")
    assert not is_call(f"{intent}\n\n", JSON, " Done.")
    assert not is_call(f"{intent} That is all. Now\n\nIt:\n", JSON, "\n\nDone.")
    assert not is_call("Run it.\n\n", JSON, "\n\nDone.")


@pytest.mark.parametrize(
    "condition",
    [
        "Shall I run this?", "I'll run it if you say", "I'll run it once you say",
        "I'll wait unless told", "I'll wait until told", "I'll run it when you confirm",
        "I'll run it, confirmed:", "I would run", "You can run", "You could run", "You should run",
        "You may run", "You might run", "Earlier it ran", "Should I run", "Shall I run",
        "Could I run", "May I run", "I'll never run", "I will not run", "I'll say I cannot run",
        "I can't run", "I can’t run", "I'll say I don't run", "I won't run", "I'll show you",
    ],
)  # fmt: skip
def test_json_that_is_asked_about_refused_or_put_off_is_text(condition: str) -> None:
    assert not is_call(f"{condition}\n\n", JSON)
    assert is_call(f"{condition}. Fine.\n\n", JSON)


@pytest.mark.parametrize(
    "example",
    [
        "An example", "Two examples:", "For instance", "A form such as", "It looks like",
        "It looks like this:", "Write it like this", "It would be", "It would look",
        "It is formatted as", "Calls are written", "The call is written so",
        "Use this format", "In the following syntax", "The right form", "The correct shape",
        "In this structure", "The format is", "The syntax for it", "Zum Beispiel", "Par exemple",
        "Por ejemplo", "One never writes", "The model emits", "They emit", "It outputs", "I wrote",
        "It writes", "It produces", "It generates", "It logged", "Forms, e.g.", "Formen, z. B.",
        "Formen, z.B.", "How tools are called", "What a call is:", "Something like",
        "Such forms as:", "例如", "比如",
    ],
)  # fmt: skip
def test_a_call_that_an_example_introduces_is_text(example: str) -> None:
    assert not is_call(f"{example}\n\n", TAG)
    if not example.endswith("."):
        assert is_call(f"{example}. Now:\n\n", TAG)
        assert is_call(f"{example}!\n\n", TAG)
    assert is_call(f"{example}\n\nNow.\n\n", TAG)


def test_only_the_last_three_hundred_characters_are_remembered() -> None:
    assert not is_call("For example " + "x" * 287 + "\n", TAG)
    assert is_call("For example " + "x" * 300 + "\n", TAG)


def test_a_call_inside_of_a_tag_that_is_shown_is_text() -> None:
    assert not is_call("The tag `<tool_call>` is this: ", TAG)
    assert not is_call("The tag `<tool_call>` is this:\n", TAG)
    assert is_call("The tag `<tool_call>` is this.\n\n", TAG)
    assert is_call("The tag `<tool_call>` is this.\n \n", TAG)
    assert not is_call("The mark `[TOOL_CALLS]` is this:\n", TAG)
    assert is_call("The tag `<other>` is this:\n", TAG)
    # What only looked like a call was no tag that is shown.
    assert is_call("<tool_call>oops</tool_call> ", TAG)
    assert is_call("<tool_call>{'name': 'rm'}</tool_call> ", TAG)


@pytest.mark.parametrize(
    "result",
    ["<tool_response>", "<tool_result>", "<function_results>", "<function_result>",
     "[TOOL_RESULTS]"],
)  # fmt: skip
def test_after_a_result_that_the_model_wrote_itself_nothing_is_a_call(result: str) -> None:
    assert not is_call(f"{result}ok\n\nFine.\n\n", TAG)
    assert is_call(f"{result[:-1]} ok\n\nFine.\n\n", TAG)


def test_a_second_call_may_follow_in_the_line() -> None:
    for between in ("", " "):
        first, second = (
            piece for piece in scan(f"Sure: {TAG}{between}{TAG}") if isinstance(piece, Found)
        )
        assert first == second
    assert not any(isinstance(piece, Found) for piece in scan(f"Sure: {JSON} is {JSON}"))


def test_json_after_some_that_was_shown_is_text() -> None:
    text = f"First:\n{JSON}\nis sent.\n\nThen:\n"
    assert not is_call(text, JSON)
    assert is_call(text, TAG)
    assert is_call(f"First:\n{TAG}\nis sent.\n\nThen:\n", JSON)


def test_prose_after_a_call_keeps_the_white_space_before_it() -> None:
    def texts(answer: str) -> list[object]:
        return [piece for piece in scan(answer) if isinstance(piece, str)]

    assert texts(f"Go.\n{TAG} \n Done.") == ["Go.\n", " \n Done."]
    assert texts(f"Go.\n{TAG}\n\n") == ["Go.\n"]
    assert texts(f"I'll go.\n\n{JSON}\n \nDone.") == ["I'll go.\n\n", "\n \nDone."]
    assert texts(f"{JSON}\n{TAG}") == []
    assert texts(f"{JSON}\n{JSON}\nDone.") == [f"{JSON}\n{JSON}\nDone."]
    assert texts(f"{JSON}</tool_call> {JSON} Done.") == [f"{JSON}</tool_call> {JSON} Done."]


def test_a_call_in_doubt_does_not_count_in_an_answer_that_was_cut_or_called_properly() -> None:
    for end in ({"cut": True}, {"called": True}):
        assert scan(JSON, **end) == [JSON]
        assert scan(FENCED, **end) == [FENCED]
        assert [type(piece) for piece in scan(TAG, **end)] == [Found]
    unfinished = TAG.removesuffix("</tool_call>")
    assert [type(piece) for piece in scan(unfinished, called=True)] == [Found]
    assert scan("<tool_call>{'name': 'ls'", cut=True) == ["<tool_call>{'name': 'ls'"]
    assert [type(piece) for piece in scan("<tool_call>{'name': 'ls'")] == [Found]

"""Calls that stand in the text."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codex_bridge.leaks.scanner import Found, LeakScanner, Piece
from codex_bridge.repair.calls import repair_call
from codex_bridge.repair.judge import Judge
from codex_bridge.tools.toolbox import Toolbox
from tests.tools.declared import CODEX, VALID_PATCH

TOOLBOX = Toolbox.from_request(CODEX)
ARGUMENTS = {"cmd": "ls -la"}
JSON = '{"name": "exec_command", "arguments": {"cmd": "ls -la"}}'
LLAMA = JSON.replace("arguments", "parameters")
FUNCTION = "<function=exec_command>\n<parameter=cmd>\nls -la\n</parameter>\n</function>"
DEEPSEEK = (
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>exec_command\n"
    '```json\n{"cmd": "ls -la"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
)
KIMI = (
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.exec_command:0"
    '<|tool_call_argument_begin|>{"cmd": "ls -la"}<|tool_call_end|><|tool_calls_section_end|>'
)
TAGGED = {
    "tool_call": f"<tool_call>\n{JSON}\n</tool_call>",
    "tool_call, no end": f"<tool_call>\n{JSON}\n",
    "tool_call, no last brace": f"<tool_call>{JSON[:-1]}</tool_call>",
    "tool_call, no last braces": f"<tool_call>{JSON[:-2]}\n</tool_call>",
    "tool_call, single quotes": f"<tool_call>{JSON}</tool_call>".replace('"', "'"),
    "tool_call, function inside": f"<tool_call>\n{FUNCTION}\n</tool_call>",
    "tool_call, pairs": "<tool_call>exec_command\n<arg_key>cmd</arg_key>\n"
    "<arg_value>ls -la</arg_value>\n</tool_call>",
    "tools": f"<tools>\n{JSON}\n</tools>",
    "function_call": f"<function_call>{JSON}</function_call>",
    "function": FUNCTION,
    "function, stray end": f"{FUNCTION}\n</tool_call>",
    "function, unclosed": "<function=exec_command>\n<parameter=cmd> ls -la",
    "function, JSON": '<function=exec_command>{"cmd": "ls -la"}</function>',
    "invoke": '<invoke name="exec_command"><parameter name="cmd">ls -la</parameter></invoke>',
    "invoke, wrapped": '<function_calls>\n<invoke name="exec_command">\n<parameter name="cmd">'
    "ls -la</parameter>\n</invoke>\n</function_calls>",
    "mistral": '[TOOL_CALLS]exec_command[ARGS]{"cmd": "ls -la"}',
    "mistral, list": f"[TOOL_CALLS] [{JSON}]",
    "llama": f"<|python_tag|>{LLAMA}",
    "llama, ended": f"<|python_tag|>{LLAMA}<|eom_id|>",
    "deepseek": DEEPSEEK,
    "deepseek, later": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>exec_command<｜tool▁sep｜>"
    '{"cmd": "ls -la"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    "kimi": KIMI,
    "kimi, bare": 'functions.exec_command:0 {"cmd": "ls -la"}',
    "harmony": "<|channel|>commentary to=functions.exec_command <|constrain|>json<|message|>"
    '{"cmd": "ls -la"}<|call|>',
    "harmony, from the start": "<|start|>assistant<|channel|>commentary "
    'to=functions.exec_command<|message|>{"cmd": "ls -la"}',
    "harmony, in a line": "assistantcommentary to=functions.exec_command code"
    '<|message|>{"cmd": "ls -la"}',
    "harmony, bare": 'commentary to=functions.exec_command json{"cmd": "ls -la"}',
    "gemma": "<start_function_call>call:exec_command{cmd:<escape>ls -la<escape>}"
    "<end_function_call>",
}
TAGGED |= {
    "named function": '<function name="exec_command">\n<parameter name="cmd">ls -la</parameter>\n'
    "</function>",
    "named function, JSON": '<function name="exec_command">{"cmd": "ls -la"}</function>',
    "dsml": '<｜DSML｜function_calls>\n<｜DSML｜invoke name="exec_command">\n'
    '<｜DSML｜parameter name="cmd" string="true">ls -la</｜DSML｜parameter>\n</｜DSML｜invoke>\n'
    "</｜DSML｜function_calls>",
    "dsml, later": '<｜DSML｜tool_calls>\n<｜DSML｜invoke name="exec_command">\n'
    '<｜DSML｜parameter name="cmd" string="true">ls -la</｜DSML｜parameter>\n</｜DSML｜invoke>\n'
    "</｜DSML｜tool_calls>",
    "lfm": '<|tool_call_start|>[exec_command(cmd="ls -la")]<|tool_call_end|>',
    "olmo": '<function_calls>\nexec_command(cmd="ls -la")\n</function_calls>',
    "nemotron": f"<TOOLCALL>[{JSON}]</TOOLCALL>",
    "cohere": '<|START_ACTION|>[\n{"tool_call_id": "0", "tool_name": "exec_command", '
    '"parameters": {"cmd": "ls -la"}}\n]<|END_ACTION|>',
    "phi": f"functools[{JSON}]",
    "tool_calls": f"<tool_calls>[{JSON}]</tool_calls>",
    "tool_calls, tags inside": f"<tool_calls>\n<tool_call>{JSON}</tool_call>\n</tool_calls>",
    "seed": f"<seed:tool_call>\n{FUNCTION}\n</seed:tool_call>",
    "function call mark": f"<|function_call|>{JSON}",
    "function, a fence inside": '<function=exec_command>\n```json\n{"cmd": "ls -la"}\n```\n'
    "</function>",
    "tool_call, a fence inside": f"<tool_call>\n```json\n{JSON}\n```\n</tool_call>",
}


def prefixed(prefix: str) -> str:
    """A call in tags with a prefix."""
    tags = '<{0}function_calls>\n<{0}invoke name="exec_command">\n<{0}parameter name="cmd">'
    ends = "</{0}parameter>\n</{0}invoke>\n</{0}function_calls>"
    return f"{tags}ls -la{ends}".format(prefix)


TAGGED |= {
    "prefixed invoke": prefixed("antml:"),
    "glimmer": prefixed("atem:"),
    "glimmer, with its marks": "<|start|>assistant to=exec_command.exec_command<|message|>\n"
    + prefixed("atem:")
    + "<|eom|>",
}
PLAIN = {
    "json": JSON,
    "json, parameters": LLAMA,
    "json, other keys": f'{{"type": "function", "id": "c1", {JSON[1:]}',
    "json, nested": f'{{"type": "function", "function": {JSON}}}',
    "json, list": f"[{JSON}]",
    "json, arguments in a string": JSON.replace('{"cmd": "ls -la"}', r'"{\"cmd\": \"ls -la\"}"'),
    "fence": f"```json\n{JSON}\n```",
    "fence, no word": f"```\n{JSON}\n```",
    "fence, unclosed": f"```json\n{JSON}",
    "fence, Python": '```tool_code\nexec_command(cmd="ls -la")\n```',
    "json, an end mark": f"{JSON}</s>",
    "json, another end mark": f"{JSON}<|im_end|>",
    "json, a message": f'{{"tool_calls": [{{"type": "function", "function": {JSON}}}]}}',
    "fence around a tag": f"```\n<tool_call>{JSON}</tool_call>\n```",
}
ALL = {**TAGGED, **PLAIN}


def scan(*pieces: str, dialect: frozenset[str] | None = None, **end: Any) -> list[Piece]:
    """What comes out, neighbouring texts joined."""
    judge = Judge(TOOLBOX)
    scanner = LeakScanner(judge.known, judge.accepts, dialect=dialect)
    out = [piece for text in pieces for piece in scanner.feed(text)] + scanner.end(**end)
    made: list[Piece] = []
    for is_text, group in groupby(out, lambda piece: isinstance(piece, str)):
        found = list(group)
        made += ["".join(map(str, found))] if is_text else found
    return made


def calls(pieces: list[Piece]) -> list[tuple[str, Any]]:
    """The calls among the pieces, settled by the toolbox."""
    found = [leak for piece in pieces if isinstance(piece, Found) for leak in piece.calls]
    settled = [repair_call(leak.name, leak.arguments, TOOLBOX, repair=True) for leak in found]
    return [(call.full_name, call.object) for call in settled]


def text(pieces: list[Piece]) -> str:
    return "".join(piece for piece in pieces if isinstance(piece, str))


@pytest.mark.parametrize("leak", ALL.values(), ids=ALL)
@pytest.mark.parametrize("before", ["", "I'll look.\n\n", "Sure:\n"])
def test_a_call_at_the_end_of_an_answer(leak: str, before: str) -> None:
    pieces = scan(before + leak)
    assert calls(pieces) == [("exec_command", ARGUMENTS)]
    assert text(pieces) == before


@pytest.mark.parametrize("leak", ALL.values(), ids=ALL)
def test_a_call_is_found_however_the_text_was_cut(leak: str) -> None:
    whole = scan(f"I'll look.\n{leak}\n")
    for size in range(1, 12):
        answer = f"I'll look.\n{leak}\n"
        cut = [answer[n : n + size] for n in range(0, len(answer), size)]
        assert scan(*cut) == whole


CLOSED = {
    name: leak for name, leak in TAGGED.items() if "no " not in name and "unclosed" not in name
}


@pytest.mark.parametrize("leak", CLOSED.values(), ids=CLOSED)
def test_a_tagged_call_may_stand_anywhere(leak: str) -> None:
    pieces = scan(f"One.\n{leak}\nTwo.\n{leak}\n")
    assert calls(pieces) == [("exec_command", ARGUMENTS)] * 2
    assert text(pieces).split() == ["One.", "Two."]


@pytest.mark.parametrize("leak", [JSON, f"```json\n{JSON}\n```", f"[{JSON}, {JSON}]"])
def test_announced_json_may_be_followed_by_prose(leak: str) -> None:
    pieces = scan(f"Let me list the files.\n\n{leak}\n\nThis lists them.")
    assert set(dict(calls(pieces))) == {"exec_command"}
    assert text(pieces) == "Let me list the files.\n\n\n\nThis lists them."


@pytest.mark.parametrize(
    "before",
    [
        "Let me look at the example.",
        "Let me look at the structure:",
        "I'll check how the format is written!",
        "Let me check how this function is called:",
        "Let me see what the file looks like:",
        "I'll create a simple example app:",
        "The file is in the following format. Now I'll read it:",
        "让我看看。",
    ],
)
def test_words_that_only_mention_an_example_introduce_none(before: str) -> None:
    for leak in (TAGGED["tool_call"], PLAIN["fence"]):
        assert calls(scan(f"{before}\n{leak}\n\nLet's see.")) == [("exec_command", ARGUMENTS)]


def test_several_calls_of_one_form() -> None:
    assert len(calls(scan(f"{JSON}\n{JSON}\n"))) == 2
    assert len(calls(scan(f"```json\n{JSON}\n```\n\n```json\n{JSON}\n```"))) == 2
    assert len(calls(scan(f"<|python_tag|>{LLAMA}; {LLAMA}"))) == 2
    assert len(calls(scan(f"{LLAMA}; {LLAMA}"))) == 2
    assert len(calls(scan(f"<tool_call>{JSON}\n<tool_call>{JSON}"))) == 2


def test_a_freeform_tool_may_leak_too() -> None:
    wrapped = orjson.dumps({"name": "apply_patch", "arguments": {"input": VALID_PATCH}}).decode()
    for leak in (
        f"<tool_call>{wrapped}</tool_call>",
        wrapped,
        f"<function=apply_patch>\n<parameter=input>\n{VALID_PATCH}\n</parameter>\n</function>",
    ):
        (piece,) = scan(leak)
        assert isinstance(piece, Found)
        judge = Judge(TOOLBOX)
        assert judge.accepts(piece.calls[0], True)


def test_a_line_end_that_belongs_to_the_value_stays() -> None:
    leak = '<invoke name="write_stdin"><parameter name="session_id">5</parameter>'
    pieces = scan(f'{leak}<parameter name="chars">y\n</parameter></invoke>')
    assert calls(pieces) == [("write_stdin", {"session_id": 5, "chars": "y\n"})]


OWN = frozenset({"mistral"})
FOREIGN = {
    name: leak for name, leak in CLOSED.items() if "mistral" not in name and "unclosed" not in name
}


@pytest.mark.parametrize("leak", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize(
    ("answer", "is_certain"),
    [
        ("{}", True),
        ("The next step is this.\n\n{}", True),
        ("The next step is this.\n\n{}\n\n{}\n", True),
        ("Let me look.\n\n{}\n\nThat lists them.", True),
        ("{}\n\nThat lists them.", False),
        ("The next step is this.\n\n{}\n\nThat lists them.", False),
    ],
)
def test_in_marks_of_another_family_a_call_stands_at_the_end_or_is_announced(
    leak: str, answer: str, is_certain: bool
) -> None:
    whole = answer.replace("{}", leak)
    for pieces in (scan(whole, dialect=OWN), scan(*whole, dialect=OWN)):
        found = [piece for piece in pieces if isinstance(piece, Found)]
        assert {piece.is_certain for piece in found} == {is_certain}
        assert len({call for piece in found for call in piece.calls}) == 1
        if not is_certain:
            # As text, it is all there.
            assert "".join(p if isinstance(p, str) else p.text for p in pieces) == whole
    # Marks of its own, or of a family that nobody knows, are believed.
    for known in (None, OWN | {piece.style for piece in found if piece.style}):
        pieces = scan(whole, dialect=known)
        assert all(piece.is_certain for piece in pieces if isinstance(piece, Found))


def test_beside_marks_of_another_family_json_stays_text() -> None:
    whole = f"{LEAK}{JSON}\n\nThat lists them."
    pieces = scan(whole, dialect=OWN)
    assert [p.is_certain for p in pieces if isinstance(p, Found) and p.calls] == [False]
    assert "".join(p if isinstance(p, str) else p.text for p in pieces) == whole


def test_marks_of_another_family_beside_a_proper_call_are_uncertain() -> None:
    pieces = scan(LEAK.strip(), dialect=OWN, called=True)
    assert [p.is_certain for p in pieces if isinstance(p, Found) and p.calls] == [False]


RESULTS = ("<tool_response>", "<tool_result>", "<function_result>", "<function_results>")
LEAK = f"<tool_call>{JSON}</tool_call>\n"


@pytest.mark.parametrize("tag", [*RESULTS, "[TOOL_RESULTS]"])
@pytest.mark.parametrize(
    "before", [LEAK, f"{LEAK}It runs.\n", f"{JSON}\n", f"I'll look.\n{JSON}\n"]
)
def test_a_result_that_the_model_made_up_goes_and_all_that_it_says_of_it(
    before: str, tag: str
) -> None:
    whole = f"{before}{tag}\n5 files\n</tool_response>\nThere are 5. {LEAK}{JSON}"
    for size in (1, 7, 1000):
        pieces = scan(*(whole[at : at + size] for at in range(0, len(whole), size)))
        assert len(calls(pieces)) == 1
        assert "5" not in text(pieces)
        assert [piece.style for piece in pieces if isinstance(piece, Found)][1:] == [
            "invented result"
        ]
        # So it is in an answer that was cut inside of the result.
        assert "5" not in text(scan(*(whole[:-40]), cut=True))


@pytest.mark.parametrize(
    "answer",
    [
        # Nothing was called before, or only shown, or in doubt.
        "The format is <tool_response>\n5\n</tool_response>.",
        "<tool_response>\n5 files\n</tool_response>\n",
        f"For example:\n{LEAK}<tool_response>5</tool_response>\n",
        f"This is next.\n{JSON}\n<tool_response>5</tool_response>\n",
        # It is quoted.
        f"{LEAK}Then comes `<tool_response>`, with 5 lines.",
        f"{LEAK}The parser wraps it in a <tool_response> element; I also fixed 5 others.",
        f"{LEAK}Then:\n```\n<tool_response>\n5\n```\n",
    ],
)
def test_other_results_stay(answer: str) -> None:
    for pieces in (scan(answer), scan(*answer)):
        assert "5" in text(pieces)
        assert "invented result" not in [p.style for p in pieces if isinstance(p, Found)]


def test_nothing_unfinished_is_a_call_in_an_answer_that_was_cut() -> None:
    for leak in (f"<tool_call>\n{JSON[:-1]}", "<function=exec_command>\n<parameter=cmd>rm -rf /ho"):
        assert scan(leak, cut=True) == [leak]


def test_announced_json_is_a_call_only_if_what_follows_begins_a_new_line() -> None:
    assert len(calls(scan(f"I'll run it:\n{JSON}\nThat lists them."))) == 1
    whole = f"I'll run it:\n{JSON} is the call.\nThat lists them."
    assert scan(whole) == [whole]


def test_json_beside_a_proper_call_was_only_words() -> None:
    assert scan(JSON, called=True) == [JSON]
    assert scan(f"```json\n{JSON}\n```\n", called=True) == [f"```json\n{JSON}\n```\n"]


@pytest.mark.parametrize(
    "prose",
    [
        "Hello, world! It costs 5 < 6 dollars & more; see [the docs](https://example.com).",
        "if (a[0] < b) { return {x: 1}; } // that's it",
        'The file has {"name": "left-pad", "version": "1.0.0"} in it, and "quotes".',
        "A fence:\n```python\nprint({'a': 1})\n```\nDone.",
        "to be or not to be, commentary follows, functions too",
    ],
)
def test_prose_is_never_held_back_for_more_than_what_is_ambiguous(prose: str) -> None:
    judge = Judge(TOOLBOX)
    scanner = LeakScanner(judge.known, judge.accepts)
    out = ""
    for n, char in enumerate(prose, 1):
        out += text(scanner.feed(char))
        assert prose.startswith(out)
        assert n - len(out) <= 32
    assert out + text(scanner.end()) == prose


fragments = st.sampled_from(
    [*ALL.values(), *"`<{[\"'\n }]>:é|", "\n\n", "```json\n", "```python\n", "```", "<tool_call>",
     "</tool_call>", '{"name"', ': "exec_command"', "Let me see. ", "For example: ", "x = ",
     "<parameter=cmd>", "functions.", "commentary to=", "> ", "    ", "- ", "[ARGS]",
     "</function>", "call:exec_command{", "<escape>", "word ", "日本 "]
)  # fmt: skip
answers = st.lists(fragments, max_size=7).map("".join)


@settings(max_examples=300)
@given(answers, st.lists(st.integers(1, 20), min_size=1))
def test_what_comes_out_does_not_depend_on_the_cuts(answer: str, sizes: list[int]) -> None:
    pieces, rest, n = [], answer, 0
    while rest:
        size = sizes[n % len(sizes)]
        pieces.append(rest[:size])
        rest, n = rest[size:], n + 1
    assert scan(*pieces) == scan(answer)


@given(answers)
def test_a_text_without_calls_comes_out_as_it_went_in(answer: str) -> None:
    pieces = scan(answer)
    if not any(isinstance(piece, Found) for piece in pieces):
        assert text(pieces) == answer


@given(answers)
def test_without_tools_everything_is_text(answer: str) -> None:
    judge = Judge(Toolbox())
    scanner = LeakScanner(judge.known, judge.accepts)
    assert text(scanner.feed(answer) + scanner.end()) == answer


NEAR = {name: leak for name, leak in ALL.items() if "unclosed" not in name and "no " not in name}
FRAMES = {
    "code fence": "Look:\n```python\n{}\n```\nDone.",
    "shell fence": "```bash\necho '{}'\n```",
    "fence with tildes": "~~~\n{}\n~~~\n",
    "fence in a list": "- so:\n  ```xml\n  {}\n  ```\n",
    "inline code": "Write `{}` to call it.",
    "double quotes": 'It prints "{}" then.',
    "assignment": "call = {}\n",
    "indented": "So:\n\n    {}\n",
    "quotation": "> {}\n",
    "example before": "A call looks like this:\n{}\nDo you see?",
    "for example": "For example:\n\n{}\n",
    "how it looks": "I'll show you how a call looks:\n\n{}\n\nThat's all.",
    "e.g.": "Models write calls in many forms, e.g. {} and others.",
}


@pytest.mark.parametrize("frame", FRAMES)
def test_a_call_that_is_shown_and_not_made_stays_text(frame: str) -> None:
    for name, leak in NEAR.items():
        # A fence inside of a fence ends that, and one inside of a line is none.
        if "```" in leak and ("```" in FRAMES[frame] or frame == "assignment"):
            continue
        shown = leak.replace("\n", " ") if "\n" not in FRAMES[frame] else leak
        answer = FRAMES[frame].replace("{}", shown)
        assert scan(answer) == [answer], name
        assert scan(*answer) == [answer], name


UNKNOWN = {name: leak.replace("exec_command", "no_such_tool") for name, leak in ALL.items()}


@pytest.mark.parametrize("leak", UNKNOWN.values(), ids=UNKNOWN)
def test_a_call_of_a_tool_that_is_not_offered_stays_text(leak: str) -> None:
    assert scan(leak) == [leak]


@pytest.mark.parametrize(
    "answer",
    [
        '{"name": "exec_command", "version": "1.0", "arguments": {"cmd": "ls"}}',
        '{"name": "exec_command", "arguments": {"files": ["a"]}}',
        '{"name": "exec_command"}',
        '{"name": "exec_command", "arguments": 5}',
        '{"name": "exec_command", "parameters": {"type": "object", "properties": {}}}',
        '{"tools": [{"name": "exec_command", "arguments": {"cmd": "ls"}}]}',
        f"{JSON} is how a call looks.",
        f"First {JSON} and then more.",
        f"{JSON}\n\nThat is a call.",
        f"```json\n{JSON}\n```\nThis is the form in which tools are called.",
        f"```json\n{JSON}\n// another\n{JSON}\n```",
        f"key: value\nfunction({JSON})",
        "<tool_call>hello</tool_call>",
        "The tag <tool_call> begins a call, </tool_call> ends it.",
        "<function=exec_command> is the start",
        "<function=exec_command>\n<parameter=cmd",
        "functions.exec_command:0 is a name",
        "[TOOL_CALLS] is a token",
        '[TOOL_CALLS]exec_command is one, too: {"cmd": "ls"}',
        "<invoke name='x'>",
        "<?xml version='1.0'?><function name='exec_command'><arg>ls</arg></function>",
        "[1, 2, 3] and [ ] and [x](y) and {x} and {} and []",
    ],
)
def test_what_only_looks_like_a_call_stays_text(answer: str) -> None:
    assert scan(answer) == [answer]
    assert scan(*answer) == [answer]


def test_a_value_may_hold_what_looks_like_the_end_of_its_call() -> None:
    script = "cat > x.xml <<EOF\n<a>\n</function>\n</tool_call>\nEOF"
    leak = f"<function=exec_command>\n<parameter=cmd>\n{script}\n</parameter>\n</function>"
    assert calls(scan(leak)) == [("exec_command", {"cmd": script})]


def test_a_value_without_its_end_ends_where_the_next_begins() -> None:
    leak = "<function=exec_command>\n<parameter=cmd>ls\n<parameter=workdir>/\n</function>"
    assert calls(scan(leak)) == [("exec_command", {"cmd": "ls", "workdir": "/"})]


def test_a_call_after_one_without_its_braces_is_not_lost() -> None:
    open_ended = f"<tool_call>{JSON[:-2]}\n</tool_call>\n"
    assert len(calls(scan(open_ended + TAGGED["tool_call"]))) == 2

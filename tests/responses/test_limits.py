"""Extreme requests and answers: all of them end, as what they are.

None of these asserts a time; whatever takes quadratic time does not end within the suite's limit.
"""

from __future__ import annotations

import shlex
from typing import Any

import orjson
import pytest

from codex_bridge.engines import ollama_chat as native
from codex_bridge.engines import openai_chat as chat
from codex_bridge.repair.calls import repair_call
from codex_bridge.repair.editor import as_written
from codex_bridge.repair.lenient_json import loads
from codex_bridge.repair.patch_slips import repair_patch
from codex_bridge.repair.patches import as_command
from codex_bridge.repair.seen import NotSeen, Seen, SeenInPart, SeenTwice, with_seen_lines
from codex_bridge.responses.events import frame
from codex_bridge.responses.request import parse
from codex_bridge.responses.think_tags import ThinkSplitter
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import (
    Delta,
    FailureKind,
    TextDelta,
    ToolCallDelta,
    UpstreamFailure,
)
from tests.responses import grammar
from tests.responses.asked import translate
from tests.responses.items import call, result
from tests.responses.streams import Stream
from tests.tools.declared import CODE, CODEX, SEARCH, custom

Json = dict[str, Any]
MANY = 8_000
LONG = 60_000


def answered(deltas: list[Delta], tools: list[Any] = CODEX) -> Json:
    """The response that an answer becomes, after every event was checked."""
    stream = Stream(Toolbox.from_request(tools))
    events = [*stream.start(), *stream.feed(deltas), *stream.end()]
    for event in events:
        frame(event)
    return grammar.read(events)


def said(text: str, size: int) -> list[Delta]:
    return [TextDelta(text[at : at + size]) for at in range(0, len(text), size)]


def text_of(response: Json) -> str:
    return "".join(item["content"][0]["text"] for item in response["output"])


def asked(**fields: Any) -> Any:
    """What the model is asked, after both dialects have encoded it."""
    made = translate(parse(orjson.dumps({"model": "m", "input": "hi"} | fields))).chat
    native.encode(made, stream=True)
    return orjson.loads(chat.encode(made, stream=True))


@pytest.mark.parametrize("size", [3, LONG])
@pytest.mark.parametrize(
    "unit", ["<", "`", "<think>", "{", "[", "\n{", "```\n", "x", "<tool_call>"]
)
def test_a_text_of_nothing_but_openings_stays_the_text(unit: str, size: int) -> None:
    text = "Look: " + (unit * LONG)[: LONG // 10]
    assert text_of(answered(said(text, size))) == text


@pytest.mark.parametrize("around", ["", "<think>x", "x"])
def test_much_white_space_in_small_pieces_is_kept_or_dropped(around: str) -> None:
    response = answered([TextDelta(around), *said(" \n" * MANY, 1), TextDelta("end")])
    (item,) = response["output"]
    text = item["summary"][0]["text"] if item["type"] == "reasoning" else text_of(response)
    assert text.endswith("end")
    assert len(text) == len(around.removeprefix("<think>")) + 2 * MANY + 3


def test_the_end_of_reasoning_is_found_behind_much_white_space() -> None:
    splitter = ThinkSplitter()
    pieces = ["<think>", "so", *(" " for _ in range(MANY)), "</th", "ink>", " yes"]
    parts = [splitter.feed(piece) for piece in pieces]
    assert ["".join(said) for said in zip(*parts, strict=True)] == ["so", "yes"]


@pytest.mark.parametrize("call_id", ["c{}", "", "same"])
def test_very_many_calls_in_one_answer_stay_different_calls(call_id: str) -> None:
    deltas = [ToolCallDelta(n, call_id.format(n), "view_image", "{}") for n in range(1000)]
    output = answered([*deltas])["output"]
    assert len({item["call_id"] for item in output}) == len(output) == 1000


@pytest.mark.parametrize(
    ("deltas", "says"),
    [
        ([ToolCallDelta(n, f"c{n}", "view_image", "{}") for n in range(1001)], "1,000 calls"),
        (
            [TextDelta('<tool_call>{"name": "view_image", "arguments": {}}</tool_call>\n' * 1001)],
            "1,000 calls",
        ),
        ([ToolCallDelta(0, "c", "view_image", "x" * 524_289)], "524,288 bytes of calls"),
        ([ToolCallDelta(0, "c", "view_image", "x" * 1025) for _ in range(512)], "524,288 bytes"),
        ([ToolCallDelta(n, f"c{n}", "n" * 10_000, "{}") for n in range(60)], "524,288 bytes"),
    ],
    ids=["calls", "calls in the text", "one call", "fragments of a call", "long names"],
)
def test_an_answer_has_only_so_many_calls(deltas: list[Delta], says: str) -> None:
    with pytest.raises(UpstreamFailure, match=f"more than {says}") as caught:
        answered(deltas)
    assert caught.value.kind is FailureKind.OVERSIZED


def test_a_call_in_the_text_that_is_too_long_is_text() -> None:
    call = '<tool_call>{"name": "view_image", "arguments": {"path": "%s"}}</tool_call>'
    short, long = (
        answered([TextDelta(call % ("x" * size))])["output"] for size in (200_000, 300_000)
    )
    assert [item["type"] for item in short] == ["function_call"]
    assert [item["type"] for item in long] == ["message"]


def test_white_space_is_not_held_back_for_ever() -> None:
    splitter = ThinkSplitter()
    held = [splitter.feed(" " * 100) for _ in range(100)]
    assert sum(len(text) for _, text in held) == 10_000
    assert splitter.feed("<think>") == ("", "<think>")


def test_fragments_go_on_with_the_call_of_their_index_and_id() -> None:
    fragments = [
        *(ToolCallDelta(n, f"c{n}", "view_image", '{"path":"') for n in range(3)),
        *(ToolCallDelta(n % 3, "", "", "x") for n in range(MANY)),
        *(ToolCallDelta(n, f"c{n}", "", '"}') for n in range(3)),
    ]
    sizes = [len(item["arguments"]) for item in answered([*fragments])["output"]]
    assert sum(sizes) == MANY + 3 * len('{"path":""}')


def test_very_many_calls_in_the_text_are_as_many_calls_each_once() -> None:
    one = '<tool_call>{{"name": "view_image", "arguments": {{"path": "{}"}}}}</tool_call>\n'
    text = "".join(one.format(n % 500) for n in range(1000))
    assert len(answered([TextDelta(text)])["output"]) == 500


@pytest.mark.parametrize("call_id", ["c{}", "same"])
@pytest.mark.parametrize("in_turn", [True, False])
def test_very_many_calls_in_a_history_keep_their_results(call_id: str, in_turn: bool) -> None:
    pairs = [(call(call_id.format(n)), result(call_id.format(n), str(n))) for n in range(MANY // 4)]
    calls, results = zip(*pairs, strict=True)
    items = [item for pair in pairs for item in pair] if in_turn else [*calls, *results]
    messages = asked(input=items)["messages"]
    told = [message for message in messages if message["role"] == "tool"]
    assert [message["content"] for message in told] == [str(n) for n in range(len(pairs))]
    assert len({message["tool_call_id"] for message in told}) == len(pairs)


def test_very_many_tools_are_all_shown() -> None:
    tools = [{"type": "function", "name": f"f{n}", "parameters": {}} for n in range(MANY // 4)]
    choice = {
        "type": "allowed_tools",
        "tools": [{"type": "function", "name": t["name"]} for t in tools],
    }
    assert len(asked(tools=tools, tool_choice=choice)["tools"]) == len(tools)


def test_very_many_parameters_are_all_required() -> None:
    names = [f"p{n}" for n in range(MANY)]
    schema = {"properties": {name: {"type": "string"} for name in names}, "required": names}
    (tool,) = asked(tools=[{"type": "function", "name": "f", "parameters": schema}])["tools"]
    assert tool["function"]["parameters"]["required"] == names


def test_a_schema_that_references_nest_too_deeply_is_cut() -> None:
    rungs = {
        f"d{n}": {"type": "object", "properties": {"a": {"$ref": f"#/$defs/d{n + 1}"}}}
        for n in range(500)
    }
    schema = {"$ref": "#/$defs/d0", "$defs": rungs}
    (tool,) = asked(tools=[{"type": "function", "name": "f", "parameters": schema}])["tools"]
    assert "a" in tool["function"]["parameters"]["properties"]


def test_a_long_description_of_a_freeform_tool_loses_what_is_about_freeform() -> None:
    tool = custom("a") | {"description": "x " * LONG + ". It is FREEFORM. Good"}
    (shown,) = asked(tools=[tool])["tools"]
    assert "FREEFORM" not in shown["function"]["description"]
    assert "Good" in shown["function"]["description"]


@pytest.mark.parametrize("unit", ["functions.", " (", "`'", "<|", "a"])
def test_a_name_beyond_all_names_means_no_function(unit: str) -> None:
    name = "exec_command" + unit * LONG + "\nx"
    done = repair_call(name, "{}", Toolbox.from_request(CODEX), repair=True)
    assert (done.tool, done.name) == (None, name)


BROKEN = {
    "an open fence": "```" + "a" * LONG,
    "escaped quotes": '{"cmd":"' + '\\"' * LONG,
    "one string": '{"cmd":"' + "x" * LONG,
    "brackets": "[" * LONG,
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("tool", ["exec_command", "exec", "apply_patch"])
def test_long_arguments_that_cannot_be_repaired_go_on_as_they_are(tool: str, text: str) -> None:
    done = repair_call(tool, text, Toolbox.from_request([*CODEX, CODE]), repair=True)
    assert done.payload == text


def test_quotes_without_a_second_one_are_no_quotes() -> None:
    toolbox = Toolbox.from_request([CODE])
    text = "don't\\n" + '\\"' * LONG
    assert repair_call("exec", text, toolbox, repair=True).payload.startswith("don't\n")
    quoted = "say('a\\nb');" * 3
    assert repair_call("exec", quoted, toolbox, repair=True).payload == quoted


def test_very_many_undeclared_keys_are_left_to_the_client() -> None:
    text = orjson.dumps({f"k{n}": n for n in range(LONG // 10)}).decode()
    assert (
        repair_call("exec_command", text, Toolbox.from_request(CODEX), repair=True).payload == text
    )


def test_a_fence_around_arguments_is_still_taken_off() -> None:
    assert loads('```json\n{"a": 1}\n```') == ({"a": 1}, frozenset({"fence"}))


def test_a_long_patch_without_spaces_is_repaired() -> None:
    lines = "".join(f"x{n}\n" for n in range(MANY))
    patch = f"*** Begin Patch\n*** Update File: a\n@@\n{lines}+new\n*** End Patch"
    repaired = repair_patch(patch)
    assert repaired
    assert repaired.count("\n x") == MANY


def test_the_mark_of_a_heredoc_stands_nowhere_in_the_patch() -> None:
    patch = "\n".join("EOF" + "_" * n for n in range(500))
    assert as_command(patch).endswith("\nEOF" + "_" * 500)


@pytest.mark.parametrize("levels", [200, 254, 600])
def test_a_call_nested_too_deeply_becomes_an_item_all_the_same(levels: int) -> None:
    arguments = '{"query":' + "[" * levels + "]" * levels + "}"
    (item,) = answered([ToolCallDelta(0, "c", "tool_search", arguments)], [SEARCH])["output"]
    assert item["type"] == "tool_search_call"
    assert isinstance(item["arguments"], dict)


@pytest.mark.parametrize("levels", [200, 254, 600])
def test_arguments_nested_too_deeply_in_a_history_reach_both_dialects(levels: int) -> None:
    arguments = '{"a":' + "[" * levels + "]" * levels + "}"
    (message, _) = asked(input=[call("c", arguments), result("c")])["messages"]
    sent = message["tool_calls"][0]["function"]["arguments"]
    assert sent == arguments if levels == 200 else orjson.loads(sent) == {"input": arguments}


@pytest.mark.parametrize("line", ["*** Add File: a{}b", "*** End Patch{}b", "*** {}b", "**{}"])
def test_a_long_line_of_a_patch_takes_no_longer_than_its_length(line: str) -> None:
    for filler in (" ", "*", " *"):
        assert repair_patch(line.format(filler * LONG)) is None


@pytest.mark.parametrize(
    "text",
    [
        "A line of words\n" * LONG,
        "\n" * LONG,
        "A " * LONG,
        "12:" * LONG,
        "a:1:x\n" * LONG,
        "*** Begin Patch\n" + "+x\n" * LONG,
        "printf %s '" + "x\n" * LONG,
        "it's " * LONG,
    ],
)
def test_a_long_text_is_searched_for_many_lines(text: str) -> None:
    seen = Seen([("cat a", text), (f"printf %s {shlex.quote(text)} > a", "Success.")] * 2)
    hunks = "@@\n-x\n-y\n+z\n" * 60
    patch = f"*** Begin Patch\n*** Update File: a\n{hunks}*** End Patch"
    assert with_seen_lines(patch, seen) == patch
    with pytest.raises((NotSeen, SeenTwice, SeenInPart)):
        seen.place("a", "\n\nx")
    assert as_written("exec_command", {"cmd": f"printf %s {text}"}) is None


def test_a_result_that_the_model_made_up_is_left_out_however_long_it_is() -> None:
    call = '<tool_call>{"name": "view_image", "arguments": {"path": "a"}}</tool_call>\n'
    made_up = "<tool_response>\n" + "x" * 400_000
    output = answered([TextDelta(call), TextDelta(made_up)])["output"]
    assert [item["type"] for item in output] == ["function_call"]

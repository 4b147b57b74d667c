"""An attempt: deltas become text, reasoning and calls."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.errors import invalid
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import (
    Delta,
    FinishDelta,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UsageDelta,
)
from tests.responses import grammar
from tests.responses.streams import Stream

TOOLS = [
    {"type": "function", "name": "exec_command", "parameters": {"type": "object"}},
    {
        "type": "namespace",
        "name": "multi_agent_v1",
        "tools": [{"type": "function", "name": "spawn_agent", "parameters": {}}],
    },
    {"type": "custom", "name": "apply_patch"},
    {"type": "tool_search"},
]
STOP = FinishDelta("stop")
LEAKED = [
    "<tool_call>",
    '{"name": "exec_',
    'command", "arguments": {"cmd": "l',
    's"}}',
    "</tool_call>",
]
"""A call as text, in pieces."""
USAGE = UsageDelta(23, 4, cached_tokens=5)


def make_stream(**options: Any) -> Stream:
    return Stream(Toolbox.from_request(TOOLS), **options)


def run(*deltas: Delta, tells_cut: bool = True, **options: Any) -> dict[str, Any]:
    stream = make_stream(tells_cut=tells_cut, **options)
    events = stream.start() + stream.feed(deltas)
    return grammar.read(events + stream.end(tells_cut=tells_cut))


def call(index: int, call_id: str, name: str, arguments: str = "{}") -> ToolCallDelta:
    return ToolCallDelta(index, call_id, name, arguments)


def shapes(response: dict[str, Any]) -> list[tuple[str, str]]:
    return [(item["type"], grammar.text_of(item)) for item in response["output"]]


def test_text_becomes_one_message_with_the_usage_of_the_upstream() -> None:
    response = run(TextDelta("Hello"), TextDelta(" world"), STOP, USAGE)
    assert shapes(response) == [("message", "Hello world")]
    assert response["status"] == "completed"
    assert response["completed_at"] == 1001
    assert response["usage"] == {
        "input_tokens": 23,
        "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 0},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 27,
    }


def test_text_is_passed_on_as_it_comes() -> None:
    stream = make_stream()
    stream.start()
    first = stream.feed([TextDelta("Hel")])
    assert [e["type"].split(".", 1)[1] for e in first] == [
        "output_item.added",
        "content_part.added",
        "output_text.delta",
    ]
    (second,) = stream.feed([TextDelta("lo")])
    assert second["delta"] == "lo"


def test_reasoning_is_a_summary_and_is_closed_before_the_text() -> None:
    response = run(ReasoningDelta("I should"), ReasoningDelta(" greet."), TextDelta("Hi"), STOP)
    assert shapes(response) == [("reasoning", "I should greet."), ("message", "Hi")]


def test_a_namespaced_call_goes_back_under_the_names_that_codex_routes() -> None:
    response = run(
        call(0, "call_a", "multi_agent_v1__spawn_agent", '{"message":"x"}'),
        FinishDelta("tool_calls"),
    )
    (item,) = response["output"]
    assert (item["name"], item["namespace"]) == ("spawn_agent", "multi_agent_v1")
    assert item["call_id"] == "call_a"


def test_a_plain_call_has_no_namespace_key() -> None:
    (item,) = run(call(0, "a", "exec_command"), FinishDelta("tool_calls"))["output"]
    assert "namespace" not in item


def test_an_unknown_function_keeps_its_name_so_that_the_model_is_told() -> None:
    (item,) = run(call(0, "a", "rm_rf"), FinishDelta("tool_calls"))["output"]
    assert item["name"] == "rm_rf"


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        pytest.param(
            [call(0, "a", "f", '{"n":1}'), call(1, "b", "g", '{"n":2}')],
            [("f", '{"n":1}'), ("g", '{"n":2}')],
            id="two indexes",
        ),
        pytest.param(
            [call(0, "a", "f"), call(0, "b", "g")],
            [("f", "{}"), ("g", "{}")],
            id="old parser: index 0 twice, new id",
        ),
        pytest.param(
            [call(0, "a", "f", '{"n"'), call(0, "", "", ":1"), call(0, "", "", "}")],
            [("f", '{"n":1}')],
            id="fragments",
        ),
        pytest.param(
            [
                call(0, "a", "f", "{"),
                call(1, "b", "g", "{"),
                call(0, "", "", "}"),
                call(1, "b", "", "}"),
            ],
            [("f", "{}"), ("g", "{}")],
            id="interleaved fragments",
        ),
        pytest.param([call(0, "a", "f", "")], [("f", "{}")], id="no arguments"),
    ],
)
def test_calls_are_put_together(
    calls: list[ToolCallDelta], expected: list[tuple[str, str]]
) -> None:
    response = run(*calls, FinishDelta("tool_calls"))
    assert [(item["name"], item["arguments"]) for item in response["output"]] == expected


def test_calls_without_or_with_equal_ids_get_ids_of_their_own() -> None:
    response = run(call(0, "", "f"), call(1, "x", "f"), call(2, "x", "f"), STOP)
    ids = [item["call_id"] for item in response["output"]]
    assert len(set(ids)) == 3
    assert "x" in ids


def test_a_call_is_not_delivered_before_the_model_finished() -> None:
    stream = make_stream()
    stream.start()
    assert stream.feed([call(0, "a", "f"), call(1, "b", "g")]) == []
    failed = stream.fail(invalid("gone"), "server_error")
    assert [event["type"] for event in failed] == ["response.failed"]


def test_text_followed_by_calls_closes_the_message_first() -> None:
    response = run(TextDelta("Let me look."), call(0, "a", "f"), FinishDelta("tool_calls"))
    assert shapes(response) == [("message", "Let me look."), ("function_call", "{}")]


@pytest.mark.parametrize("padding", ["\n\n", " ", ""])
def test_blank_text_around_calls_makes_no_message(padding: str) -> None:
    response = run(TextDelta(padding), call(0, "a", "f"), TextDelta(padding), STOP)
    assert shapes(response) == [("function_call", "{}")]


def test_blank_text_before_words_is_kept() -> None:
    assert shapes(run(TextDelta("  "), TextDelta("x"), STOP)) == [("message", "  x")]


def test_length_is_incomplete_with_its_reason() -> None:
    response = run(TextDelta("Once"), FinishDelta("length"))
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}


CUT = FinishDelta("length")
HELD = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}


@pytest.mark.parametrize(
    ("deltas", "options", "statuses"),
    [
        ([TextDelta("Once"), CUT], {}, ["incomplete"]),
        ([ReasoningDelta("Hm"), TextDelta("Once"), CUT], {}, [None, "incomplete"]),
        ([ReasoningDelta("Hm"), CUT], {}, ["incomplete"]),
        # What is held back until the end: a text that has to fit a schema, a call without an end.
        ([TextDelta('{"a": '), CUT], {"text_format": HELD}, ["incomplete"]),
        ([TextDelta("".join(LEAKED[:3])), CUT], {}, ["incomplete"]),
        # Half a call is left out; behind a whole one nothing is lost that was begun.
        ([TextDelta("Look:"), call(0, "a", "exec_command", '{"cm'), CUT], {}, ["incomplete"]),
        ([TextDelta("Look:"), call(0, "a", "exec_command"), CUT], {}, ["completed"] * 2),
        ([TextDelta("Once"), CUT], {"tells_cut": False}, ["completed"]),
        ([ReasoningDelta("Hm"), CUT], {"tells_cut": False}, [None]),
        ([TextDelta("Once"), STOP], {}, ["completed"]),
    ],
)
def test_the_item_in_which_a_model_was_cut_is_incomplete(
    deltas: list[Delta], options: dict[str, Any], statuses: list[str | None]
) -> None:
    output = run(*deltas, **options)["output"]
    assert [item.get("status") for item in output] == statuses


def token(text: str) -> dict[str, Any]:
    return {"token": text, "logprob": -0.5, "bytes": list(text.encode()), "top_logprobs": []}


def test_each_piece_of_text_has_the_probabilities_of_its_tokens() -> None:
    stream = make_stream()
    deltas = [
        ReasoningDelta("Hm"),
        TextDelta(" ", (token(" "),)),
        TextDelta("One", (token("O"), token("ne"))),
        TextDelta(" two", (token(" two"),)),
        STOP,
    ]
    events = stream.start() + stream.feed(deltas) + stream.end()
    whole = [token(each) for each in (" ", "O", "ne", " two")]
    given = [
        (event["type"].removeprefix("response."), event["logprobs"])
        for event in events
        if "logprobs" in event
    ]
    assert given == [
        ("output_text.delta", whole[:3]),
        ("output_text.delta", whole[3:]),
        ("output_text.done", whole),
    ]
    assert grammar.read(events)["output"][1]["content"][0]["logprobs"] == whole


def test_a_thought_in_the_text_has_no_probabilities() -> None:
    texts = ["<think>", "hm", "</think>", "Yes"]
    (_, message) = run(*(TextDelta(each, (token(each),)) for each in texts), STOP)["output"]
    assert message["content"][0]["logprobs"] == [token("</think>"), token("Yes")]


def test_a_text_that_is_held_back_has_the_probabilities_of_all_its_tokens() -> None:
    texts = ['{"a"', ":1}"]
    deltas = [TextDelta(each, (token(each),)) for each in texts]
    (message,) = run(*deltas, STOP, text_format=HELD)["output"]
    assert message["content"][0]["logprobs"] == list(map(token, texts))


@pytest.mark.parametrize("include", [None, [], ["message.output_text.logprobs"], "x"])
@pytest.mark.parametrize("change", [{"include": ["reasoning.encrypted_content"]}, {"store": False}])
def test_reasoning_has_encrypted_content_only_where_it_will_be_sent_back(
    include: Any, change: dict[str, Any]
) -> None:
    deltas = [ReasoningDelta("Hm"), TextDelta("Yes"), STOP]
    echo = {"model": "m", "include": include}
    (thought, _) = run(*deltas, echo=echo)["output"]
    assert thought.keys() == {"type", "id", "summary"}
    echo |= change
    stream = make_stream(echo=echo)
    events = stream.start() + stream.feed(deltas) + stream.end()
    sealed = {
        event["item"]["encrypted_content"]
        for event in events
        if event.get("item", {}).get("type") == "reasoning"
    } | {grammar.read(events)["output"][0]["encrypted_content"]}
    (content,) = sealed
    # Codex estimates the tokens of a thought by the length of this string.
    assert 0 < len(content) < 100


def test_length_completes_for_clients_that_throw_incomplete_answers_away() -> None:
    response = run(TextDelta("Once"), FinishDelta("length"), tells_cut=False)
    assert response["status"] == "completed"
    assert shapes(response) == [("message", "Once")]


def test_a_call_cut_by_the_token_limit_is_dropped_and_a_whole_one_kept() -> None:
    response = run(call(0, "a", "f", '{"n":1}'), call(1, "b", "g", '{"n":'), FinishDelta("length"))
    assert [item["name"] for item in response["output"]] == ["f"]


def test_an_empty_answer_completes_without_items() -> None:
    assert run(STOP)["output"] == []


def test_tokens_are_estimated_where_the_upstream_counts_none() -> None:
    usage = run(TextDelta("x" * 40), STOP, prompt_size=400)["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (100, 10)


def test_a_failure_ends_the_stream_from_inside_an_item() -> None:
    stream = make_stream()
    events = stream.start() + stream.feed([TextDelta("Wor")])
    response = grammar.read(events + stream.fail(invalid("It broke."), "server_error"))
    assert response["error"] == {"code": "server_error", "message": "It broke."}


def test_the_names_of_called_tools_are_kept_for_the_log() -> None:
    stream = make_stream()
    stream.start()
    stream.feed([call(0, "a", "exec_command"), call(1, "b", "multi_agent_v1__spawn_agent")])
    stream.end()
    assert stream.attempt.tools_called == ["exec_command", "multi_agent_v1.spawn_agent"]


def test_a_call_in_the_text_comes_after_the_text_around_it() -> None:
    response = run(TextDelta("One.\n"), *map(TextDelta, LEAKED), TextDelta("\nTwo."), STOP)
    message, leaked = response["output"]
    assert message["content"][0]["text"].split() == ["One.", "Two."]
    assert (leaked["name"], leaked["arguments"]) == ("exec_command", '{"cmd": "ls"}')


def test_a_call_that_is_said_twice_in_the_text_is_made_once() -> None:
    other = [piece.replace("l", "w") if piece.endswith(': "l') else piece for piece in LEAKED]
    response = run(*map(TextDelta, LEAKED + LEAKED + other + LEAKED), STOP)
    assert [item["arguments"] for item in response["output"]] == ['{"cmd": "ls"}', '{"cmd": "ws"}']


def test_think_tags_of_old_versions_are_reasoning() -> None:
    whole = "<think>\nLook first.\n</think>\n\nI look.\n" + "".join(LEAKED)
    for size in (1, 5, len(whole)):
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        response = run(*map(TextDelta, pieces), STOP)
        thought, message, called = response["output"]
        assert (thought["type"], grammar.text_of(thought)) == ("reasoning", "Look first.")
        assert (message["type"], grammar.text_of(message).strip()) == ("message", "I look.")
        assert (called["name"], called["arguments"]) == ("exec_command", '{"cmd": "ls"}')


def test_thoughts_that_never_end_are_no_answer_and_no_calls() -> None:
    response = run(TextDelta("<think>I could " + "".join(LEAKED)), STOP)
    assert [item["type"] for item in response["output"]] == ["reasoning"]


def test_an_unfinished_call_in_an_answer_that_was_cut_is_text() -> None:
    text = "".join(LEAKED[:3])
    response = run(TextDelta(text), FinishDelta("length"), tells_cut=False)
    assert shapes(response) == [("message", text)]


def test_each_kind_of_tool_gets_its_kind_of_item() -> None:
    response = run(
        call(0, "a", "apply_patch", '{"input": "x"}'),
        call(1, "b", "tool_search", '{"query": "y"}'),
        call(2, "c", "tool_search", "no JSON at all"),
        STOP,
    )
    custom, search, broken = response["output"]
    assert (custom["type"], custom["input"]) == ("custom_tool_call", "x")
    assert (search["type"], search["arguments"]) == ("tool_search_call", {"query": "y"})
    assert broken["arguments"] == {"query": "no JSON at all"}
    assert [item["call_id"] for item in response["output"]] == ["a", "b", "c"]


LATER = ["apply_patch", "tool_search", "shell", "nope"]
any_delta = st.one_of(
    st.builds(TextDelta, st.text(max_size=8) | st.sampled_from(LEAKED)),
    st.builds(ReasoningDelta, st.text(max_size=8)),
    st.builds(
        ToolCallDelta,
        st.integers(0, 2),
        st.sampled_from(["", "a", "b"]),
        st.sampled_from(["", "exec_command", "multi_agent_v1__spawn_agent", *LATER]),
        st.sampled_from(["", "{}", '{"a":', "1}", '{"query": "x"}']),
    ),
    st.builds(UsageDelta, st.integers(0, 9), st.integers(0, 9)),
)


@given(st.lists(st.lists(any_delta, max_size=5), max_size=8), st.sampled_from(["stop", "length"]))
def test_whatever_comes_the_events_keep_the_grammar(reads: list[list[Delta]], reason: str) -> None:
    stream = make_stream()
    events = stream.start()
    for deltas in reads:
        events += stream.feed(deltas)
    events += stream.feed([FinishDelta(reason)])
    grammar.read(events + stream.end())


@given(st.lists(any_delta, max_size=20), st.data())
def test_events_do_not_depend_on_how_deltas_are_grouped(
    deltas: list[Delta], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(deltas)))
    whole, parts = make_stream(), make_stream()
    assert whole.start() == parts.start()
    assert whole.feed(deltas) == parts.feed(deltas[:cut]) + parts.feed(deltas[cut:])
    assert whole.end() == parts.end()


@given(st.lists(any_delta, max_size=20))
def test_a_failure_at_any_point_keeps_the_grammar(deltas: list[Delta]) -> None:
    stream = make_stream()
    events = stream.start() + stream.feed(deltas)
    grammar.read(events + stream.fail(invalid("x"), "server_error"))


def test_a_result_that_the_model_made_up_is_not_passed_on_and_counted() -> None:
    stream = make_stream()
    events = stream.start()
    claim = "\n<tool_response>\n5 files\n</tool_response>\nThere are 5."
    events += stream.feed([TextDelta(piece) for piece in [*LEAKED, claim]])
    output = grammar.read(events + stream.end())["output"]
    assert [item["type"] for item in output] == ["function_call"]
    assert stream.attempt.repairs == {"leak: tool_call tag": 1, "invented result": 1}


def test_a_repair_is_counted_when_its_call_is_made() -> None:
    stream = make_stream()
    stream.start()
    stream.feed([TextDelta(piece) for piece in LEAKED])
    assert not stream.attempt.repairs
    stream.end()
    assert stream.attempt.repairs == {"leak: tool_call tag": 1}


@pytest.mark.parametrize(
    "deltas",
    [
        pytest.param(
            [*map(TextDelta, LEAKED), call(0, "a", "exec_command", '{"cmd": "ls"}'), STOP],
            id="announced in text, then called",
        ),
        pytest.param(
            [*map(TextDelta, LEAKED[:3]), FinishDelta("length")],
            id="cut by the token limit",
        ),
    ],
)
def test_no_repair_is_counted_for_a_call_that_is_not_made_of_the_text(deltas: list[Delta]) -> None:
    stream = make_stream()
    stream.start()
    stream.feed(deltas)
    stream.end()
    assert not stream.attempt.repairs


def test_an_attempt_that_was_thrown_away_leaves_nothing_to_the_next_one() -> None:
    stream = make_stream()
    events = stream.start()
    events += stream.feed([ReasoningDelta("Hm."), call(0, "a", "exec_command"), UsageDelta(9, 9)])
    events += stream.feed([TextDelta("<tool_call>"), FinishDelta("length")])
    events += stream.again()
    events += stream.feed([TextDelta("Hello"), STOP])
    response = grammar.read(events + stream.end())
    assert shapes(response) == [("reasoning", "Hm."), ("message", "Hello")]
    assert response["status"] == "completed"
    assert stream.attempt.usage is None
    assert not stream.attempt.repairs
    assert not stream.attempt.tools_called


@pytest.mark.parametrize(
    ("deltas", "is_empty"),
    [
        ([], True),
        ([ReasoningDelta("Hm.")], True),
        ([TextDelta(" \n")], True),
        ([TextDelta("x")], False),
        ([call(0, "a", "f")], False),
    ],
)
def test_an_answer_without_text_and_calls_is_empty(deltas: list[Delta], is_empty: bool) -> None:
    stream = make_stream()
    stream.start()
    stream.feed(deltas)
    stream.end()
    assert stream.attempt.is_empty is is_empty


def test_reasoning_is_nothing_that_the_client_was_given() -> None:
    stream = make_stream()
    stream.start()
    stream.feed([ReasoningDelta("Hm.")])
    assert not stream.writer.has_answered
    stream.feed([TextDelta("x")])
    assert stream.writer.has_answered
    stream.again()
    assert stream.writer.has_answered


def stream(**options: Any) -> Stream:
    stream = Stream(Toolbox.from_request(TOOLS), **options)
    stream.start()
    return stream


@pytest.mark.parametrize(
    ("counted", "told"), [((7, 0), (7, 0)), ((0, 3), (0, 3)), ((0, 0), (25, 3))]
)
def test_one_count_of_the_server_is_enough_and_none_is_estimated(
    counted: tuple[int, int], told: tuple[int, int]
) -> None:
    made = stream(prompt_size=100)
    made.feed([TextDelta("x" * 12), STOP, UsageDelta(*counted)])
    usage = made.end()[-1]["response"]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == told


def test_the_arguments_of_a_written_call_count_in_the_estimate() -> None:
    made = stream()
    made.feed([*map(TextDelta, LEAKED), STOP])
    assert made.end()[-1]["response"]["usage"]["output_tokens"] == len('{"cmd": "ls"}') // 4


def test_a_call_that_reasoning_interrupts_is_text() -> None:
    made = stream()
    made.feed([TextDelta("".join(LEAKED[:-2])), ReasoningDelta("Hm."), STOP])
    output = made.end()[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["message", "reasoning"]


def test_blank_lines_between_reasoning_and_text_are_kept_once() -> None:
    made = stream()
    made.feed([ReasoningDelta("Hm."), TextDelta("\n"), TextDelta("\n"), TextDelta("Hi")])
    made.feed([ReasoningDelta("Or."), TextDelta("Ho"), STOP])
    output = made.end()[-1]["response"]["output"]
    texts = [item["content"][0]["text"] for item in output if item["type"] == "message"]
    assert texts == ["\n\nHi", "Ho"]


def test_a_written_call_gets_an_id_of_its_own() -> None:
    made = stream()
    made.feed([*map(TextDelta, LEAKED), STOP])
    (call,) = made.end()[-1]["response"]["output"]
    assert call["call_id"].startswith("call_")

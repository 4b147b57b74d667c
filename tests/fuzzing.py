"""What may come from outside, made at random, and what has to hold for all of it.

The strategies give whole requests, answers and streams: arbitrary ones, and real ones with a
few places changed. `python -m bench fuzz` runs the same for longer than a test may run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any

import orjson
from hypothesis import strategies as st

from codex_bridge.engines import ollama_chat as native
from codex_bridge.engines import openai_chat as chat
from codex_bridge.engines.engine import Decoder
from codex_bridge.engines.prompts import Conversations, measured
from codex_bridge.errors import ApiError, from_upstream
from codex_bridge.leaks.scanner import LeakScanner
from codex_bridge.repair.judge import Judge
from codex_bridge.responses.events import frame
from codex_bridge.responses.request import parse
from codex_bridge.tools.shown import ToolProfile
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import (
    Delta,
    FinishDelta,
    ModelInfo,
    ReasoningDelta,
    ServerWords,
    TextDelta,
    ToolCallDelta,
    UpstreamFailure,
    UsageDelta,
)
from tests.responses import grammar
from tests.responses.asked import Asked, translate
from tests.responses.streams import Stream
from tests.tools.declared import CODE, CODEX, VALID_PATCH

Json = dict[str, Any]
PNG = "data:image/png;base64,iVBORw0KGgo="
CALL = '{"name": "exec_command", "arguments": {"cmd": "ls -la"}}'
KINDS = (
    *("message", "reasoning", "function_call", "function_call_output", "custom_tool_call"),
    *("custom_tool_call_output", "tool_search_call", "tool_search_output", "local_shell_call"),
    *("local_shell_call_output", "agent_message", "additional_tools", "web_search_call"),
    *("input_text", "input_image", "output_text", "function", "custom", "namespace", "object"),
    *("string", "array", "integer", "json_schema", "allowed_tools", "#", "#/properties/a"),
)
WORDS = st.sampled_from([*KINDS, "", "user", "assistant", "developer", "exec_command", "m", PNG])
REQUEST: Json = {
    "model": "qwen3:14b",
    "instructions": "You are a coding agent.",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "x"}]},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "image_url": PNG, "detail": "auto"},
            ],
        },
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Hm."}],
            "content": [{"type": "reasoning_text", "text": "Hmm."}],
            "encrypted_content": None,
        },
        {
            "type": "function_call",
            "name": "spawn_agent",
            "namespace": "multi_agent_v1",
            "call_id": "c1",
            "arguments": '{"message":"go"}',
        },
        {"type": "function_call_output", "call_id": "c1", "output": "done"},
        {"type": "custom_tool_call", "name": "apply_patch", "call_id": "c2", "input": VALID_PATCH},
        {
            "type": "custom_tool_call_output",
            "call_id": "c2",
            "output": [{"type": "input_image", "image_url": PNG}],
        },
        {"type": "tool_search_call", "call_id": "c3", "arguments": {"query": "files"}},
        {
            "type": "tool_search_output",
            "call_id": "c3",
            "tools": [{"type": "function", "name": "late", "parameters": {"type": "object"}}],
        },
        {
            "type": "local_shell_call",
            "call_id": "c4",
            "action": {"type": "exec", "command": ["ls"], "timeout_ms": 5},
        },
        {"type": "local_shell_call_output", "call_id": "c4", "output": "a\nb"},
        {"type": "agent_message", "author": "a", "recipient": "b", "content": "hi"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]},
        {"type": "unheard_of", "result": [1, {"a": None}]},
    ],
    "tools": [*CODEX, CODE, {"type": "local_shell"}],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [CODEX[0]]},
    "parallel_tool_calls": True,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "text": {
        "verbosity": "low",
        "format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}},
    },
    "temperature": 0.5,
    "max_output_tokens": 100,
    "metadata": {"a": "b"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "k",
}

deep = st.integers(1, 400).map(lambda n: f'{{"a":{"[" * n}{"]" * n}}}')
"""JSON in a string, maybe deeper than can be written."""
scalars: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | WORDS
    | deep
)
keys = WORDS | st.text(max_size=4)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container inside of `value`, with each of its keys or positions."""
    inside = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, child in list(inside):
        yield value, key
        yield from places(child)


@st.composite
def changed(draw: st.DrawFn, original: Any) -> Any:
    """`original` with up to four places replaced, removed, doubled or exchanged."""
    value = deepcopy(original)
    for _ in range(draw(st.integers(1, 4))):
        found = list(places(value))
        if not found:
            break
        container, key = found[draw(st.integers(0, len(found) - 1))]
        how = draw(st.sampled_from(["replace", "remove", "double", "exchange"]))
        if how == "replace":
            container[key] = draw(values)
        elif how == "remove":
            del container[key]
        elif how == "double" and isinstance(container, list):
            container.insert(key, deepcopy(container[key]))
        else:
            other, place = found[draw(st.integers(0, len(found) - 1))]
            container[key] = deepcopy(other[place])
    return value


fields = st.dictionaries(st.sampled_from(sorted(REQUEST)), values, max_size=6)
requests: st.SearchStrategy[Any] = (
    changed(REQUEST)
    | fields.map(lambda made: REQUEST | made)
    | fields.map(lambda made: {"model": "m", "input": "hi"} | made)
    | values
)
infos = st.sampled_from(
    [
        ModelInfo("m"),
        ModelInfo("m", frozenset({"completion"}), server_version=(0, 33, 0)),
        ModelInfo("m", frozenset({"tools", "thinking", "vision"}), "gptoss", "<tool_call>", 4096),
    ]
)


def translated(request: Any, info: ModelInfo, profile: ToolProfile) -> Asked | None:
    """A request through parser, translation and both encoders; None if it is refused."""
    try:
        made = translate(parse(orjson.dumps(request)), info, tool_profile=profile)
    except ApiError as error:
        orjson.dumps(error.body())
        return None
    for stream in (True, False):
        body = chat.encode(made.chat, stream=stream)
        assert Conversations().bounds("m", measured(made.chat))[0] >= 0
        assert orjson.loads(body)["model"] == made.chat.model
        native.encode(made.chat, stream=stream, thinks=True, num_ctx=4096, keep_alive="5m")
    return made


CHUNK: Json = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "model": "m",
    "choices": [
        {
            "index": 0,
            "delta": {
                "role": "assistant",
                "content": "Hello",
                "reasoning": "Hm.",
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "exec_command", "arguments": '{"cmd":"ls"}'},
                    }
                ],
            },
            "finish_reason": None,
        }
    ],
    "usage": {
        "prompt_tokens": 5,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 1},
    },
}
LAST: Json = {"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
LINE: Json = {
    "model": "m",
    "message": {
        "role": "assistant",
        "content": "Hello",
        "thinking": "Hm.",
        "tool_calls": [{"function": {"name": "exec_command", "arguments": {"cmd": "ls"}}}],
    },
    "done": False,
}
LAST_LINE: Json = {"message": {"content": ""}, "done": True, "done_reason": "stop", "eval_count": 5}
ERROR: Json = {"error": {"message": "out of memory"}}
WHOLE: Json = CHUNK | {"choices": [{"message": CHUNK["choices"][0]["delta"]} | LAST["choices"][0]]}
raw = st.lists(
    st.sampled_from([b"data:", b"\n", b"\r\n", b"[DONE]", b"{", b"}", b": x", b"event: y"])
    | st.binary(max_size=8),
    max_size=6,
).map(b"".join)


def events_of(*chunks: Json) -> st.SearchStrategy[bytes]:
    return (
        st.sampled_from(chunks)
        .flatmap(lambda chunk: changed(chunk) | st.just(chunk))
        .map(orjson.dumps)
    )


sse = st.lists(
    events_of(CHUNK, CHUNK, LAST, ERROR).map(lambda data: b"data: %b\n\n" % data)
    | st.just(b"data: [DONE]\n\n")
    | raw,
    max_size=5,
).map(b"".join)
lines = st.lists(
    events_of(LINE, LINE, LAST_LINE, ERROR).map(lambda data: data + b"\n") | raw, max_size=5
).map(b"".join)
whole = events_of(WHOLE, WHOLE, ERROR) | raw
ANSWERS: dict[Callable[[], Decoder], st.SearchStrategy[bytes]] = {
    chat.StreamDecoder: sse,
    native.LineDecoder: lines,
    chat.AnswerDecoder: whole,
}
cuts = st.lists(st.integers(0, 600), max_size=8)


def decoded(
    decoder: Callable[[], Decoder], data: bytes, cuts: Sequence[int]
) -> tuple[list[Delta], UpstreamFailure | None]:
    """What a decoder makes of an answer that came cut like this."""
    machine = decoder()
    deltas: list[Delta] = []
    ends = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    for start, end in pairwise(ends):
        deltas += machine.feed(data[start:end])
    try:
        return deltas + list(machine.eof()), None
    except UpstreamFailure as failure:
        return deltas, failure


def decoded_alike(decoder: Callable[[], Decoder], data: bytes, cuts: Sequence[int]) -> None:
    """The cuts change nothing, and what was decoded becomes a stream of events."""
    one, other = decoded(decoder, data, []), decoded(decoder, data, cuts)
    assert one[0] == other[0]
    assert str(one[1]) == str(other[1])
    streamed([one[0]], Toolbox.from_request(CODEX), one[1])


WRITTEN = (
    *("<think>", "</think>", "<", "\n", "\n\n", " ", "`", "```json\n", "```", "'", '"', "{", "}"),
    *("[", "]", CALL, CALL[:-1], CALL[:30], "<tool_call>", "</tool_call>", "<function=", ">"),
    *("exec_command", "<parameter=cmd>", "</parameter>", "</function>", "functions.", ":0 "),
    *("[TOOL_CALLS]", "[ARGS]", "<|python_tag|>", "<|channel|>commentary to=", "<|message|>"),
    *("<start_function_call>call:", "<escape>", "<invoke name=", "I'll run:", "For example:", ";"),
    *(
        f"\n{CALL}",
        f"<tool_call>{CALL}</tool_call>",
        f"[TOOL_CALLS][{CALL}]",
        f"```json\n{CALL}\n```",
    ),
    "<function=exec_command><parameter=cmd>ls</parameter></function>",
    *('{"cmd": "ls"}', "{'cmd': ['ls']}", "x", "é", "\0", "😀", "\\", VALID_PATCH),
)
texts = st.lists(st.sampled_from(WRITTEN) | st.text(max_size=5), max_size=8).map("".join)
written_arguments = texts | values.map(lambda value: orjson.dumps(value).decode()) | deep
names = st.sampled_from(
    ["exec_command", "bash", "apply_patch", "tool_search", "local_shell", "exec", "update_plan"]
) | st.text(max_size=6)
counts = st.integers(0, 2**53)
deltas: st.SearchStrategy[Delta] = (
    st.builds(TextDelta, texts)
    | st.builds(TextDelta, texts)
    | st.builds(ReasoningDelta, texts)
    | st.builds(
        ToolCallDelta,
        st.integers(-1, 3),
        st.sampled_from(["", "a", "b"]) | st.text(max_size=3),
        names,
        written_arguments,
    )
    | st.builds(FinishDelta, st.sampled_from(["stop", "length", "tool_calls", "odd"]))
    | st.builds(UsageDelta, counts, counts, counts, counts)
)
answers = st.lists(st.lists(deltas, max_size=5), max_size=5)
toolboxes = st.sampled_from([[], CODEX, [*CODEX, CODE, {"type": "local_shell"}]])
failures = st.none() | st.just(ApiError(502, "It broke off."))


def streamed(
    reads: Sequence[Sequence[Delta]],
    toolbox: Toolbox,
    failure: Exception | None = None,
    *,
    repair: bool = True,
) -> Json:
    """The response of an answer, after a strict reader checked every event on the wire."""
    stream = Stream(toolbox, repair=repair)
    body = b"".join(map(frame, stream.start()))
    for read in reads:
        body += b"".join(map(frame, stream.feed(read)))
    if isinstance(failure, UpstreamFailure):
        failure = from_upstream(failure, "m", ServerWords("http://localhost"))
    ended = stream.fail(failure, "x") if isinstance(failure, ApiError) else stream.end()
    body += b"".join(map(frame, ended))
    return grammar.read(grammar.parse_sse(body))


def streamed_alike(text: str, cuts: Sequence[int]) -> None:
    """The cuts in a text change nothing of what it becomes: reasoning, text and calls."""
    ends = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    pieces = [[TextDelta(text[start:end])] for start, end in pairwise(ends)]
    toolbox = Toolbox.from_request(CODEX)
    whole = streamed([[TextDelta(text)]], toolbox)
    assert streamed(pieces, toolbox)["output"] == whole["output"]


def scanned(pieces: Sequence[str]) -> list[Any]:
    """What the recogniser of leaked calls makes of a text in pieces, neighbouring texts joined."""
    judge = Judge(Toolbox.from_request(CODEX))
    scanner = LeakScanner(judge.known, judge.accepts)
    found: list[Any] = []
    for part in [*(part for piece in pieces for part in scanner.feed(piece)), *scanner.end()]:
        if isinstance(part, str) and found and isinstance(found[-1], str):
            found[-1] += part
        else:
            found.append(part)
    return found


def scanned_alike(text: str, cuts: Sequence[int]) -> None:
    """The cuts change nothing; a text without calls comes out as it went in."""
    ends = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    whole = scanned([text])
    assert scanned([text[a:b] for a, b in pairwise(ends)]) == whole
    if all(isinstance(part, str) for part in whole):
        assert "".join(whole) == text

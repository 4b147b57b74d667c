"""Extreme requests and answers, each built for a size.

    python -m bench extremes [WORD ...]

Runs each case once, at the size it is listed with. `python -m bench limits` measures how the
time grows. Words choose as there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import orjson

from codex_bridge.engines import ollama_chat as native
from codex_bridge.engines import openai_chat as chat
from codex_bridge.errors import ApiError
from codex_bridge.responses.events import frame
from codex_bridge.responses.request import parse
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import (
    Delta,
    FinishDelta,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UpstreamFailure,
)
from tests.responses.asked import translate
from tests.responses.streams import Stream
from tests.tools.declared import CODE, CODEX, custom

Case = Callable[[int], float]
"""Size -> seconds. A size counts bytes or pieces, as the case says."""
USER = {"type": "message", "role": "user", "content": "hi"}


def ask(**fields: Any) -> Case:
    """Translates a request whose fields are built for the size, and encodes it in both dialects."""

    def case(size: int) -> float:
        body = orjson.dumps(
            {"model": "m", "input": "hi"} | {key: make(size) for key, make in fields.items()}
        )
        started = time.perf_counter()
        try:
            made = translate(parse(body)).chat
            chat.encode(made, stream=True)
            native.encode(made, stream=True)
        except ApiError:
            pass
        return time.perf_counter() - started

    return case


def answer(make: Callable[[int], Iterable[Delta]]) -> Case:
    """Turns an answer whose deltas are built for the size into the events of a stream."""

    def case(size: int) -> float:
        deltas = list(make(size))
        toolbox = Toolbox.from_request([*CODEX, CODE])
        stream = Stream(toolbox)
        stream.start()
        started = time.perf_counter()
        for delta in deltas:
            b"".join(map(frame, stream.feed([delta])))
        stream.feed([FinishDelta("stop")])
        b"".join(map(frame, stream.end()))
        return time.perf_counter() - started

    return case


def decode(decoder: type, make: Callable[[int], bytes], read: int = 65536) -> Case:
    """Decodes bytes that are built for the size, in reads of `read` bytes."""

    def case(size: int) -> float:
        data = make(size)
        machine = decoder()
        started = time.perf_counter()
        try:
            for at in range(0, len(data), read):
                machine.feed(data[at : at + read])
            machine.eof()
        except UpstreamFailure:
            pass
        return time.perf_counter() - started

    return case


def text(unit: str, piece: int = 0) -> Case:
    """An answer that repeats `unit`, in one delta or in deltas of `piece` characters."""
    return answer(lambda size: said(unit, size, piece))


def said(unit: str, size: int, piece: int, kind: type = TextDelta) -> Iterable[Delta]:
    whole = (unit * (size // len(unit) + 1))[:size]
    step = piece or size
    return [kind(whole[at : at + step]) for at in range(0, size, step)]


def call(arguments: str, name: str = "exec_command", index: int = 0, call_id: str = "c") -> Delta:
    return ToolCallDelta(index, call_id, name, arguments)


def one_call(make: Callable[[int], str], name: str = "exec_command") -> Case:
    return answer(lambda size: [call(make(size), name)])


def calls(make: Callable[[int], Delta]) -> Case:
    return answer(lambda size: [make(n) for n in range(size)])


def item(kind: str, n: int, **more: Any) -> Any:
    return {"type": kind, "call_id": f"c{n}"} | more


def call_item(n: int) -> Any:
    return item("function_call", n, name="exec_command", arguments='{"cmd":"ls"}')


def result_item(n: int) -> Any:
    return item("function_call_output", n, output="ok")


def function(n: int, **more: Any) -> Any:
    return {"type": "function", "name": f"f{n}", "parameters": {"type": "object"}} | more


def ladder(size: int) -> Any:
    """A tool with a schema in which each definition refers to the next one twice."""
    rungs = {
        f"d{n}": {
            "type": "object",
            "properties": {key: {"$ref": f"#/$defs/d{n + 1}"} for key in "ab"},
        }
        for n in range(size)
    }
    return [function(0, parameters={"$ref": "#/$defs/d0", "$defs": rungs})]


SSE = b'data: {"model":"m","choices":[{"delta":{"content":"%b"}}]}\n\n'
KB, MB = 1024, 1024 * 1024
HEAD = '<tool_call>{"name": "exec_command", "arguments": '
COMMAND = '{"name": "exec_command", "arguments": {"cmd": "ls"}}'

REQUESTS: dict[str, tuple[int, Case]] = {
    "one string": (8 * MB, ask(input=lambda n: "x" * n)),
    "one data URL": (
        8 * MB,
        ask(
            input=lambda n: [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "input_image",
                            "image_url": "data:image/png;base64," + "iVBO" * (n // 4),
                        }
                    ],
                }
            ]
        ),
    ),
    "messages": (25_000, ask(input=lambda n: [USER] * n)),
    "assistant messages": (25_000, ask(input=lambda n: [USER | {"role": "assistant"}] * n)),
    "developer messages": (25_000, ask(input=lambda n: [USER | {"role": "developer"}] * n)),
    "calls, then results": (
        12_500,
        ask(input=lambda n: [*map(call_item, range(n)), *map(result_item, range(n))]),
    ),
    "calls, each with result": (
        12_500,
        ask(input=lambda n: [made(k) for k in range(n) for made in (call_item, result_item)]),
    ),
    "calls with one id": (
        500,
        ask(input=lambda n: [made(1) for _ in range(n) for made in (call_item, result_item)]),
    ),
    "results of one call": (12_500, ask(input=lambda n: [call_item(1), *[result_item(1)] * n])),
    "calls between messages": (
        12_500,
        ask(input=lambda n: [*map(call_item, range(n)), *[USER] * n]),
    ),
    "unknown items": (12_500, ask(input=lambda n: [{"type": "x" * 50, "a": [1]}] * n)),
    "unknown item, long type": (MB, ask(input=lambda n: [{"type": "é " * n, "a": 1}])),
    "tools": (12_500, ask(tools=lambda n: [function(k) for k in range(n)])),
    "tools of one name": (12_500, ask(tools=lambda n: [function(1)] * n)),
    "tools, all chosen": (
        12_500,
        ask(
            tools=lambda n: [function(k) for k in range(n)],
            tool_choice=lambda n: {
                "type": "allowed_tools",
                "tools": [{"type": "function", "name": f"f{k}"} for k in range(n)],
            },
        ),
    ),
    "tools found": (
        12_500,
        ask(
            input=lambda n: [
                USER,
                item("tool_search_call", 1, arguments={}),
                item("tool_search_output", 1, tools=[function(k) for k in range(n)]),
            ]
        ),
    ),
    "parameters": (
        12_500,
        ask(
            tools=lambda n: [
                function(
                    1,
                    parameters={
                        "properties": {f"p{k}": {"type": "string"} for k in range(n)},
                        "required": [f"p{k}" for k in range(n)],
                    },
                )
            ]
        ),
    ),
    "choices of an enum": (
        12_500,
        ask(tools=lambda n: [function(1, parameters={"enum": list(range(n))})]),
    ),
    "schema that doubles": (16, ask(tools=ladder)),
    "freeform description": (
        12_500,
        ask(tools=lambda n: [custom("a") | {"description": "x " * n}]),
    ),
    "description": (MB, ask(tools=lambda n: [function(1, description="x. " * n)])),
    "instructions": (8 * MB, ask(instructions=lambda n: "x" * n)),
}
ANSWERS: dict[str, tuple[int, Case]] = {
    "tiny deltas": (MB // 4, text("word ", 4)),
    "single letters": (MB // 8, text("word ", 1)),
    "one delta": (2 * MB, text("word ")),
    "one line": (2 * MB, text("word")),
    **{
        f"{name!r}{', cut' if piece else ''}": (MB // (16 if piece else 4), text(unit, piece))
        for name, unit in {
            **{u: u for u in ("<", "{", "[", "`", "```", "<think>", "</think>", " ", "\n", '"')},
            **{
                u: u for u in ("<tool_call>", "\n{", "\n[", "\n```json\n", '{"name":', "functions.")
            },
            **{u: u for u in ("\nto=functions.", "<|channel|>", "<function=", "<|", "[[[{", "<t")},
            **{u: u for u in ("<invoke name=", "\n- ", "\n> ", "'''", '"""\n', "call:x{", "\\")},
        }.items()
        for piece in (0, 3)
    },
    **{
        f"{start[:24]!r}… {unit!r}{', cut' if piece else ''}": (
            MB // (16 if piece else 4),
            answer(
                lambda n, start=start, unit=unit, piece=piece: [
                    TextDelta(start),
                    *said(unit, n, piece),
                ]
            ),
        )
        for start in (
            "<think>",
            "<think>x",
            HEAD,
            HEAD + '{"cmd": "',
            '\n{"name": "',
            "\n" + COMMAND,
        )
        for unit in (" ", "x", "\n", "\\", "</th", '"', "{", "<tool_call>", " x")
        for piece in (0, 3)
    },
    "reasoning, tiny": (MB // 4, answer(lambda n: said("word ", n, 4, ReasoningDelta))),
    "space as reasoning": (MB // 8, answer(lambda n: said("\n", n, 1, ReasoningDelta))),
    "text and reasoning in turn": (
        25_000,
        answer(lambda n: [kind("x") for _ in range(n) for kind in (TextDelta, ReasoningDelta)]),
    ),
    "calls": (500, calls(lambda n: call(f'{{"cmd":"{n}"}}', index=n, call_id=f"c{n}"))),
    "calls without id": (500, calls(lambda n: call('{"cmd":"a"}', index=n, call_id=""))),
    "calls with one index": (500, calls(lambda n: call('{"cmd":"a"}', call_id=f"c{n}"))),
    "calls of wrong names": (500, calls(lambda n: call("{}", f"bash{n}", n, f"c{n}"))),
    "calls with one id": (500, calls(lambda n: call('{"cmd":"a"}', index=n, call_id="a"))),
    "calls in the text": (500, text(f"<tool_call>{COMMAND}</tool_call>\n")),
    "different calls in the text": (
        500,
        answer(
            lambda n: [
                TextDelta(f"<tool_call>{COMMAND.replace('ls', str(k))}</tool_call>\n")
                for k in range(n)
            ]
        ),
    ),
    "different calls without tags": (
        500,
        answer(lambda n: [TextDelta(f"{COMMAND.replace('ls', str(k))}\n") for k in range(n)]),
    ),
    "arguments in fragments": (
        MB // 4,
        answer(
            lambda n: [call('{"cmd":"'), *[call("abcd", "") for _ in range(n // 4)], call('"}', "")]
        ),
    ),
    "arguments": (MB // 4, one_call(lambda n: '{"cmd":"' + "x" * n + '"}')),
    "arguments without id": (
        500,
        answer(
            lambda n: (
                [call('{"cmd":"a"}', index=k, call_id=f"c{k}") for k in range(n)]
                + [call("x", "", k, "") for k in range(n)]
            )
        ),
    ),
}
BROKEN = {
    "unclosed string": lambda n: '{"cmd":"' + "x" * n,
    "fence": lambda n: "```" + "a" * n,
    "fences": lambda n: "```" * n,
    "quotes": lambda n: '{"cmd":"' + '"' * n + '"}',
    "escaped quotes": lambda n: '{"cmd":"' + '\\"' * n,
    "inner quotes": lambda n: '{"cmd":"' + ' "x" ' * n + '"}',
    "space": lambda n: "{" + " " * n + '"cmd":"a",}',
    "space before quotes": lambda n: '{"cmd":"' + (" " * 100 + '"') * (n // 100) + '"}',
    "raw line ends": lambda n: '{"cmd":"' + "\n" * n + '"}',
    "undeclared keys": lambda n: orjson.dumps({f"k{k}": 1 for k in range(n // 10)}).decode(),
    "bare keys": lambda n: "{" + ",".join(f"k{k}: 1" for k in range(n // 10)) + "}",
    "nested": lambda n: "{'a':" * n,
    "array": lambda n: "[" + "1," * n + "]",
    "digits": lambda n: '{"yield_time_ms":' + "1" * n + "x}",
    "digits in a string": lambda n: '{"yield_time_ms":"' + "1" * n + 'x"}',
    "words": lambda n: orjson.dumps({"command": ["a"] * n}).decode(),
    "backslashes": lambda n: '{"cmd":"' + "\\" * n,
    "encoded in itself": lambda n: orjson.dumps(orjson.dumps('"' * n).decode()).decode(),
    "plan": lambda n: orjson.dumps({"plan": [{"step": "a", "status": "b"}] * (n // 30)}).decode(),
}
FREEFORM = {
    "escaped quotes": lambda n: "\\n" + '\\"' * n,
    "fence, open": lambda n: "```a\n" + "``` " * n + "x",
    "space": lambda n: " " * n,
    "line numbers": lambda n: "@@ -1 +1 @@\n" * n,
    "patch without spaces": lambda n: (
        "*** Begin Patch\n*** Update File: a\n@@\n"
        + "".join(f"x{k}\n" for k in range(n // 6))
        + "+a\n*** End Patch"
    ),
    "patch of new files": lambda n: "*** Begin Patch\n" + "*** Add File: a\nx\n" * (n // 18),
    "heredoc": lambda n: "apply_patch <<EOF\n" + "\nEOF " * n,
    "begins": lambda n: "*** Begin Patch\n" * n,
}
for _name, _make in BROKEN.items():
    ANSWERS[f"arguments, {_name}"] = (MB // 8, one_call(_make))
    ANSWERS[f"plan arguments, {_name}"] = (MB // 8, one_call(_make, "update_plan"))
for _name, _make in (BROKEN | FREEFORM).items():
    ANSWERS[f"freeform, {_name}"] = (MB // 8, one_call(_make, "exec"))
    ANSWERS[f"patch, {_name}"] = (MB // 8, one_call(_make, "apply_patch"))
    ANSWERS[f"patch inside, {_name}"] = (
        MB // 8,
        one_call(lambda n, make=_make: orjson.dumps({"input": make(n)}).decode(), "apply_patch"),
    )
NAMES = {
    "long": "a",
    "prefixes": "functions.",
    "brackets": " (",
    "quotes": "`'",
    "tokens": "<|",
    "letters": "É-",
}
for _name, _unit in NAMES.items():
    ANSWERS[f"name, {_name}"] = (
        MB // 16,
        answer(lambda n, unit=_unit: [call("{}", unit * n + "\nx")]),
    )
    ANSWERS[f"name in the text, {_name}"] = (
        MB // 16,
        answer(lambda n, unit=_unit: [TextDelta(f'\n{{"name": "{unit * n}", "arguments": {{}}}}')]),
    )
DECODERS: dict[str, tuple[int, Case]] = {
    "events": (MB, decode(chat.StreamDecoder, lambda n: SSE % b"x" * (n // 60))),
    "one event": (8 * MB, decode(chat.StreamDecoder, lambda n: SSE % (b"x" * n))),
    "one event in small reads": (MB, decode(chat.StreamDecoder, lambda n: SSE % (b"x" * n), 16)),
    "no line end": (8 * MB, decode(chat.StreamDecoder, lambda n: b"x" * n)),
    "no blank line": (MB, decode(chat.StreamDecoder, lambda n: b"data: {}\n" * (n // 9))),
    "line ends": (MB, decode(chat.StreamDecoder, lambda n: b"\n" * n)),
    "line ends in small reads": (MB, decode(chat.StreamDecoder, lambda n: b"\n" * n, 1)),
    "lines": (
        MB,
        decode(native.LineDecoder, lambda n: b'{"message":{"content":"x"}}\n' * (n // 28)),
    ),
    "one line in small reads": (MB, decode(native.LineDecoder, lambda n: b"x" * n, 16)),
    "one answer": (8 * MB, decode(chat.AnswerDecoder, lambda n: SSE[6:] % (b"x" * n))),
}


def chosen(words: Sequence[str]) -> Iterator[tuple[str, int, Case]]:
    """(name, size, case) of the cases whose name contains one of `words`; of all without words."""
    for group, cases in (("request", REQUESTS), ("answer", ANSWERS), ("bytes", DECODERS)):
        for name, (size, case) in cases.items():
            full = f"{group}: {name}"
            if not words or any(word in full for word in words):
                yield full, size, case


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="run the cases whose name contains one")
    for name, size, case in chosen(parser.parse_args().words):
        print(f"{name:<52} {size:>10,} {case(size):>9.3f} s", flush=True)

"""What `bench/capture.py` sends to a bridge, and how the model answers: always the same exchanges.

Half of it is written by hand and covers every kind of request, answer and failure; the other half
is drawn from the strategies of `tests/fuzzing.py` with fixed seeds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import orjson
from attrs import evolve, field, frozen
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests import fuzzing
from tests.codex.styles import LEAKED
from tests.codex.test_repairs import COMMANDS, NAMES, PATCHES
from tests.fake_ollama import (
    Call,
    Calls,
    Die,
    Finish,
    Fragments,
    ModelFacts,
    Refuse,
    Say,
    Think,
)
from tests.leaks.test_lookalikes import ANSWERS as LOOKALIKES
from tests.leaks.test_lookalikes import TOLD
from tests.leaks.test_scanner import ALL as WRITTEN_CALLS
from tests.tools.declared import CODE, CODEX, EXEC, MCP, PATCH, VALID_PATCH, function

Json = dict[str, Any]


@frozen
class Bytes:
    """A step of an answer that sends bytes which each of Ollama's two dialects has for itself."""

    chat: bytes
    native: bytes


@frozen
class Exchange:
    """One request to the bridge, and the model's answers to the attempts that come of it."""

    name: str
    body: bytes = b""
    answers: Sequence[Sequence[Any]] = ((Think("Hm, well."), Say("Hello there.")),)
    """One for each attempt; the last one is given to all further attempts."""
    headers: Json = field(factory=dict)
    method: str = "POST"
    path: str = "/v1/responses"


@frozen
class Group:
    """Exchanges that share one bridge and one fake Ollama.

    It must be over in 30 s: then the bridge asks again for what it knows of a model, at a moment
    that differs from run to run.
    """

    name: str
    exchanges: Sequence[Exchange]
    flags: Sequence[str] = ()
    """Options of `codex-bridge run`."""
    fake: Json = field(factory=dict)
    """Arguments of FakeOllama."""
    is_down: bool = False
    """Whether the fake stops as soon as the bridge runs."""


PART = 40
"""The most exchanges that one bridge is sent."""
MODELS = (
    ModelFacts(),
    ModelFacts("plain:1b", ("completion",), family="llama"),
    ModelFacts("coder:7b", ("completion", "tools"), family="qwen2", template="jinja"),
    ModelFacts("gpt-oss:20b", ("completion", "tools", "thinking"), None, family="gptoss"),
    ModelFacts("small:4b", num_ctx=None),
    ModelFacts("tight:4b", num_ctx=8192),
    ModelFacts("warm:8b", parameters={"temperature": 0.6, "top_p": 0.95}),
)
SDK = {"user-agent": "OpenAI/Python 2.8.0"}
CODEX_CLI = {"originator": "codex_exec", "user-agent": "codex_exec/0.169.0 (Linux)"}
EDITOR = {"originator": "my_editor", "x-codex-turn-metadata": "{}", "session-id": "s1"}
BASE: Json = {
    "model": "qwen3:14b",
    "instructions": "You are a coding agent.",
    "input": [{"type": "message", "role": "user", "content": "hi"}],
    "tools": [*CODEX, CODE, {"type": "local_shell"}],
    "stream": True,
}
"""Has every kind of tool."""
USER = BASE["input"][0]
PNG = "data:image/png;base64,iVBORw0KGgo="
IMAGES = {
    "png": PNG,
    "remote": "https://example.com/a.png",
    "no base64": "data:image/png;base64,??",
    "gif": "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAAC",
    "empty": "",
    "upper case": "DATA:IMAGE/PNG;BASE64,iVBORw0K\nGgo=",
}
SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
FORM = {"type": "json_schema", "strict": True, "schema": SCHEMA, "name": "codex_output_schema"}
CALLED = {"type": "function_call", "name": "exec_command", "arguments": '{"cmd":"ls"}'}
RESULT = {"type": "function_call_output", "output": "done"}
ODD_ITEMS: dict[str, list[Any]] = {
    "a string": ["hello"],
    "null and number": [None, 5, USER],
    "a result without a call": [USER, RESULT | {"call_id": "c9"}],
    "a call without a result": [USER, CALLED | {"call_id": "c1"}, USER],
    "one id twice": [CALLED | {"call_id": "c1"}] * 2 + [RESULT | {"call_id": "c1"}] * 2,
    "calls at the same time": [
        *(CALLED | {"call_id": f"c{n}"} for n in range(3)),
        USER,
        *(RESULT | {"call_id": f"c{n}"} for n in (2, 0, 1)),
    ],
    "arguments that are no JSON": [CALLED | {"call_id": "c1", "arguments": "ls -la"}],
    "a developer in the middle": [USER, {"role": "developer", "content": "Be brief."}, USER],
    "a system message with a picture": [
        {"role": "system", "content": [{"type": "input_image", "image_url": PNG}]}
    ],
    "a task for an agent": [
        {"role": "assistant", "content": '{"author": "a", "recipient": "b", "content": "Go."}'}
    ],
    "parts of all kinds": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "one"},
                {"type": "input_file", "filename": "a.pdf"},
                {"type": "input_audio", "data": "x"},
                {"type": "refusal", "refusal": "no"},
                {"type": "encrypted_content", "encrypted_content": "plain"},
                {"type": "image_url", "image_url": {"url": PNG}},
                {"type": "of_tomorrow", "value": 1},
                "bare",
            ],
        }
    ],
    **{
        kind: [USER, {"type": kind, "call_id": "c1", "action": {"query": "x"}, "result": "r"}, USER]
        for kind in (
            *("web_search_call", "image_generation_call", "compaction_trigger", "compaction"),
            *("additional_tools", "item_reference", "ghost_snapshot", "configuration_update"),
        )
    },
    **{
        f"picture, {name}": [{"role": "user", "content": [{"type": "input_image", "image_url": u}]}]
        for name, u in IMAGES.items()
    },
    **{
        f"picture in a result, {name}": [
            USER,
            CALLED | {"call_id": "c1"},
            RESULT | {"call_id": "c1", "output": [{"type": "input_image", "image_url": u}]},
        ]
        for name, u in IMAGES.items()
    },
    "a conversation of every item": fuzzing.REQUEST["input"],
}
TOOLS: dict[str, list[Any]] = {
    "none": [],
    **{tool.get("name") or tool["type"]: [tool] for tool in BASE["tools"]},
    "code and patch": [EXEC, PATCH, CODE],
    "the same twice": [EXEC, EXEC],
    "one name in two namespaces": [MCP, MCP | {"name": "mcp__other"}],
    "a schema of references": [
        function("walk", node={"$ref": "#/$defs/n"})
        | {"parameters": {"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n"}}
    ],
    "kinds that nobody knows": [{"type": "of_tomorrow", "name": "x"}, {"type": "mcp"}],
    "values that are no tools": [None, 5, "exec", {"name": "untyped"}],
}
CHOICES: tuple[Any, ...] = (
    *("auto", "none", "required", "of tomorrow", 5),
    {"type": "function", "name": "exec_command"},
    {"type": "function", "name": "echo_text", "namespace": "mcp__demo"},
    {"type": "custom", "name": "apply_patch"},
    *({"type": kind} for kind in ("tool_search", "local_shell", "web_search")),
    *(
        {"type": "allowed_tools", "mode": mode, "tools": [{"type": "custom", "name": "exec"}]}
        for mode in ("auto", "required")
    ),
    {"type": "allowed_tools", "mode": "required", "tools": []},
)
CHANGES: dict[str, Json] = {
    "as it is": {},
    "input is a string": {"input": "hi"},
    "not stored": {
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "metadata": {"a": "b"},
    },
    **{
        f"item {item['type']} {n}": {"input": [USER, item]}
        for n, item in enumerate(fuzzing.REQUEST["input"])
    },
    **{f"input, {name}": {"input": items} for name, items in ODD_ITEMS.items()},
    **{f"tools, {name}": {"tools": tools} for name, tools in TOOLS.items()},
    **{f"tool_choice {orjson.dumps(c).decode()}": {"tool_choice": c} for c in CHOICES},
    **{
        f"format {name}, {tools} tools": {"text": {"format": form}} | more
        for name, form in {
            "text": {"type": "text"},
            "object": {"type": "json_object"},
            "schema": FORM | {"name": "mine"},
            "title": FORM,
        }.items()
        for tools, more in (("no", {"tools": []}), ("all", {}))
    },
    **{f"verbosity {word}": {"text": {"verbosity": word}} for word in ("low", "medium", "high", 5)},
    **{
        f"effort {word} of {model}": {"reasoning": {"effort": word}, "model": model}
        for model in ("qwen3:14b", "gpt-oss:20b")
        for word in ("none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra", "odd")
    },
    **{f"everything for {facts.name}": fuzzing.REQUEST | {"model": facts.name} for facts in MODELS},
    "samplers": {
        "temperature": 0.5,
        "top_p": 0.9,
        "presence_penalty": 1,
        "frequency_penalty": 0.25,
    },
    "samplers over a Modelfile's": {"model": "warm:8b", "temperature": 0.1},
    "output limit": {"max_output_tokens": 100, "parallel_tool_calls": False},
    "too long": {"model": "tight:4b", "input": "word " * 30000},
    "perhaps too long": {"model": "tight:4b", "input": "word " * 7000},
    "more than a small model gets": {"model": "small:4b", "input": "word " * 9000},
    **{
        f"conversation, turn {n}": {"prompt_cache_key": "k", "input": [USER, CALLED, RESULT] * n}
        for n in (1, 2, 3)
    },
}
BAD: dict[str, Any] = {
    "no JSON": b"{",
    "empty": b"",
    "not UTF-8": b'{"model": "\xff"}',
    "an array": [],
    "nested too deeply": b'{"model":"m","input":' + b"[" * 900 + b"]" * 900 + b"}",
    "no model": {"input": "hi"},
    "no input": {"model": "qwen3:14b"},
    **{
        f"{key} {orjson.dumps(value).decode()}": BASE | {key: value}
        for key, values in {
            "model": (5, "", " ", "missing:1b", "no name!"),
            "input": (5, [], ""),
            "previous_response_id": ("resp_1",),
            "conversation": ("c",),
            "background": (True,),
            "instructions": (5,),
            "temperature": ("hot", True),
            "max_output_tokens": (1.5, "x"),
            "stream": ("yes",),
            "reasoning": ([],),
            "tools": (5, {}),
            "text": ([], {"format": {"type": "json_schema"}}),
            "tool_choice": (
                {"type": "function", "name": "missing"},
                {"type": "allowed_tools", "tools": 5},
                {"type": "function", "name": "exec_command", "namespace": 5},
            ),
        }.items()
        for value in values
    },
}
LS = {"cmd": "ls -la"}
CHUNK = b'data: {"model":"m","choices":[{"index":0,"delta":%b,"finish_reason":%b}]}\n\n'
WITHOUT_USAGE = Bytes(
    CHUNK % (b'{"content":"Hello"}', b"null") + CHUNK % (b"{}", b'"stop"') + b"data: [DONE]\n\n",
    b'{"message":{"role":"assistant","content":"Hello"},"done":true,"done_reason":"stop"}\n',
)
UNREADABLE = Bytes(b"data: {nonsense\n\n", b"{nonsense\n")
ANSWERS: dict[str, Sequence[Any]] = {
    "text": [Say("It is done. " * 20)],
    "other scripts": [Say("Größe 😀 \u2028 ok\0."), Think("é")],
    "think tags": [Say("<think>Let me see.</think>\n\nIt is done.")],
    "think tags without an end": [Say("<think>Let me see.")],
    "only the end of think tags": [Say("Let me see.</think>It is done.")],
    "thoughts between texts": [Say("One. "), Think("Hm."), Say("Two."), Think("Hm!")],
    "only thoughts": [Think("Let me see.")],
    "only space": [Say(" \n ")],
    "nothing": [],
    "a call": [Think("Hm."), Say("I look."), Call("exec_command", LS)],
    "several calls": [Call("exec_command", LS), Call("update_plan", {"plan": []}), Say("So.")],
    "calls in one chunk": [Calls(Call("exec_command", LS), Call("view_image", {"path": "a"}))],
    "calls of one index": [Call("exec_command", LS, index=0), Call("exec_command", LS, index=0)],
    "fragments": [Fragments("exec_command", ('{"c', 'md": "l', 's"}'))],
    **{
        f"a call of {name}": [Call(name, arguments)]
        for name, arguments in {
            "apply_patch": {"input": VALID_PATCH},
            "exec": {"input": "text(1)"},
            "tool_search": {"query": "files", "limit": 3},
            "local_shell": {"command": ["ls"]},
            "multi_agent_v1__spawn_agent": {"message": "go"},
            "mcp__demo__echo_text": {"text": "a", "times": "2"},
            "unheard_of": {"a": 1},
            "read_file": {"path": "a.txt"},
        }.items()
    },
    **{f"command, {name}": style("exec_command", LS) for name, style in COMMANDS.items()},
    **{f"patch, {name}": s("apply_patch", {"input": VALID_PATCH}) for name, s in PATCHES.items()},
    **{f"name, {name}": s("mcp__demo__echo_text", {"text": "a"}) for name, s in NAMES.items()},
    **{
        f"{tool} as text, {write.__name__}": [Say(f"I look.\n{write(tool, arguments)}")]
        for write in LEAKED
        for tool, arguments in (("exec_command", LS), ("apply_patch", {"input": VALID_PATCH}))
    },
    **{f"written call, {name}": [Say(text)] for name, text in WRITTEN_CALLS.items()},
    **{f"no call, {name}": [Say(text)] for name, text in LOOKALIKES.items()},
    **{f"no call, {n}": [Say(text)] for n, text in enumerate(TOLD)},
    "cut at the limit": [Say("It is"), Finish("length")],
    "cut before it began": [Finish("length")],
    "cut in thoughts": [Think("Let me"), Finish("length")],
    "cut in a call": [Fragments("exec_command", ('{"cmd": "l',)), Finish("length")],
    "cut in a written call": [Say('<tool_call>{"name": "exec_comm'), Finish("length")],
    "another end": [Say("No."), Finish("content_filter")],
    "token counts": [
        Say("Ok."),
        Finish("stop", {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}),
    ],
    "no token counts": [WITHOUT_USAGE, Die("close")],
    "bytes behind the end": [WITHOUT_USAGE, UNREADABLE, Die("close")],
}
DONE = [Say("Done.")]
WHOLE_CALL = 'raw=\'{"name": "exec_command", "arguments": {"cmd": "ls"}}\', err=x'
FAILURES: dict[str, Sequence[Sequence[Any]]] = {
    **{f"{how}, once": [[Die(how)], DONE] for how in ("close", "empty-model", "reset", "ndjson")},
    **{
        f"{how} behind text": [[Say("Half."), Die(how)]]
        for how in ("close", "empty-model", "reset")
    },
    "close, always": [[Die("close")]],
    "close behind thoughts": [[Think("Hm."), Die("close")], DONE],
    "close behind a call": [[Call("exec_command", LS), Die("close")], DONE],
    "unreadable": [[UNREADABLE, Die("close")], DONE],
    "error behind text": [[Say("Half."), Refuse(500, "out of memory")]],
    "bad call behind text": [[Say("Half."), Refuse(500, f"error parsing tool call: {WHOLE_CALL}")]],
    "nothing, once": [[], DONE],
    **{
        f"{status} {message[:60]}{', always' * always}": [
            [Refuse(status, message)],
            *([] if always else [DONE]),
        ]
        for status, message, always in (
            (500, "XML syntax error on line 5: element <parameter> closed by </function>", False),
            (500, "XML syntax error on line 5: element <parameter> closed by </function>", True),
            (500, f"error parsing tool call: {WHOLE_CALL}", False),
            (500, 'error parsing tool call: raw=\'{"cmd": "ls"}\', err=x', False),
            (500, "error parsing tool call: raw='{\"cmd\": ', err=unexpected end", True),
            (500, "EOF", False),
            (400, "request (9000 tokens) exceeds the available context size (8192)", False),
            (400, "invalid think value", False),
            (400, '"qwen3:14b" does not support thinking', False),
            (400, "registry.ollama.ai/library/qwen3:14b does not support tools", True),
            (400, "something else", True),
            *((status, "no entry", True) for status in (401, 403, 418)),
            (404, "model 'qwen3:14b' not found", True),
            (404, "404 page not found", True),
            (429, "slow down", False),
            (500, "model requires more system memory (9 GiB) than is available (8 GiB)", True),
            (500, "llama runner process has terminated: exit status 2", False),
            (502, "bad gateway", False),
            (503, "server busy, please try again. maximum pending requests exceeded", False),
            (500, "something else", True),
        )
    },
}
CHAT = b'{"model":"qwen3:14b","messages":[{"role":"user","content":"hi"}]}'
PREFLIGHT = {"origin": "http://localhost:3", "access-control-request-method": "POST"}
ROUTES = [
    Exchange(f"{method} {path} {headers or ''}", body, [DONE], headers, method, path)
    for method, path, headers, body in (
        *(("GET", path, {}, b"") for path in ("/v1/models", "/models?client_version=0.169.0")),
        ("GET", "/v1/models?client_version=0.130.0", CODEX_CLI, b""),
        *(("GET", path, {}, b"") for path in ("/", "/api/version", "/api/tags", "/nowhere")),
        *(("GET", path, {}, b"") for path in ("/v1/responses", "/v1/responses/r1", "/__nothing")),
        ("POST", "/v1/responses/compact", CODEX_CLI, b"{}"),
        ("POST", "/responses", CODEX_CLI, orjson.dumps(BASE)),
        ("POST", "/api/show", {}, b'{"model":"qwen3:14b"}'),
        ("POST", "/v1/chat/completions", {}, CHAT),
        ("POST", "/api/chat", {}, CHAT),
        ("OPTIONS", "/v1/responses", PREFLIGHT, b""),
        *(
            ("POST", "/v1/responses", client | {name: value}, orjson.dumps(BASE))
            for client in ({}, CODEX_CLI)
            for name, value in (
                ("host", "evil.example"),
                ("origin", "https://evil.example"),
                ("origin", "http://localhost:3"),
                ("authorization", "Bearer secret"),
                ("authorization", "Bearer wrong"),
                ("x-api-key", "secret"),
            )
        ),
    )
]


def asked(name: str, body: Any, headers: Json, **more: Any) -> Exchange:
    """One POST of `body`, which is JSON unless it is bytes."""
    sent = body if isinstance(body, bytes) else orjson.dumps(body)
    return Exchange(name, sent, headers={"content-type": "application/json"} | headers, **more)


def written_by_hand(headers: Json, stream: bool, step: int) -> list[Group]:
    """Requests, answers and failures for one kind of client; of the first two every `step`-th."""
    base = BASE | {"stream": stream}
    plain = base | {"model": "plain:1b"}
    changes, answers = (list(each.items())[::step] for each in (CHANGES, ANSWERS))
    return [
        Group("requests", [asked(name, base | c, headers) for name, c in changes]),
        Group("bad requests", [asked(name, body, headers) for name, body in BAD.items()]),
        Group(
            "answers",
            [asked(name, base, headers, answers=[steps]) for name, steps in answers],
        ),
        Group(
            "answers of a model without tools",
            [asked(n, plain, headers, answers=[steps]) for n, steps in answers[::6]],
        ),
        *(
            Group(
                f"failures {part}",
                [asked(n, base, headers, answers=a) for n, a in list(FAILURES.items())[part::3]],
            )
            for part in range(3)
        ),
    ]


def with_options() -> list[Group]:
    """Some of everything, for bridges with other options and behind other versions of Ollama."""
    some = [
        *(asked(name, BASE | change, EDITOR) for name, change in list(CHANGES.items())[::9]),
        *(asked(name, BASE, SDK, answers=[steps]) for name, steps in list(ANSWERS.items())[::15]),
    ]
    options: dict[str, Sequence[str]] = {
        **{profile: ["--tool-profile", profile] for profile in ("compact", "full")},
        "whole answers": ["--upstream-stream", "off"],
        "no directives": ["--no-directives"],
        "no repair": ["--no-repair"],
        "no guard": ["--no-context-guard"],
    }
    versions = ("0.9.0", "0.12.0", "0.20.0")
    busy = [asked("busy", BASE, CODEX_CLI, answers=[[Refuse(503, "server busy")]])]
    return [
        *(Group(name, some, flags) for name, flags in options.items()),
        *(Group(f"Ollama {v}", some, fake={"version": v}) for v in versions),
        Group("unloaded", some[:9], fake={"loaded": False, "default_context": 16384}),
        Group("routes", ROUTES),
        Group("key", ROUTES, ["--api-key", "secret"]),
        Group(
            "small bodies",
            [asked("sdk", BASE, SDK), asked("codex", BASE, CODEX_CLI)],
            ["--max-body-size", "1024"],
        ),
        Group("busy", busy),
        Group("down", [asked("down", BASE, CODEX_CLI)], is_down=True),
    ]


def drawn(strategy: st.SearchStrategy[Any], number: int, start: int) -> list[Any]:
    """`number` examples of a strategy, always the same ones for the same seed `start`."""
    examples: list[Any] = []

    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @seed(start)
    @given(strategy)
    def collect(example: Any) -> None:
        examples.append(example)

    collect()
    return examples[:number]


def generated() -> list[Group]:
    """Random requests, random answers, and answers of random bytes."""
    objects = st.dictionaries(fuzzing.keys, fuzzing.values, max_size=3)
    # No JSON that is nested very deeply: the fake itself cannot write that.
    written = fuzzing.texts | objects.map(lambda value: orjson.dumps(value).decode())
    pieces = st.lists(written, min_size=1, max_size=3).map(tuple)
    step = (
        st.builds(Say, fuzzing.texts)
        | st.builds(Think, fuzzing.texts)
        | st.builds(Call, fuzzing.names, objects)
        | st.builds(Fragments, fuzzing.names, pieces)
    )
    ends = st.sampled_from([[], [], [], [Finish("length")], [Finish("tool_calls")]])
    answers = st.tuples(st.lists(step, min_size=1, max_size=4), ends).map(lambda s: s[0] + s[1])
    raw = st.builds(Bytes, fuzzing.sse, fuzzing.lines)
    request: Callable[..., Exchange] = partial(asked, headers=CODEX_CLI)
    return [
        Group(
            "random requests",
            [
                request(f"random request {n}", body, answers=[answer])
                for n, (body, answer) in enumerate(
                    drawn(st.tuples(fuzzing.requests, answers), 100, 1)
                )
            ],
        ),
        Group(
            "random answers",
            [
                request(f"random answer {n}", BASE | {"stream": n % 3 > 0}, answers=[answer])
                for n, answer in enumerate(drawn(answers, 100, 2))
            ],
        ),
        Group(
            "random bytes",
            [
                request(f"random bytes {n}", BASE, answers=[[found, Die("close")], DONE])
                for n, found in enumerate(drawn(raw, 24, 9))
            ],
        ),
    ]


def corpus() -> list[Group]:
    """All groups. Their names differ, and those of the exchanges in each."""
    clients: dict[str, tuple[Json, bool, int]] = {
        "codex": (CODEX_CLI, True, 1),
        "sdk": (SDK, False, 2),
    }
    by_hand: Iterable[Group] = (
        evolve(group, name=f"{client}, {group.name}")
        for client, options in clients.items()
        for group in written_by_hand(*options)
    )
    streamed = [
        asked(name, BASE, SDK, answers=[steps]) for name, steps in list(ANSWERS.items())[::4]
    ]
    refused = [asked(name, body, SDK, answers=[DONE]) for name, body in list(BAD.items())[::2]]
    groups = [
        *by_hand,
        Group("sdk, streams", [*streamed, *refused]),
        *with_options(),
        *generated(),
    ]
    return [part for group in groups for part in parts(group)]


def parts(group: Group) -> list[Group]:
    """The group in parts that are short enough for one bridge, even on a busy machine."""
    ends = range(0, len(group.exchanges), PART)
    return [
        evolve(
            group,
            name=f"{group.name} {start // PART}" if len(ends) > 1 else group.name,
            exchanges=group.exchanges[start : start + PART],
        )
        for start in ends
    ]


def digest(group: Group) -> str:
    """Tells one group from another of the same name."""
    return hashlib.sha256(repr(group).encode()).hexdigest()[:16]

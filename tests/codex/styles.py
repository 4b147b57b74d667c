"""Styles in which models write calls as text, and get their arguments and names wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.codex.scenario import Json, Style
from tests.fake_ollama import Answer, Fragments, Say

Writer = Callable[[str, Json], str]
BAR = "\uff5c"
"""The character that deepseek's marks have in place of a vertical line."""
PIECE = 7
"""Characters of a delta: shorter than every mark and call."""


def pieces(text: str) -> tuple[str, ...]:
    return tuple(text[n : n + PIECE] for n in range(0, len(text), PIECE))


def leaked(write: Writer) -> Style:
    """A call as text in a complete answer."""

    def style(function: str, arguments: Json) -> Answer:
        text = write(function, arguments)
        return [Say(text, pieces(text))]

    return style


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _plain(value: Any) -> str:
    """A string as it is, all else as JSON."""
    return value if isinstance(value, str) else _dump(value)


def _object(function: str, arguments: Json, key: str = "arguments") -> str:
    return _dump({"name": function, key: arguments})


def hermes(function: str, arguments: Json) -> str:
    return f"<tool_call>\n{_object(function, arguments)}\n</tool_call>"


def hermes_open(function: str, arguments: Json) -> str:
    return f"<tool_call>\n{_object(function, arguments)}"


def fence(function: str, arguments: Json) -> str:
    return f"```json\n{_object(function, arguments)}\n```"


def bare(function: str, arguments: Json) -> str:
    return _object(function, arguments)


def bare_parameters(function: str, arguments: Json) -> str:
    return f"I'll do that: {_object(function, arguments, 'parameters')}"


def qwen_coder(function: str, arguments: Json) -> str:
    parts = [f"<parameter={key}>\n{_plain(v)}\n</parameter>\n" for key, v in arguments.items()]
    return f"<function={function}>\n{''.join(parts)}</function>\n</tool_call>"


def mistral(function: str, arguments: Json) -> str:
    return f"[TOOL_CALLS]{function}[ARGS]{_dump(arguments)}"


def mistral_list(function: str, arguments: Json) -> str:
    return f"[TOOL_CALLS] [{_object(function, arguments)}]"


def llama(function: str, arguments: Json) -> str:
    return f"<|python_tag|>{_object(function, arguments, 'parameters')}"


def deepseek(function: str, arguments: Json) -> str:
    call = f"function{_deep('sep')}{function}\n```json\n{_dump(arguments)}\n```"
    call = f"{_deep('call▁begin')}{call}{_deep('call▁end')}"
    return f"{_deep('calls▁begin')}{call}{_deep('calls▁end')}"


def _deep(mark: str) -> str:
    return f"<{BAR}tool▁{mark}{BAR}>"


def kimi(function: str, arguments: Json) -> str:
    call = f"functions.{function}:0<|tool_call_argument_begin|>{_dump(arguments)}"
    call = f"<|tool_call_begin|>{call}<|tool_call_end|>"
    return f"<|tool_calls_section_begin|>{call}<|tool_calls_section_end|>"


def kimi_plain(function: str, arguments: Json) -> str:
    return f"functions.{function}:0 {_dump(arguments)}"


def harmony(function: str, arguments: Json) -> str:
    head = f"<|channel|>commentary to=functions.{function} <|constrain|>json"
    return f"{head}<|message|>{_dump(arguments)}<|call|>"


def gemma(function: str, arguments: Json) -> str:
    parts = ",".join(f"{key}:{_gemma(value)}" for key, value in arguments.items())
    return f"<start_function_call>call:{function}{{{parts}}}<end_function_call>"


def _gemma(value: Any) -> str:
    if isinstance(value, str):
        return f"<escape>{value}<escape>"
    if isinstance(value, list):
        return f"[{','.join(_gemma(entry) for entry in value)}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_gemma(entry)}' for key, entry in value.items())}}}"
    return _dump(value)


def invoke(function: str, arguments: Json) -> str:
    parts = [f'<parameter name="{key}">{_plain(v)}</parameter>\n' for key, v in arguments.items()]
    call = f'<invoke name="{function}">\n{"".join(parts)}</invoke>'
    return f"<function_calls>\n{call}\n</function_calls>"


LEAKED: tuple[Writer, ...] = (
    hermes,
    hermes_open,
    fence,
    bare,
    bare_parameters,
    qwen_coder,
    mistral,
    mistral_list,
    llama,
    deepseek,
    kimi,
    kimi_plain,
    harmony,
    gemma,
    invoke,
)


def named_function(function: str, arguments: Json) -> str:
    parts = [f'<parameter name="{key}">{_plain(v)}</parameter>\n' for key, v in arguments.items()]
    return f'<function name="{function}">\n{"".join(parts)}</function>'


def dsml(function: str, arguments: Json) -> str:
    mark = f"{BAR}DSML{BAR}"
    parts = [
        f'<{mark}parameter name="{key}" string="true">{_plain(v)}</{mark}parameter>\n'
        for key, v in arguments.items()
    ]
    call = f'<{mark}invoke name="{function}">\n{"".join(parts)}</{mark}invoke>'
    return f"<{mark}function_calls>\n{call}\n</{mark}function_calls>"


def _python(function: str, arguments: Json) -> str:
    return f"{function}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def lfm(function: str, arguments: Json) -> str:
    return f"<|tool_call_start|>[{_python(function, arguments)}]<|tool_call_end|>"


def olmo(function: str, arguments: Json) -> str:
    return f"<function_calls>\n{_python(function, arguments)}\n</function_calls>"


def tool_code(function: str, arguments: Json) -> str:
    return f"```tool_code\n{_python(function, arguments)}\n```"


def nemotron(function: str, arguments: Json) -> str:
    return f"<TOOLCALL>[{_object(function, arguments)}]</TOOLCALL>"


def cohere(function: str, arguments: Json) -> str:
    call = {"tool_call_id": "0", "tool_name": function, "parameters": arguments}
    return f"<|START_ACTION|>[{_dump(call)}]<|END_ACTION|>"


def phi(function: str, arguments: Json) -> str:
    return f"functools[{_object(function, arguments)}]"


def end_mark(function: str, arguments: Json) -> str:
    return f"{_object(function, arguments)}</s>"


def _prefixed(prefix: str, function: str, arguments: Json) -> str:
    parts = [
        f'<{prefix}parameter name="{key}">{_plain(v)}</{prefix}parameter>\n'
        for key, v in arguments.items()
    ]
    call = f'<{prefix}invoke name="{function}">\n{"".join(parts)}</{prefix}invoke>'
    return f"<{prefix}function_calls>\n{call}\n</{prefix}function_calls>"


def prefixed_invoke(function: str, arguments: Json) -> str:
    return _prefixed("antml:", function, arguments)


def glimmer(function: str, arguments: Json) -> str:
    head = f"<|start|>assistant to={function}.{function}<|message|>"
    return f"{head}{_prefixed('atem:', function, arguments)}<|eom|>"


def jamba(function: str, arguments: Json) -> str:
    return f"<tool_calls>[{_object(function, arguments)}]</tool_calls>"


def seed(function: str, arguments: Json) -> str:
    parts = [f"<parameter={key}>{_plain(v)}</parameter>\n" for key, v in arguments.items()]
    return (
        f"<seed:tool_call>\n<function={function}>\n{''.join(parts)}</function>\n</seed:tool_call>"
    )


def fence_inside(function: str, arguments: Json) -> str:
    return f"<function={function}>\n```json\n{_dump(arguments)}\n```\n</function>"


def message(function: str, arguments: Json) -> str:
    call = {"type": "function", "function": {"name": function, "arguments": arguments}}
    return _dump({"tool_calls": [call]})


def with_result(function: str, arguments: Json) -> str:
    result = "<tool_response>\nno such file\n</tool_response>\nThe file is not there."
    return f"{hermes(function, arguments)}\n{result}"


LATER: tuple[Writer, ...] = (
    named_function, dsml, lfm, olmo, tool_code, nemotron, cohere, phi, end_mark, prefixed_invoke,
    glimmer, jamba, seed, fence_inside, message, with_result,
)  # fmt: skip
"""Forms that came with the families of 2025 and 2026."""
MARKS = ("tool_call", "<function", "<invoke", "TOOL_CALLS", "<|", f"<{BAR}", "functions.", "call:")
"""The parts of these styles that must never reach the user."""


def argued(change: Callable[[Json], str]) -> Style:
    """A proper call with arguments as `change` writes them, in pieces."""
    return lambda function, arguments: [Fragments(function, pieces(change(arguments)))]


def with_keys(**changes: Any) -> Style:
    """A proper call with some arguments changed or added."""
    return argued(lambda arguments: _dump(arguments | changes))


def renamed_key(right: str, wrong: str) -> Style:
    """A proper call with an argument under another name."""
    return argued(
        lambda arguments: _dump(
            {wrong if key == right else key: value for key, value in arguments.items()}
        )
    )


def with_input(change: Callable[[str], str]) -> Style:
    """A proper call of a freeform tool with its text changed."""
    return argued(lambda arguments: _dump({"input": change(arguments["input"])}))


def named(change: Callable[[str], str]) -> Style:
    """A proper call of a function whose name `change` writes."""
    return lambda function, arguments: [Fragments(change(function), (_dump(arguments),))]

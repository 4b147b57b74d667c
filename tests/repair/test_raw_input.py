"""Freeform tools: the raw text inside whatever a model put around it."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.repair.raw_input import raw_input, strict_raw_input
from codex_bridge.tools.declarations import Tool, declared
from tests.tools.declared import CODE, PATCH, VALID_PATCH

(PATCH_TOOL,) = declared([PATCH])
(CODE_TOOL,) = declared([CODE])
JS = 'const r = await tools.exec_command({cmd: "ls"});\ntext(r.output + "\\n");'
UNQUOTED = VALID_PATCH.replace('"', "'")
NUMBERED = VALID_PATCH.replace("@@ def", "@@ -1,2 +1,2 @@ def")
AS_WORDS = orjson.dumps({"command": ["apply_patch", VALID_PATCH]}).decode()


def wrapped(text: str, key: str = "input") -> str:
    return orjson.dumps({key: text}).decode()


@pytest.mark.parametrize(
    ("tool", "arguments", "text", "steps"),
    [
        (PATCH_TOOL, wrapped(VALID_PATCH), VALID_PATCH, []),
        (PATCH_TOOL, wrapped(VALID_PATCH, "patch"), VALID_PATCH, ["input key"]),
        (PATCH_TOOL, VALID_PATCH, VALID_PATCH, ["bare input"]),
        (PATCH_TOOL, orjson.dumps(VALID_PATCH).decode(), VALID_PATCH, ["bare input"]),
        (PATCH_TOOL, wrapped(wrapped(VALID_PATCH)), VALID_PATCH, ["double encoding"]),
        (PATCH_TOOL, f'{{"input": "{UNQUOTED}"}}', UNQUOTED, ["raw newline"]),
        (PATCH_TOOL, wrapped(f"```\n{VALID_PATCH}```"), VALID_PATCH, ["patch"]),
        (PATCH_TOOL, wrapped(VALID_PATCH.replace("\n", "\\n")), VALID_PATCH, ["double escape"]),
        (PATCH_TOOL, wrapped(f"apply_patch <<'EOF'\n{VALID_PATCH}EOF"), VALID_PATCH, ["patch"]),
        (PATCH_TOOL, wrapped(NUMBERED), VALID_PATCH, ["patch"]),
        (PATCH_TOOL, AS_WORDS, VALID_PATCH, ["input key"]),
        (PATCH_TOOL, wrapped("no patch at all"), "no patch at all", []),
        (CODE_TOOL, wrapped(JS), JS, []),
        (CODE_TOOL, JS, JS, ["bare input"]),
        (CODE_TOOL, "'use strict'; a()", "'use strict'; a()", ["bare input"]),
        (CODE_TOOL, '"use strict"; a()', '"use strict"; a()', ["bare input"]),
        (CODE_TOOL, "[1, 2].map(a)", "[1, 2].map(a)", ["bare input"]),
        (CODE_TOOL, wrapped(f"```js\n{JS}\n```"), JS, ["fence"]),
        (CODE_TOOL, wrapped(JS, "code"), JS, ["input key"]),
        (CODE_TOOL, wrapped('text("a\\nb")'), 'text("a\\nb")', []),
        (CODE_TOOL, wrapped("a()\\nb()"), "a()\nb()", ["double escape"]),
        (CODE_TOOL, wrapped("a(b.split(/\\r?\\n/))"), "a(b.split(/\\r?\\n/))", []),
        (PATCH_TOOL, orjson.dumps({"input": [*VALID_PATCH.splitlines(), ""]}).decode(), VALID_PATCH,
         ["input key"]),
        (CODE_TOOL, wrapped('{"a": 1}'), '{"a": 1}', []),
        (CODE_TOOL, wrapped('{"input": 5}'), '{"input": 5}', []),
        (CODE_TOOL, wrapped('{"input": "a", "b": 1}'), '{"input": "a", "b": 1}', []),
        (CODE_TOOL, wrapped('["input"]'), '["input"]', []),
        (CODE_TOOL, wrapped("{a}"), "{a}", []),
        (CODE_TOOL, '{"input": "a()", "more": 1}', "a()", []),
        (CODE_TOOL, "{'input': 'a()'}", "a()", ["single quotes"]),
        (CODE_TOOL, "{'input': '{\"input\": \"a()\"}'}", "a()",
         ["single quotes", "double encoding"]),
        (CODE_TOOL, '{"a": "b()", "c": 1}', '{"a": "b()", "c": 1}', ["bare input"]),
        (CODE_TOOL, '{"a": 5}', '{"a": 5}', ["bare input"]),
        (CODE_TOOL, '{"a": []}', '{"a": []}', ["bare input"]),
        (CODE_TOOL, '{"a": ["b()", 5]}', '{"a": ["b()", 5]}', ["bare input"]),
        (CODE_TOOL, '{"a": ["b()", "c()"]}', "b()\nc()", ["input key"]),
        (CODE_TOOL, '{"a": ["apply_patch", "x", "c()"]}', "c()", ["input key"]),
        (CODE_TOOL, "{'code': 'a()'}", "a()", ["input key", "single quotes"]),
        (CODE_TOOL, '"a()"', "a()", ["bare input"]),
        (CODE_TOOL, '"\\"a()\\""', "a()", ["bare input", "double encoding"]),
        (CODE_TOOL, "'a()'", "'a()'", ["bare input"]),
        (CODE_TOOL, "5", "5", ["bare input"]),
        (CODE_TOOL, wrapped("  ```\na()\nb()\n```\n"), "a()\nb()", ["fence"]),
        (CODE_TOOL, wrapped("```c++ \na()```"), "a()", ["fence"]),
        (CODE_TOOL, wrapped("```js a()```"), "```js a()```", []),
        (CODE_TOOL, wrapped('a(\\"x\\");\\n\\tb()\\r\\n\\\\c'), 'a("x");\n\tb()\n\\c',
         ["double escape"]),
        (CODE_TOOL, wrapped("a(`\\n`)\\nb"), "a(`\n`)\nb", ["double escape"]),
        (CODE_TOOL, wrapped("a(`\\n`, '\\n', \"\\n\")"), "a(`\\n`, '\\n', \"\\n\")", []),
        (CODE_TOOL, wrapped("a('x\\'\\n')"), "a('x\\'\\n')", []),
        (CODE_TOOL, wrapped("a()\\tb()"), "a()\\tb()", []),
        (CODE_TOOL, wrapped("a()\\n\nb()"), "a()\\n\nb()", []),
        (PATCH_TOOL, wrapped("no\\npatch"), "no\\npatch", []),
    ],
)  # fmt: skip
def test_the_text_is_found(tool: Tool, arguments: str, text: str, steps: list[str]) -> None:
    assert raw_input(arguments, tool) == (text, steps)


def test_without_repair_only_our_own_wrapping_goes() -> None:
    fenced = f"```js\n{JS}\n```"
    assert strict_raw_input(wrapped(fenced)) == fenced
    for other in (JS, '{"text": "x"}', '{"input": 5}', "[1]"):
        assert strict_raw_input(other) == other


@given(st.text(max_size=60))
def test_a_text_of_several_lines_comes_back_as_it_is(text: str) -> None:
    text = f"first\n{text}\nlast"
    assert raw_input(wrapped(text), CODE_TOOL) == (text, [])

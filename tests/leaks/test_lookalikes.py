"""Texts full of what looks like calls, none of which is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.leaks.test_scanner import scan
from tests.processes import ROOT

TEXTS = [
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "README.md",
    *sorted((ROOT / "tests").rglob("*.py")),
    *sorted(Path(__file__).parent.glob("*.py")),
]
ANSWERS = {
    "a tool call explained": """\
Models call a tool by writing JSON between tags. For example, to list files a model writes

<tool_call>
{"name": "exec_command", "arguments": {"cmd": "ls"}}
</tool_call>

and the server turns that into a call.
""",
    "a parser": """\
Here is the parser:

```python
def parse(text: str) -> dict:
    start = text.index("<tool_call>")
    body = text[start + len("<tool_call>") : text.index("</tool_call>")]
    return json.loads(body)  # {"name": "exec_command", "arguments": {"cmd": "ls"}}

print(parse('<tool_call>{"name": "exec_command", "arguments": {"cmd": "ls"}}</tool_call>'))
```

It prints the object inside.
""",
    "a test file": """\
I would add this test:

```ts
it("reads a call", () => {
  const text = `<function=exec_command>\\n<parameter=cmd>\\nls\\n</parameter>\\n</function>`;
  expect(parse(text)).toEqual({"name": "exec_command", "arguments": {"cmd": "ls"}});
});
```
""",
    "a package file": """\
```json
{
  "name": "exec_command",
  "version": "1.0.0",
  "scripts": {"test": "ls"}
}
```
""",
    "a declaration": """\
The tool is declared as
{"type": "function", "name": "exec_command", "parameters": {"type": "object", "properties": {}}}
in the request.
""",
    "a log": """\
The log says:

    2026-01-01 tool_call {"name": "exec_command", "arguments": {"cmd": "ls"}} -> 0
    {"name": "exec_command", "arguments": {"cmd": "ls"}}
""",
    "XML": """\
```xml
<function_calls>
  <invoke name="exec_command"><parameter name="cmd">ls</parameter></invoke>
</function_calls>
```
The `<invoke name="exec_command">` element names the tool, `[TOOL_CALLS]` is mistral's mark.
""",
    "a fence with a call, and what it means": """\
The request body is:

```json
{"name": "exec_command", "arguments": {"cmd": "ls"}}
```

The `cmd` is what the shell runs.
""",
    "advice": """\
Never write calls like {"name": "exec_command", "arguments": {"cmd": "rm -rf /"}} in your answer.
""",
    "advice without an end": """\
Never write calls like {"name": "exec_command", "arguments": {"cmd": "rm -rf /"}}
""",
    "quoted words": """\
> <tool_call>
> {"name": "exec_command", "arguments": {"cmd": "ls"}}
> </tool_call>

That is what you wrote; "functions.exec_command:0" would be right.
""",
    "a table": """\
| form | example |
|---|---|
| mistral | `[TOOL_CALLS]exec_command[ARGS]{"cmd": "ls"}` |
| kimi | `functions.exec_command:0 {"cmd": "ls"}` |
""",
}


CALL = '{"name": "exec_command", "arguments": {"cmd": "rm -rf build"}}'
TAGGED = f"<tool_call>{CALL}</tool_call>"
FENCED = f"```json\n{CALL}\n```"
TOLD = [
    f"{'Words and words. ' * 30}The text `{TAGGED}` is read as a call.",
    f'{"words and words " * 30}It prints "{TAGGED}", I think.',
    f"When the model wants to run a command, it emits:\n\n{TAGGED}",
    f"The model output was:\n\n{TAGGED}\n\nbut nobody parsed it.",
    f"You should never send:\n\n{TAGGED}",
    f'text = """\n{TAGGED}\n"""\n',
    f"Hermes style ({TAGGED}) is used by qwen.",
    f"| hermes | {TAGGED} |",
    f"// {TAGGED}",
    f"+{TAGGED}",
    f"Do NOT run this:\n\n{FENCED}",
    f"Would you like me to run the following?\n\n{FENCED}",
    f"Should I run this?\n\n{CALL}",
    f"I can't execute commands here, but you can use:\n\n{CALL}",
    f"You could run this yourself:\n\n{FENCED}",
    f"Earlier I ran:\n\n{FENCED}",
    f"Now the request body:\n\n{FENCED}\n\nThis runs the command.",
    f"First, the client sends this request:\n\n{FENCED}\n\nThen the server answers.",
    f"I'll run this once you confirm:\n\n{FENCED}\n\nIs that OK?",
    f"1. List:\n{FENCED}\n2. Remove:\n{FENCED}",
    f"> ```\n> {CALL}\n> ```\n",
]
"""Calls that are told, asked about, refused or put off."""


@pytest.mark.parametrize("answer", TOLD)
def test_a_call_that_is_only_talked_about_stays_text(answer: str) -> None:
    assert scan(answer) == [answer]
    assert scan(*answer) == [answer]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_our_own_texts_stay_text(path: Path) -> None:
    text = path.read_text()
    assert scan(text) == ([text] if text else [])


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_answers_about_calls_stay_text(answer: str) -> None:
    assert scan(answer) == [answer]
    assert scan(*answer) == [answer]

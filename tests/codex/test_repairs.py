"""Calls whose arguments or names came out wrong, repaired before the real Codex CLI runs them."""

from __future__ import annotations

import json
import shlex
from itertools import pairwise

import pytest
import pytest_twisted
from attrs import evolve

from codex_bridge.tools.freeform import PATCH_EXAMPLE
from tests.codex import walk
from tests.codex.conftest import run
from tests.codex.program import NEEDS_CLI, OLDEST_AND_NEWEST, Codex
from tests.codex.scenario import Chat, Json, Scenario, Step, Style
from tests.codex.styles import (
    LATER,
    MARKS,
    argued,
    leaked,
    named,
    renamed_key,
    with_input,
    with_keys,
)
from tests.conftest import Start
from tests.fake_ollama import Call, Playlist, Say

pytestmark = NEEDS_CLI


def _single_quotes(arguments: Json) -> str:
    return repr(arguments)


def _python(arguments: Json) -> str:
    return json.dumps(arguments).replace("true", "True").replace("false", "False")


def _trailing_comma(arguments: Json) -> str:
    return json.dumps(arguments)[:-1] + ",}"


def _raw_newline(arguments: Json) -> str:
    return json.dumps(arguments).replace("\\n", "\n")


def _fenced(arguments: Json) -> str:
    return f"```json\n{json.dumps(arguments)}\n```"


def _talkative(arguments: Json) -> str:
    return f"{json.dumps(arguments)}\nThis writes the file."


def _twice(arguments: Json) -> str:
    return json.dumps(json.dumps(arguments))


def _open(arguments: Json) -> str:
    return json.dumps(arguments)[:-1]


def _without_brace(arguments: Json) -> str:
    return json.dumps(arguments)[1:]


def _commented(arguments: Json) -> str:
    return json.dumps(arguments)[:-1] + " // done\n}"


def _curly(arguments: Json) -> str:
    return "{" + ", ".join(f"\u201c{k}\u201d: {json.dumps(v)}" for k, v in arguments.items()) + "}"


def _escaped_apostrophe(arguments: Json) -> str:
    return json.dumps(arguments).replace("'", "\\'")


def _wrapped(key: str) -> Style:
    return argued(lambda arguments: json.dumps({key: arguments}))


COMMANDS: dict[str, Style] = {
    "single quotes": argued(_single_quotes),
    "Python literals": argued(_python),
    "trailing comma": argued(_trailing_comma),
    "raw newline": argued(_raw_newline),
    "code fence": argued(_fenced),
    "text behind": argued(_talkative),
    "encoded twice": argued(_twice),
    "no last brace": argued(_open),
    "no first brace": argued(_without_brace),
    "wrong bracket": argued(lambda arguments: json.dumps(arguments)[:-1] + "]"),
    "comment": argued(_commented),
    "curly quotes": argued(_curly),
    "apostrophe's escape": argued(_escaped_apostrophe),
    "in kwargs": _wrapped("kwargs"),
    "in properties": _wrapped("properties"),
    "script for cmd": renamed_key("cmd", "script"),
    "number with underscores": argued(
        lambda arguments: json.dumps(arguments).replace("30000", "30_000")
    ),
    "number as string": with_keys(yield_time_ms="30000"),
    "fraction for an integer": with_keys(yield_time_ms=30000.0),
    "null for an optional": with_keys(workdir=None, sandbox_permissions=None),
    "command for cmd": renamed_key("cmd", "command"),
    "functions": named(lambda name: f"functions.{name}"),
    "brackets": named(lambda name: f"{name}()"),
    "upper case": named(str.upper),
    "dashes": named(lambda name: name.replace("_", "-")),
    "shell": named(lambda name: "shell"),
    "bash": named(lambda name: "bash"),
    "container.exec": named(lambda name: "container.exec"),
}
"""Mistakes in a call of exec_command that leave no doubt about the right call."""
PATCHES: dict[str, Style] = {
    "bare": argued(lambda arguments: str(arguments["input"])),
    "other key": renamed_key("input", "patch"),
    "fenced": with_input(lambda patch: f"```diff\n{patch}```"),
    "heredoc": with_input(lambda patch: f"apply_patch <<'EOF'\n{patch}EOF"),
    "escaped": with_input(lambda patch: patch.replace("\n", "\\n")),
    "no end": with_input(lambda patch: patch.replace("*** End Patch\n", "")),
    "stars": with_input(lambda patch: patch.replace(" Patch\n", " Patch ***\n")),
    "no spaces": with_input(lambda patch: patch.replace("*** Begin", "***Begin")),
    "create": with_input(lambda patch: patch.replace("*** Add File", "*** Create File")),
    "a diff": with_input(
        lambda patch: (
            patch.replace("*** Add File: ", "--- /dev/null\n+++ b/")
            .replace(".txt\n", ".txt\n@@ -0,0 +1,2 @@\n")
            .replace("*** Begin Patch\n", "")
            .replace("*** End Patch\n", "")
        )
    ),
    "block": with_input(
        lambda patch: (
            patch.replace("*** Add File: ", "")
            .replace(".txt\n", ".txt\n<<<<<<< SEARCH\n=======\n")
            .replace("*** End Patch\n", ">>>>>>> REPLACE\n")
            .replace("*** Begin Patch\n", "")
            .replace("\n+", "\n")
        )
    ),
    "no pluses": with_input(lambda patch: patch.replace("\n+", "\n")),
}
"""Mistakes in the patch of apply_patch, or in its wrapping."""
NAMES: dict[str, Style] = {
    "a dot": named(lambda name: ".".join(name.rsplit("__", 1))),
    "a slash": named(lambda name: "/".join(name.rsplit("__", 1))),
    "no namespace": named(lambda name: name.rsplit("__", 1)[1]),
}
"""Wrong names of a function that has a namespace."""


def _command(mistake: str, style: Style) -> Step:
    """A command of two lines that writes a file named after the mistake."""
    file = shlex.quote(f"{mistake}.txt")
    cmd = f"echo one > {file}\necho two >> {file}; echo $((40+2))"
    arguments: Json = {"cmd": cmd, "tty": False, "yield_time_ms": 30000}
    leaves = {f"{mistake}.txt": "one\ntwo\n"}
    return Step("exec_command", arguments, "42", style=style, leaves=leaves)


def _patch(mistake: str, style: Style) -> Step:
    """A patch that adds a file named after the mistake."""
    patch = f"*** Begin Patch\n*** Add File: {mistake}.txt\n+one\n+two\n*** End Patch\n"
    leaves = {f"{mistake}.txt": "one\ntwo\n"}
    # The repaired patch has the same effect, but not the same spaces.
    return Step("apply_patch", {"input": patch}, "Success", style=style, exact=False, leaves=leaves)


async def _repaired(start: Start, codex: Codex, steps: list[Step], **settings: str) -> str:
    """Let a model take `steps`, whose styles contain mistakes; each step has its effect.

    Returns what the user saw.
    """
    walk.prepare(codex.folder)
    model = Scenario(steps)
    setup = await start(model, **settings)
    done = await run(codex, setup, *walk.settings(codex.folder), walk.TASK)
    model.verify(setup.fake.turns)
    assert done.code == 0, done.output
    assert walk.left(codex.folder) == {"notes.txt": walk.NOTES} | model.leaves
    return done.output


@pytest_twisted.ensureDeferred
async def test_commands_with_mistakes_run(start: Start, codex: Codex) -> None:
    steps = [_command(mistake, style) for mistake, style in COMMANDS.items()]
    # Only chat completions carry arguments that are no JSON object.
    await _repaired(start, codex, steps, upstream_api="chat")


@pytest_twisted.ensureDeferred
async def test_patches_with_mistakes_apply(start: Start, codex: Codex) -> None:
    steps = [_patch(mistake, style) for mistake, style in PATCHES.items()]
    await _repaired(start, codex, steps, upstream_api="chat")


def _other(name: str, result: str = "", leaves: Json | None = None, **arguments: str) -> Step:
    """A call of a tool that only other agents have."""
    is_patch = name in {"write_file", "edit_file", "str_replace_editor"}
    return Step(
        "apply_patch" if is_patch else "exec_command",
        {},
        result,
        style=lambda function, _: [Call(name, arguments)],
        exact=False,
        leaves=leaves or {},
    )


@pytest.mark.parametrize("codex", OLDEST_AND_NEWEST, indirect=True)
@pytest_twisted.ensureDeferred
async def test_tools_of_other_agents_do_what_they_do_there(start: Start, codex: Codex) -> None:
    written = {"a b.txt": "one $HOME\ntwo\n"}
    steps = [
        _other("write_file", leaves=written, path="a b.txt", content=written["a b.txt"]),
        _other("read_file", "one $HOME\ntwo", path="a b.txt"),
        _other("list_dir", "a b.txt", path="."),
        _other("grep_search", "a b.txt:2:two", query="two"),
        _other("edit_file", path="a b.txt", old_string="one $HOME", new_string="three"),
        _other(
            "str_replace_editor",
            "M a b.txt",
            {"a b.txt": "three\n2\n"},
            command="str_replace",
            path="a b.txt",
            old_str="two\n",
            new_str="2\n",
        ),
    ]
    await _repaired(start, codex, steps)


@pytest.mark.parametrize("is_freeform", [True, False])
@pytest.mark.parametrize("codex", OLDEST_AND_NEWEST, indirect=True)
@pytest_twisted.ensureDeferred
async def test_a_small_model_edits_files_without_patches(
    start: Start, codex: Codex, is_freeform: bool
) -> None:
    """It sees the calls that it made, byte for byte, though Codex ran others."""
    walk.prepare(codex.folder)
    code = 'def greet():\n    name = ask()\n    print("Hi")\n'
    steps = [
        Step("write_file", {"path": "src/app.py", "content": code}),
        Step("write_file", {"path": "odd.txt", "content": "no line end"}),
        Step("read_file", {"path": "src/app.py"}, '    print("Hi")\n'),
        Step(
            "edit_file",
            {
                "path": "src/app.py",
                "old": '    print("Hi")',
                "new": '    if name:\n        print("Hi", name)',
            },
        ),
        # What it wrote itself it need not read again.
        Step(
            "edit_file",
            {"path": "src/app.py", "old": "    if name:", "new": "    if name and True:"},
        ),
        Step("edit_file", {"path": "src/app.py", "old": "no such", "new": "x"}, "No earlier"),
        Step("read_file", {"path": "src/app.py", "start_line": 3, "end_line": 4}, "and True"),
        Step("exec_command", {"cmd": "ls"}, "src"),
    ]
    model = Scenario(steps)
    setup = await start(model, tool_profile="small")
    kind = {} if is_freeform else {"apply_patch_tool_type": None}
    done = await run(codex, setup, *walk.settings(codex.folder, **kind), walk.TASK)
    model.verify(setup.fake.turns)
    assert done.code == 0, done.output
    assert (codex.folder / "src" / "app.py").read_text() == (
        'def greet():\n    name = ask()\n    if name and True:\n        print("Hi", name)\n'
    )
    assert (codex.folder / "odd.txt").read_text() == "no line end"
    assert not any("apply_patch" in name for name in Chat(setup.fake.turns[0].json).functions)


@pytest.mark.parametrize("codex", OLDEST_AND_NEWEST, indirect=True)
@pytest_twisted.ensureDeferred
async def test_commands_in_the_forms_of_later_families_run(start: Start, codex: Codex) -> None:
    steps = [_command(write.__name__, leaked(write)) for write in LATER]
    output = await _repaired(start, codex, steps)
    assert not [mark for mark in MARKS if mark in output]
    assert "not there" not in output


@pytest_twisted.ensureDeferred
async def test_namespaced_tools_run_under_wrong_names(start: Start, codex: Codex) -> None:
    call = Step("reverse_text", {"text": "ab"}, "reversed: ba")
    await _repaired(start, codex, [evolve(call, style=style) for style in NAMES.values()])


@pytest_twisted.ensureDeferred
async def test_lists_and_values_of_wrong_types_are_repaired(start: Start, codex: Codex) -> None:
    right = {"words": ["one"], "times": 2, "loud": True, "more": {"depth": 3}}
    wrong = with_keys(words="one", times="2", loud="true", more={"depth": 3.0}, path=None)
    words = with_keys(cmd=["touch", "words.txt"])
    argv: Json = {"command": ["bash", "-lc", "echo shell > shell.txt; cat shell.txt"]}
    shell = Step(
        "exec_command",
        {},
        "shell",
        style=lambda function, arguments: [Call("shell", argv)],
        exact=False,
        leaves={"shell.txt": "shell\n"},
    )
    listed = with_keys(cmd='["touch", "listed.txt"]')
    patch = "*** Begin Patch\n*** Add File: taught.txt\n+one\n*** End Patch\n"
    taught: Json = {"command": ["apply_patch", patch]}
    steps = [
        Step("exec_command", {"cmd": "touch words.txt"}, style=words, leaves={"words.txt": ""}),
        Step("exec_command", {"cmd": "touch listed.txt"}, style=listed, leaves={"listed.txt": ""}),
        Step(
            "exec_command",
            {},
            style=lambda function, arguments: [Call(function, taught)],
            exact=False,
            leaves={"taught.txt": "one\n"},
        ),
        shell,
        evolve(walk.picture(), style=renamed_key("path", "file_path")),
        Step("show_arguments", right, check=walk.arrived(right), style=wrong),
    ]
    await _repaired(start, codex, steps)


UPDATES = {
    "as it is shown": PATCH_EXAMPLE,
    "the line behind @@ repeated": PATCH_EXAMPLE.replace(
        "@@ def greet():\n", "@@ def greet():\n def greet():\n"
    ),
    "a diff": (
        "--- a/src/app.py\n+++ b/src/app.py\n@@ -1,3 +1,3 @@\n def greet():\n     name = ask()\n"
        '-    print("Hi")\n+    print("Hello", name)\n'
    ),
    "blocks": (
        "src/app.py\n```python\n<<<<<<< SEARCH\n"
        '    print("Hi")\n=======\n    print("Hello", name)\n>>>>>>> REPLACE\n```\n'
    ),
    "line numbers": PATCH_EXAMPLE.replace("@@ def greet():", "@@ -2,2 +2,2 @@"),
}


NOWHERE = "*** Begin Patch\n*** Update File: notes.txt\n@@\n-nothing\n+x\n*** End Patch\n"
FAILURES: list[tuple[Call, str, str]] = [
    (Call("run_wild", {"a": 1}), "unsupported call: run_wild", "The functions are: exec_command,"),
    (Call("exec_command", {"workdir": "."}), "missing field `cmd`", 'have this form: {"cmd":"…"}'),
    (Call("apply_patch", {"input": NOWHERE}), "Failed to find expected lines", "Copy them exactly"),
    (Call("apply_patch", {"input": "*** Begin Patch\nx"}), "invalid", "*** Update File: src/app"),
]
"""A call, what Codex says of it, and what the bridge adds."""


@pytest.mark.parametrize("codex", OLDEST_AND_NEWEST, indirect=True)
@pytest_twisted.ensureDeferred
async def test_behind_a_failure_the_model_reads_the_right_form(start: Start, codex: Codex) -> None:
    walk.prepare(codex.folder)
    answers = [[failing] for failing, _, _ in FAILURES]
    setup = await start(Playlist(*answers, [Say("I give up.")]))
    done = await run(codex, setup, *walk.settings(codex.folder), walk.TASK)
    assert done.code == 0, done.output
    chats = [Chat(turn.json) for turn in setup.fake.turns]
    for told, (_, failure, form) in zip(chats[-1].results, FAILURES, strict=True):
        assert failure in told
        assert form in told
    for before, after in pairwise(chats):
        messages = before.request["messages"]
        assert after.request["messages"][: len(messages)] == messages


SLIP = PATCH_EXAMPLE.replace("*** Begin Patch", "***Begin Patch")
COMMANDED: dict[str, tuple[str, ...]] = {
    "a slip in a heredoc": (f"apply_patch <<'EOF'\n{SLIP}\nEOF",),
    "a slip in a folder": (f"cd . && apply_patch <<'EOF'\n{SLIP}\nEOF",),
    "no command at all": (PATCH_EXAMPLE,),
    "a slip in an argument": (f"apply_patch '{SLIP}'",),
    "other white space than in the file": (
        "cat src/app.py",
        "apply_patch <<'EOF'\n"
        + PATCH_EXAMPLE.replace("name = ask()", "name  =  ask()").replace('("Hi")', '( "Hi" )')
        + "\nEOF",
    ),
}
"""Commands that apply a patch with slips, the last of each."""


@pytest.mark.parametrize("codex", OLDEST_AND_NEWEST, indirect=True)
@pytest_twisted.ensureDeferred
async def test_patches_with_slips_in_commands_apply(start: Start, codex: Codex) -> None:
    walk.prepare(codex.folder)
    app = codex.folder / "src" / "app.py"
    app.parent.mkdir()
    code = 'def greet():\n    name = ask()\n    print("Hi")\n'
    restore = f"printf %s {shlex.quote(code)} > src/app.py"
    steps = []
    for commands in COMMANDED.values():
        steps.append(Step("exec_command", {"cmd": restore}))
        for command in commands:
            result = "" if command.startswith("cat") else "M src/app.py"
            steps.append(Step("exec_command", {"cmd": command}, result, exact=False))
    steps.append(Step("exec_command", {"cmd": "cat src/app.py"}, 'print("Hello", name)'))
    model = Scenario(steps)
    setup = await start(model)
    done = await run(codex, setup, *walk.settings(codex.folder), walk.TASK)
    model.verify(setup.fake.turns)
    assert done.code == 0, done.output
    assert app.read_text() == code.replace('"Hi"', '"Hello", name')


@pytest.mark.parametrize("patch", UPDATES.values(), ids=UPDATES)
@pytest.mark.parametrize("codex", OLDEST_AND_NEWEST, indirect=True)
@pytest_twisted.ensureDeferred
async def test_the_patch_that_the_model_is_shown_applies_also_with_slips(
    start: Start, codex: Codex, patch: str
) -> None:
    walk.prepare(codex.folder)
    app = codex.folder / "src" / "app.py"
    app.parent.mkdir()
    app.write_text('def greet():\n    name = ask()\n    print("Hi")\n')
    step = Step("apply_patch", {"input": patch}, "Success", exact=False)
    model = Scenario([step])
    setup = await start(model)
    done = await run(codex, setup, *walk.settings(codex.folder), walk.TASK)
    model.verify(setup.fake.turns)
    assert done.code == 0, done.output
    assert app.read_text() == 'def greet():\n    name = ask()\n    print("Hello", name)\n'

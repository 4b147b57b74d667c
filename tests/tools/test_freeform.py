"""How a freeform tool is explained to the model."""

from __future__ import annotations

from typing import Any

import pytest

from codex_bridge.tools.toolbox import Toolbox

NO_FENCE = "input is the raw text itself: no JSON inside, no code fence."


def description(name: str = "exec", about: str = "", **form: Any) -> str:
    tool = {"type": "custom", "name": name, "description": about, "format": form}
    (entry,) = Toolbox.from_request([tool]).functions()
    text: str = entry["function"]["description"]
    return text


def test_a_freeform_tool_has_one_required_string() -> None:
    (entry,) = Toolbox.from_request([{"type": "custom", "name": "exec"}]).functions()
    assert entry["function"]["parameters"] == {
        "type": "object",
        "properties": {"input": {"type": "string", "description": "The raw text, line by line."}},
        "required": ["input"],
    }


def test_apply_patch_is_explained_by_an_example() -> None:
    assert description("apply_patch", "Freeform.", definition="start: x") == (
        """Edit files with a patch. input is one patch:
*** Begin Patch
*** Update File: src/app.py
@@ def greet():
     name = ask()
-    print("Hi")
+    print("Hello", name)
*** Add File: notes.txt
+first line
*** End Patch
Every line of an update begins with a space (context, copied exactly), - or +. Behind @@ stands one
line above the change, which is not repeated below it, or nothing. No line numbers. Every line of a
new file begins with +. Also: *** Delete File: path, and *** Move to: path after *** Update File.
Paths are relative."""
    )


@pytest.mark.parametrize(
    ("about", "form", "expected"),
    [
        ("Runs JS.", {}, f"Runs JS.\n{NO_FENCE}"),
        ("", {}, NO_FENCE),
        ("Runs. This is a FREEFORM tool. Good.", {}, f"Runs. Good.\n{NO_FENCE}"),
        ("A freeform tool. Runs.", {}, f"Runs.\n{NO_FENCE}"),
        ("Runs. Do not wrap the patch in JSON", {}, f"Runs.\n{NO_FENCE}"),
        ("Runs. It is not JSON!", {}, f"Runs.\n{NO_FENCE}"),
        ("Wait... Runs.\nMore", {}, f"Wait... Runs.\nMore\n{NO_FENCE}"),
        (
            "",
            {"syntax": "regex", "definition": " x+\n"},
            f"{NO_FENCE}\nIt must match this regex grammar:\nx+",
        ),
        ("", {"definition": "x"}, f"{NO_FENCE}\nIt must match this lark grammar:\nx"),
        ("", {"definition": 5}, NO_FENCE),
        (
            "",
            {"definition": "x" * 1500},
            f"{NO_FENCE}\nIt must match this lark grammar:\n{'x' * 1500}",
        ),
        ("", {"definition": "x" * 1501}, NO_FENCE),
    ],
)
def test_other_tools_are_explained_by_description_and_grammar(
    about: str, form: Any, expected: str
) -> None:
    assert description("exec", about, **form) == expected

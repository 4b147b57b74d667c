"""How the model is shown a freeform tool, which takes raw text: as a function of one string."""

from __future__ import annotations

import re

from codex_bridge.tools.declarations import INPUT, Tool
from codex_bridge.vocabulary import Json

PATCH_EXAMPLE = """*** Begin Patch
*** Update File: src/app.py
@@ def greet():
     name = ask()
-    print("Hi")
+    print("Hello", name)
*** Add File: notes.txt
+first line
*** End Patch"""
SHOWN_SCHEMA: Json = {
    "type": "object",
    "properties": {INPUT: {"type": "string", "description": "The raw text, line by line."}},
    "required": [INPUT],
}
PATCH_TOOL = "apply_patch"
PATCH_HELP = f"""Edit files with a patch. input is one patch:
{PATCH_EXAMPLE}
Every line of an update begins with a space (context, copied exactly), - or +. Behind @@ stands one
line above the change, which is not repeated below it, or nothing. No line numbers. Every line of a
new file begins with +. Also: *** Delete File: path, and *** Move to: path after *** Update File.
Paths are relative."""
"""Most patches that Codex refuses have line numbers, or repeat the line behind @@."""
NO_FENCE = "input is the raw text itself: no JSON inside, no code fence."
GRAMMAR_LIMIT = 1500
"""Longest grammar that is shown, in characters."""
SENTENCE = re.compile(r"[^.\n]++\.?\s*+")
ABOUT_FREEFORM = re.compile(r"FREEFORM|freeform|wrap the patch|not JSON")


def explain(tool: Tool) -> str:
    """The description of a freeform tool's function: its format in words, or its grammar."""
    if tool.name == PATCH_TOOL:
        return PATCH_HELP
    description = SENTENCE.sub(
        lambda sentence: "" if ABOUT_FREEFORM.search(sentence[0]) else sentence[0],
        tool.description,
    )
    parts = [description.strip(), NO_FENCE]
    form = tool.format or {}
    definition = form.get("definition")
    if isinstance(definition, str) and len(definition) <= GRAMMAR_LIMIT:
        parts.append(
            f"It must match this {form.get('syntax') or 'lark'} grammar:\n{definition.strip()}"
        )
    return "\n".join(part for part in parts if part)

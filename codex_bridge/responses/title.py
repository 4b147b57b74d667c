"""Codex's request for the title of a conversation, which needs next to nothing of a prompt."""

from __future__ import annotations

from codex_bridge.vocabulary import Json

FORM = "codex_output_schema"


def is_title_request(request: Json) -> bool:
    """Whether Codex's interface asks for a title: no tools, and an answer of just that."""
    text = request.get("text")
    form = text.get("format") if isinstance(text, dict) else None
    if request.get("tools") or not isinstance(form, dict) or form.get("name") != FORM:
        return False
    schema = form.get("schema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return isinstance(properties, dict) and list(properties) == ["title"]


def question_alone(request: Json) -> Json:
    """The same without Codex's instructions, and to be answered without thinking.

    They are some 5,000 tokens that the title does not need. A server that keeps one prompt in
    its cache would have to read those, and then the conversation again from its beginning.
    """
    items = request.get("input")
    if not isinstance(items, list) or not items or not isinstance(items[-1], dict):
        return request
    if items[-1].get("role") != "user":
        return request
    return request | {
        "instructions": None,
        "input": items[-1:],
        "reasoning": {"effort": "none"},
    }

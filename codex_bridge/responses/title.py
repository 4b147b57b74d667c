"""Codex's request for the title of a conversation, which needs none of its instructions."""

from __future__ import annotations

from codex_bridge.vocabulary import Json

FORM = "codex_output_schema"


def is_title_request(request: Json) -> bool:
    """Whether Codex asks for a title: without tools, and with a schema that has only a title."""
    text = request.get("text")
    form = text.get("format") if isinstance(text, dict) else None
    if request.get("tools") or not isinstance(form, dict) or form.get("name") != FORM:
        return False
    schema = form.get("schema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return isinstance(properties, dict) and list(properties) == ["title"]


def question_alone(request: Json) -> Json:
    """The request without Codex's instructions, to be answered without thinking.

    The instructions are some 5,000 tokens that a title does not need. A server that keeps one
    prompt in its cache would read them, and then the whole conversation again.
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

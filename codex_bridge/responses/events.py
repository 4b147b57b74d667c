"""The Responses API's objects and events, one constructor each, and their bytes on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from attrs import field, frozen

from codex_bridge.repair.calls import RepairedCall
from codex_bridge.responses.echo import completed
from codex_bridge.tools.declarations import Kind
from codex_bridge.vocabulary import Json, UsageDelta

STREAM_TYPE = b"text/event-stream; charset=utf-8"


LAST = frozenset({"response.completed", "response.incomplete", "response.failed"})
"""The types of events that end a stream."""
END = b"data: [DONE]\n\n"
"""Stands behind the last event in a stream of server-sent events."""


def frame(event: Json) -> bytes:
    """One server-sent event, whose `event:` line equals its type; the last one with the END."""
    framed = b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))
    return framed + END if event["type"] in LAST else framed


SEALED = "codex-bridge keeps nothing here: the text stands in the summary."
"""`encrypted_content` of reasoning. Clients without a memory send reasoning back only with one."""


@frozen
class ResponseTemplate:
    """What stays the same in every response object of an exchange."""

    id: str
    created_at: int
    """Unix time, seconds."""
    _asked: Json
    """The fields of the client's request that its response objects depend on, see `echoed`."""
    repeat_prompt: bool = True
    """Whether instructions and tools are repeated, too; they are most of a request's bytes."""
    _echo: Json = field(init=False)

    @_echo.default
    def _completed(self) -> Json:
        echo = completed(self._asked)
        return echo if self.repeat_prompt else echo | {"instructions": None, "tools": []}

    @property
    def seals_reasoning(self) -> bool:
        """Whether the client will send reasoning back: it asks for that, or nothing is stored.

        The Vercel AI SDK asks for it only of models whose names are OpenAI's, and sends back only
        what is sealed, whatever the model.
        """
        include = self._asked.get("include")
        is_asked = isinstance(include, list) and "reasoning.encrypted_content" in include
        return is_asked or self._asked.get("store") is False

    def response(self, status: str, output: list[Json], **changes: Any) -> Json:
        """A response object. `changes` are further fields: usage, error and so on."""
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "completed_at": None,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "output": output,
            "usage": None,
            **self._echo,
            **changes,
        }


def usage(counts: UsageDelta) -> Json:
    """Token counts; clients demand every key and whole numbers."""
    return {
        "input_tokens": counts.input_tokens,
        # Of what a server writes to its cache nothing is told.
        "input_tokens_details": {"cached_tokens": counts.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": counts.output_tokens,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning_tokens},
        "total_tokens": counts.input_tokens + counts.output_tokens,
    }


def text_part(text: str, logprobs: Sequence[Json] = ()) -> Json:
    """The one content part of a message; `logprobs` are its tokens with their probabilities."""
    part = {"type": "output_text", "text": text, "annotations": []}
    return part | {"logprobs": list(logprobs)}


def summary_part(text: str) -> Json:
    """The one summary part of a reasoning item."""
    return {"type": "summary_text", "text": text}


def message_item(item_id: str, status: str, content: list[Json]) -> Json:
    """The model's text; `status` is in_progress, completed or incomplete."""
    return {
        "type": "message",
        "id": item_id,
        "status": status,
        "role": "assistant",
        "content": content,
    }


def reasoning_item(
    item_id: str, summary: list[Json], *, is_sealed: bool, is_incomplete: bool = False
) -> Json:
    """The model's reasoning, shown as summary: the one form that Codex shows in every mode.

    `is_sealed`: the client asked for `encrypted_content`. `is_incomplete`: the thought was cut.
    """
    item: Json = {"type": "reasoning", "id": item_id, "summary": summary}
    if is_sealed:
        item["encrypted_content"] = SEALED
    if is_incomplete:
        item["status"] = "incomplete"
    return item


def call_item(call: RepairedCall, item_id: str, call_id: str, status: str) -> Json:
    """The item that makes Codex run a call; its type follows from the tool's declaration."""
    item: Json = {"id": item_id, "status": status, "call_id": call_id}
    if call.kind is Kind.SEARCH:
        return {
            "type": "tool_search_call",
            **item,
            "execution": "client",
            "arguments": call.object,
        }
    if call.kind is Kind.LOCAL_SHELL:
        return {
            "type": "local_shell_call",
            **item,
            "action": {"type": "exec", "env": {}, **call.object},
        }
    item["name"] = call.name
    if call.namespace:
        # Codex looks a tool up by both; an empty namespace is not the same as none.
        item["namespace"] = call.namespace
    if call.kind is Kind.CUSTOM:
        return {"type": "custom_tool_call", **item, "input": call.payload}
    if call.declares_encryption:
        # An empty list tells Codex that no argument is encrypted.
        item["encrypted_function_args"] = []
    return {"type": "function_call", **item, "arguments": call.payload}


def compaction_item(item_id: str, sealed: str) -> Json:
    """A conversation that was compacted; `sealed` is its summary, as the client keeps it."""
    return {"type": "compaction", "id": item_id, "encrypted_content": sealed}


def compacted(response: Json) -> Json:
    """A response object as POST /v1/responses/compact answers it."""
    kept = {key: response[key] for key in ("id", "created_at", "output", "usage")}
    return {"object": "response.compaction", **kept}


def response_event(kind: str, response: Json) -> Json:
    """`response.created`, `.in_progress`, `.completed`, `.incomplete` or `.failed`."""
    return {"type": f"response.{kind}", "response": response}


def item_event(kind: str, output_index: int, item: Json) -> Json:
    """`response.output_item.added` or `.done`."""
    return {"type": f"response.output_item.{kind}", "output_index": output_index, "item": item}


def content_part(kind: str, item_id: str, output_index: int, part: Json) -> Json:
    """`response.content_part.added` or `.done`."""
    return {
        "type": f"response.content_part.{kind}",
        "item_id": item_id,
        "output_index": output_index,
        "content_index": 0,
        "part": part,
    }


def text_delta(item_id: str, output_index: int, delta: str, logprobs: Sequence[Json] = ()) -> Json:
    """A piece of a message's text."""
    return {
        "type": "response.output_text.delta",
        "item_id": item_id,
        "output_index": output_index,
        "content_index": 0,
        "delta": delta,
        "logprobs": list(logprobs),
    }


def text_done(item_id: str, output_index: int, text: str, logprobs: Sequence[Json] = ()) -> Json:
    """A message's whole text."""
    return {
        "type": "response.output_text.done",
        "item_id": item_id,
        "output_index": output_index,
        "content_index": 0,
        "text": text,
        "logprobs": list(logprobs),
    }


def reasoning_part(kind: str, item_id: str, output_index: int, text: str) -> Json:
    """`response.reasoning_summary_part.added` or `.done`."""
    return {
        "type": f"response.reasoning_summary_part.{kind}",
        "item_id": item_id,
        "output_index": output_index,
        "summary_index": 0,
        "part": summary_part(text),
    }


def reasoning_delta(item_id: str, output_index: int, delta: str) -> Json:
    """A piece of the reasoning."""
    return {
        "type": "response.reasoning_summary_text.delta",
        "item_id": item_id,
        "output_index": output_index,
        "summary_index": 0,
        "delta": delta,
    }


def reasoning_done(item_id: str, output_index: int, text: str) -> Json:
    """The whole reasoning."""
    return {
        "type": "response.reasoning_summary_text.done",
        "item_id": item_id,
        "output_index": output_index,
        "summary_index": 0,
        "text": text,
    }


def arguments_delta(item_id: str, output_index: int, delta: str) -> Json:
    """A piece of a call's arguments."""
    return {
        "type": "response.function_call_arguments.delta",
        "item_id": item_id,
        "output_index": output_index,
        "delta": delta,
    }


def arguments_done(item_id: str, output_index: int, name: str, arguments: str) -> Json:
    """A call's whole arguments."""
    return {
        "type": "response.function_call_arguments.done",
        "item_id": item_id,
        "output_index": output_index,
        "name": name,
        "arguments": arguments,
    }


def input_delta(item_id: str, output_index: int, delta: str) -> Json:
    """A piece of a freeform tool's input."""
    return {
        "type": "response.custom_tool_call_input.delta",
        "item_id": item_id,
        "output_index": output_index,
        "delta": delta,
    }


def input_done(item_id: str, output_index: int, text: str) -> Json:
    """A freeform tool's whole input."""
    return {
        "type": "response.custom_tool_call_input.done",
        "item_id": item_id,
        "output_index": output_index,
        "input": text,
    }

"""From the messages a client sent to the prompt its model gets: templates and the context."""

from __future__ import annotations

import math
from typing import Any

import orjson

from codex_bridge.fake_ollama.facts import ModelFacts, Rejected

Json = dict[str, Any]
TOKENS_PER_IMAGE = 1000
SYSTEM_NOT_FIRST = "System message must be at the beginning."
KEPT_AT_FRONT = 4
"""Tokens that a cut inside the prompt leaves at its front."""


def fit(
    messages: list[Json], tools: list[Json], num_ctx: int, *, truncate: bool = True
) -> tuple[list[Json], int]:
    """The messages that fit into a context of `num_ctx`, and the tokens of the prompt.

    Whole messages go from the front, all but system messages and the last one. Where even
    those are too long, the prompt itself is cut to about half the context, which is told
    here only by the number of tokens. Nothing in an answer says that this happened. Without
    `truncate` raises Rejected, as llama-server says it.
    """
    messages = list(messages)
    declared = math.ceil(len(orjson.dumps(tools)) / 4) if tools else 0
    wanted = declared + tokens(messages)
    if wanted > num_ctx and not truncate:
        raise Rejected(400, _too_long(wanted, num_ctx))
    while declared + tokens(messages) > num_ctx:
        older = [n for n, message in enumerate(messages[:-1]) if message["role"] != "system"]
        if not older:
            return messages, num_ctx - (num_ctx - KEPT_AT_FRONT) // 2
        del messages[older[0]]
    return messages, declared + tokens(messages)


def _too_long(wanted: int, num_ctx: int) -> str:
    error = {
        "code": 400,
        "message": f"request ({wanted} tokens) exceeds the available context size "
        f"({num_ctx} tokens), try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": wanted,
        "n_ctx": num_ctx,
    }
    return orjson.dumps({"error": error}).decode()


def tokens(messages: list[Json]) -> int:
    """A crude count: four characters a token, and four tokens for each message."""
    return sum(4 + math.ceil(_length(message) / 4) for message in messages)


def _length(message: Json) -> int:
    calls = message.get("tool_calls")
    more = len(orjson.dumps(calls)) if calls else 0
    more += 4 * TOKENS_PER_IMAGE * len(message.get("images") or [])
    return len(message["content"]) + len(message.get("reasoning") or "") + more


def shown(messages: list[Json], facts: ModelFacts) -> list[Json]:
    """What the model's template shows of the messages."""
    if facts.template == "go":
        return _go_template(messages)
    if facts.template == "qwen3-coder":
        return _qwen3_coder(messages)
    if facts.template == "qwen3.5":
        return _qwen3_5(messages)
    return _jinja(messages) if facts.template == "jinja" else messages


def _go_template(messages: list[Json]) -> list[Json]:
    """One system text at the top, no developer, neighbours of one role merged.

    The merge looks at the content only: the calls of the second message are lost.
    """
    system = [message["content"] for message in messages if message["role"] == "system"]
    made: list[Json] = []
    # Neighbours are counted before `developer` and `system` are left out.
    previous = ""
    for message in messages:
        role = message["role"]
        if role == previous and role != "tool":
            if made and made[-1]["role"] == role:
                made[-1]["content"] += "\n\n" + message["content"]
        elif role not in {"system", "developer"}:
            made.append(dict(message))
        previous = role
    head = [{"role": "system", "content": "\n\n".join(system)}] if system else []
    return head + made


def _qwen3_coder(messages: list[Json]) -> list[Json]:
    """The first system message wins; reasoning of earlier turns is not shown."""
    made: list[Json] = []
    for message in messages:
        if message["role"] == "system" and any(kept["role"] == "system" for kept in made):
            continue
        made.append({key: value for key, value in message.items() if key != "reasoning"})
    return made


def _qwen3_5(messages: list[Json]) -> list[Json]:
    """No `developer`; reasoning behind the last user message only."""
    last = max((n for n, message in enumerate(messages) if message["role"] == "user"), default=-1)
    return [
        {key: value for key, value in message.items() if key != "reasoning" or n > last}
        for n, message in enumerate(messages)
        if message["role"] != "developer"
    ]


def _jinja(messages: list[Json]) -> list[Json]:
    """`developer` is another word for system, which may only stand first; no reasoning."""
    if any(message["role"] in {"system", "developer"} for message in messages[1:]):
        error = {"code": 500, "message": SYSTEM_NOT_FIRST, "type": "server_error"}
        raise Rejected(500, orjson.dumps({"error": error}).decode())
    names = {"developer": "system"}
    return [
        {key: value for key, value in message.items() if key != "reasoning"}
        | {"role": names.get(message["role"], message["role"])}
        for message in messages
    ]

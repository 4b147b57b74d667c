"""The prompt that a model gets: what its template shows, cut to the context."""

from __future__ import annotations

import math
from typing import Any

import orjson

from tests.fake_ollama.facts import ModelFacts, Rejected

Json = dict[str, Any]
KEPT_AT_FRONT = 4
"""Tokens at the front of a prompt that a cut inside it keeps."""
IMAGE_TOKENS = 1000
NO_VISION = "this model is missing data required for image input"


def fit(
    messages: list[Json],
    tools: list[Json],
    facts: ModelFacts,
    context: int,
    truncate: bool = True,
) -> tuple[list[Json], int]:
    """The messages as the model's template shows them, and the tokens of the prompt.

    Messages are dropped from the front until the prompt fits `context` tokens, except system
    messages and the last one. If those are still too long, Ollama cuts the prompt itself to about
    half the context: here only the number of tokens shows that. An answer says nothing of a cut.

    Raises Rejected in the name of a loaded model: 400 for a prompt that is too long where nothing
    may be dropped (`truncate` off) or where llama-server makes the prompt, 500 for images that
    the model cannot see and for messages that its template refuses.
    """
    loaded = (facts.name, context)
    messages = list(messages)
    declared = math.ceil(len(orjson.dumps(tools)) / 4) if tools else 0
    while (count := declared + tokens(shown(messages, facts, context))) > context:
        older = [n for n, message in enumerate(messages[:-1]) if message["role"] != "system"]
        if not truncate or (not older and facts.template == "jinja"):
            raise Rejected(400, _too_long(count, context), loaded=loaded)
        if not older:
            count = context - (context - KEPT_AT_FRONT) // 2
            break
        del messages[older[0]]
    if "vision" not in facts.capabilities and any(m.get("images") for m in messages):
        raise Rejected(500, NO_VISION, loaded=loaded)
    return shown(messages, facts, context), count


def tokens(messages: list[Json]) -> int:
    """A crude count: four characters a token, four tokens a message, a thousand an image."""
    return sum(4 + math.ceil(_length(message) / 4) + _images(message) for message in messages)


def _length(message: Json) -> int:
    calls = message.get("tool_calls")
    more = len(orjson.dumps(calls)) if calls else 0
    return len(message["content"]) + len(message.get("reasoning") or "") + more


def _images(message: Json) -> int:
    return IMAGE_TOKENS * len(message.get("images") or [])


def _too_long(count: int, context: int) -> str:
    """The error of llama-server, which Ollama passes on as a text."""
    message = (
        f"request ({count} tokens) exceeds the available context size ({context} tokens), "
        "try increasing it"
    )
    return _llama_error(
        {
            "code": 400,
            "message": message,
            "type": "exceed_context_size_error",
            "n_prompt_tokens": count,
            "n_ctx": context,
        }
    )


def _llama_error(error: Json) -> str:
    return orjson.dumps({"error": error}).decode()


def rendered(messages: list[Json], goes_on: bool) -> str:
    """The text of a prompt that shows `messages`, as ChatML.

    With `goes_on` the last message stays open if it is the assistant's.
    """
    texts = [f"<|im_start|>{each['role']}\n{each['content']}<|im_end|>\n" for each in messages]
    if goes_on and messages and messages[-1]["role"] == "assistant":
        return "".join(texts).removesuffix("<|im_end|>\n")
    return "".join(texts) + "<|im_start|>assistant\n"


def shown(messages: list[Json], facts: ModelFacts, context: int) -> list[Json]:
    """What the model's template shows of the messages. Raises Rejected where it refuses them."""
    if facts.template == "go":
        return _go_template(messages)
    if facts.template == "qwen3-coder":
        return _qwen3_coder(messages)
    if facts.template == "qwen3.5":
        return _qwen3_5(messages)
    if facts.template == "jinja":
        return _jinja(messages, (facts.name, context))
    return messages


def _go_template(messages: list[Json]) -> list[Json]:
    """One system text at the top, no developer, neighbours of one role merged.

    The merge looks at the content only, in which images stand by number: the calls of the
    second message are lost.
    """
    system = [message["content"] for message in messages if message["role"] == "system"]
    kept_messages: list[Json] = []
    # Neighbours are counted before `developer` and `system` are left out.
    previous = ""
    for message in messages:
        role = message["role"]
        if role == previous and role != "tool":
            if kept_messages and kept_messages[-1]["role"] == role:
                kept_messages[-1] = _merged(kept_messages[-1], message)
        elif role not in {"system", "developer"}:
            kept_messages.append(dict(message))
        previous = role
    head = [{"role": "system", "content": "\n\n".join(system)}] if system else []
    return head + kept_messages


def _merged(first: Json, second: Json) -> Json:
    content = first["content"] + "\n\n" + second["content"]
    images = [*first.get("images", ()), *second.get("images", ())]
    return first | {"content": content} | ({"images": images} if images else {})


def _qwen3_coder(messages: list[Json]) -> list[Json]:
    """The first system message wins; reasoning of earlier turns is not shown."""
    kept_messages: list[Json] = []
    for message in messages:
        if message["role"] == "system" and any(kept["role"] == "system" for kept in kept_messages):
            continue
        kept_messages.append(_without_reasoning(message))
    return kept_messages


def _qwen3_5(messages: list[Json]) -> list[Json]:
    """No developer, system messages where they are, reasoning of the current turn only."""
    asked = max((n for n, message in enumerate(messages) if message["role"] == "user"), default=-1)
    return [
        message if n > asked else _without_reasoning(message)
        for n, message in enumerate(messages)
        if message["role"] != "developer"
    ]


def _jinja(messages: list[Json], loaded: tuple[str, int]) -> list[Json]:
    """`developer` is another word for `system`; reasoning never gets as far as llama-server."""
    kept_messages = []
    for n, message in enumerate(messages):
        role = "system" if message["role"] == "developer" else message["role"]
        if role == "system" and n:
            text = "System message must be at the beginning."
            error = {"code": 500, "message": text, "type": "server_error"}
            raise Rejected(500, _llama_error(error), loaded=loaded)
        kept_messages.append(_without_reasoning(message) | {"role": role})
    return kept_messages


def _without_reasoning(message: Json) -> Json:
    return {key: value for key, value in message.items() if key != "reasoning"}

"""The prompt that a model gets: what its template shows, cut to the context."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
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
    *,
    only_shown: bool = False,
) -> tuple[list[Json], int]:
    """The messages as the model's template shows them, and the tokens of the prompt.

    Messages are dropped from the front until the prompt fits `context` tokens, except system
    messages and the last one. If those are still too long, Ollama cuts the prompt itself to about
    half the context: here only the number of tokens shows that. An answer says nothing of a cut.
    A prompt that is `only_shown` may stay too long, and may have images that are not seen.

    Raises Rejected in the name of a loaded model: 400 for a prompt that is too long where nothing
    may be dropped (`truncate` off) or where llama-server makes the prompt, 500 for images that
    the model cannot see and for messages that its template refuses.
    """
    loaded = (facts.name, context)
    messages = list(messages)
    declared = math.ceil(len(orjson.dumps(tools)) / 4) if tools else 0
    while (count := declared + tokens(shown(messages, facts, context))) > context:
        older = [n for n, message in enumerate(messages[:-1]) if message["role"] != "system"]
        if not truncate and only_shown:
            break
        if not truncate or (not older and facts.template == "jinja"):
            raise Rejected(400, _too_long(count, context), loaded=loaded)
        if not older:
            count = _cut(context)
            break
        del messages[older[0]]
    sees = only_shown or "vision" in facts.capabilities
    if not sees and any(m.get("images") for m in messages):
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


def fit_raw(count: int, facts: ModelFacts, context: int, *, truncate: bool, images: int) -> int:
    """The tokens of a raw prompt that has `count` of them, after a cut inside it.

    Raises Rejected as `fit` does.
    """
    loaded = (facts.name, context)
    if images and "vision" not in facts.capabilities:
        raise Rejected(500, NO_VISION, loaded=loaded)
    if count < context:
        return count
    if not truncate:
        raise Rejected(400, _too_long(count, context), loaded=loaded)
    return _cut(context)


def _cut(context: int) -> int:
    """The tokens of a prompt after a cut inside it."""
    return context - (context - KEPT_AT_FRONT) // 2


def rendered(messages: list[Json], goes_on: bool, tools: Sequence[Json] = ()) -> str:
    """The text of a prompt that shows `messages` and `tools`, as ChatML.

    A longer history begins with the text of a shorter one, followed by the answer as the model
    writes it where its template is "go" or "keep". With `goes_on` the last message stays open if
    it is the assistant's.
    """
    if tools:
        declared = "".join(orjson.dumps(tool).decode() + "\n" for tool in tools)
        first = messages[:1] if messages and messages[0]["role"] == "system" else []
        before = first[0]["content"] + "\n\n" if first else ""
        system = {"role": "system", "content": f"{before}<tools>\n{declared}</tools>"}
        messages = [system, *messages[len(first) :]]
    images = itertools.count()
    texts = [_turn(message, images) for message in messages]
    if goes_on and messages and messages[-1]["role"] == "assistant":
        return "".join(texts).removesuffix("<|im_end|>\n")
    return "".join(texts) + "<|im_start|>assistant\n"


def _turn(message: Json, images: Iterator[int]) -> str:
    role, content = message["role"], message["content"]
    content = "".join(f"[img-{next(images)}]" for _ in message.get("images", ())) + content
    if role == "tool":
        role, content = "user", f"<tool_response>\n{content}\n</tool_response>"
    if reasoning := message.get("reasoning"):
        content = f"<think>\n{reasoning}\n</think>\n\n{content}"
    for call in message.get("tool_calls") or ():
        between = "\n" if content and not content.endswith("\n\n") else ""
        written = f'{{"name": "{call["name"]}", "arguments": {_json(call["arguments"])}}}'
        content += f"{between}<tool_call>\n{written}\n</tool_call>"
    return f"<|im_start|>{role}\n{content}<|im_end|>\n"


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


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

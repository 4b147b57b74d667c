"""How long a prompt is, before anybody has counted its tokens."""

from __future__ import annotations

from attrs import frozen

from codex_bridge.vocabulary import ChatRequest

BYTES_PER_TOKEN = 5.0
"""Before anything is learned: what even plain English prose hardly exceeds, so that no prompt
is refused that might fit."""
TOKENS_PER_IMAGE = 1000
LEARNING_SIZE = 2000
"""Bytes: the count of a shorter prompt says more about its template than about text."""


@frozen
class PromptSize:
    """What a prompt is made of."""

    text: int
    """Bytes of messages and declarations that the model's template shows."""
    images: int = 0

    def tokens(self, bytes_per_token: float) -> int:
        """The same in tokens, roughly."""
        return round(self.text / bytes_per_token) + TOKENS_PER_IMAGE * self.images


def prompt_size(request: ChatRequest, body: bytes) -> PromptSize:
    """The size of `request`, which was encoded as `body`."""
    text, images, current = len(body), 0, True
    for message in reversed(request.messages):
        content = message["content"]
        if isinstance(content, list):
            urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
            images += len(urls)
            text -= sum(map(len, urls))
        if message["role"] == "user":
            current = False
        if not current:
            # Templates show the reasoning of the last turn only.
            text -= len(message.get("reasoning", ""))
    return PromptSize(text, images)

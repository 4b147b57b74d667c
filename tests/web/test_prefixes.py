"""What --debug tells of the prompts of one conversation."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.web.http_headers import Headers

from codex_bridge.responses.request import read
from codex_bridge.vocabulary import ChatRequest
from codex_bridge.web.prefixes import (
    Prefixes,
    conversation_of,
    first_difference,
)
from tests.conftest import Start
from tests.fake_ollama import Playlist, Say

A, B, C = ({"role": "user", "content": text} for text in "abc")


def chat(*messages: Any, functions: Any = ()) -> ChatRequest:
    return ChatRequest("m", list(messages), list(functions))


def test_a_prompt_that_goes_on_says_so() -> None:
    prefixes = Prefixes()
    assert prefixes.compare("x", "one", chat(A)) is None
    sentence = prefixes.compare("x", "two", chat(A, B, C))
    assert sentence == "begins with all of one; 2 of 3 messages are new"


def test_the_first_difference_is_told_by_its_place() -> None:
    prefixes = Prefixes()
    prefixes.compare("x", "one", chat(A, B))
    sentence = prefixes.compare("x", "two", chat(A, C))
    assert sentence == "differs from one at messages[1], character 26: 'b\"}' -> 'c\"}'"
    sentence = prefixes.compare("x", "three", chat(A, C, functions=[{"name": "f"}]))
    assert sentence == "begins with all of two; 0 of 2 messages are new"
    sentence = prefixes.compare("x", "four", chat(A, C))
    assert sentence == "differs from three at tools[0]: it is gone"


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [([A], [A, B], None), ([A, B], [A], "[1]: it is gone"), ([], [], None)],
)
def test_first_difference(old: Any, new: Any, where: str | None) -> None:
    assert first_difference(old, new) == where


def test_conversations_are_kept_apart_and_their_number_is_bounded() -> None:
    prefixes = Prefixes()
    for n in range(33):
        assert prefixes.compare(n, "one", chat(A)) is None
    assert prefixes.compare(0, "two", chat(B)) is None
    assert prefixes.compare(32, "two", chat(A)) is not None


def test_an_agent_and_a_title_are_conversations_of_their_own() -> None:
    raw = {"model": "m", "input": "hi", "prompt_cache_key": "k"}
    title = read(raw)
    request = read(raw | {"tools": [{"type": "function", "name": "run"}]})
    main = conversation_of(request, Headers({"thread-id": ["t1"]}))
    assert main != conversation_of(request, Headers({"thread-id": ["t2"]}))
    assert main != conversation_of(title, Headers({"thread-id": ["t1"]}))
    assert conversation_of(request, Headers()) == ("k", True)


@pytest.mark.parametrize("debug", [True, False])
@pytest_twisted.ensureDeferred
async def test_only_debug_compares(start: Start, logged: Any, debug: bool) -> None:
    setup = await start(Playlist([Say("a")], [Say("b")]), debug=debug)
    for content in ("hi", "ho"):
        await setup.ask({"input": content, "prompt_cache_key": "k"})
    shown = [event["body"] for event in logged.events if event.get("what") == "prompt"]
    assert len(shown) == debug
    assert all("messages[1]" in body for body in shown)

"""What the templates show, refuse and lose, on both routes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import pytest_twisted

from tests.fake_ollama import ModelFacts, Say
from tests.fake_ollama.client import Make, chat, native_chat
from tests.fake_ollama.facts import Rejected
from tests.fake_ollama.prompt import fit

SEEING = ("completion", "tools", "thinking", "vision")
BLIND = ("completion", "tools", "thinking")
NO_VISION = "this model is missing data required for image input"


def message(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def shown(template: Any, *messages: dict[str, Any], context: int = 4096) -> list[dict[str, Any]]:
    return fit(list(messages), [], ModelFacts("m:1b", template=template), context)[0]


def test_qwen3_5_drops_developer_and_keeps_later_system_messages_in_place() -> None:
    system, later, user = message("system", "a"), message("system", "d"), message("user", "c")
    assert shown("qwen3.5", system, message("developer", "b"), user, later) == [system, user, later]


def test_qwen3_5_shows_reasoning_behind_the_last_user_message_only() -> None:
    old, new = (message("assistant", text, reasoning="hm") for text in "ab")
    user, result = message("user", "u"), message("tool", "r")
    kept = shown("qwen3.5", user, old, user, new, result, new)
    assert [m.get("reasoning") for m in kept] == [None, None, None, "hm", None, "hm"]


def test_jinja_never_shows_reasoning() -> None:
    thought = message("assistant", "a", reasoning="hm")
    assert shown("jinja", message("user", "u"), thought)[1] == message("assistant", "a")


def test_jinja_takes_a_first_developer_message_for_the_system_message() -> None:
    assert shown("jinja", message("developer", "a"))[0] == message("system", "a")


@pytest.mark.parametrize("first", ["system", "user"])
@pytest.mark.parametrize("role", ["system", "developer"])
@pytest_twisted.ensureDeferred
async def test_jinja_refuses_a_system_message_that_is_not_first(
    make: Make, first: str, role: str
) -> None:
    fake = make(models=[ModelFacts(template="jinja", num_ctx=4096)], loaded=False)
    sent = {"messages": [message(first, "a"), message(role, "b"), message("user", "c")]}
    error = {
        "code": 500,
        "message": "System message must be at the beginning.",
        "type": "server_error",
    }
    openai, native = await chat(fake, **sent), await native_chat(fake, **sent)
    assert (openai.status, native.status) == (500, 500)
    assert orjson.loads(native.json["error"]) == {"error": error}
    assert openai.json["error"]["message"] == native.json["error"]
    assert fake.loads == [("qwen3:14b", 4096)]


def test_jinja_drops_messages_but_never_cuts_one() -> None:
    long, old = message("user", "x" * 800), message("assistant", "y" * 800)
    assert shown("jinja", old, message("user", "hi"), context=100) == [message("user", "hi")]
    with pytest.raises(Rejected) as caught:
        shown("jinja", old, long, context=100)
    assert caught.value.status == 400
    assert "exceed_context_size_error" in caught.value.message
    assert shown("keep", old, long, context=100) == [long]


def test_what_a_template_does_not_show_takes_no_room() -> None:
    hidden, user = message("developer", "x" * 4000), message("user", "hi")
    assert fit([hidden, user], [], ModelFacts(template="go"), 4096) == ([user], 5)


def test_go_merges_the_images_of_neighbours_too() -> None:
    first, second = message("user", "a"), message("user", "", images=["AAAA"])
    assert shown("go", first, second) == [message("user", "a\n\n", images=["AAAA"])]


def test_a_template_leaves_the_messages_that_were_sent_as_they_are() -> None:
    sent = [message("user", "a"), message("user", "b")]
    for _ in range(2):
        assert shown("go", *sent) == [message("user", "a\n\nb")]


def test_an_image_takes_a_thousand_tokens() -> None:
    facts = ModelFacts(template="keep")
    seen = message("user", "hi", images=["AAAA", "AAAA"])
    assert (
        fit([seen], [], facts, 4096)[1] - fit([message("user", "hi")], [], facts, 4096)[1] == 2000
    )


@pytest_twisted.ensureDeferred
async def test_a_model_without_eyes_refuses_images_on_both_routes(make: Make) -> None:
    fake = make(models=[ModelFacts(capabilities=BLIND)])
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    openai = await chat(fake, messages=[{"role": "user", "content": [part]}])
    native = await native_chat(fake, messages=[message("user", "see", images=["AAAA"])])
    assert (openai.status, openai.json["error"]["message"]) == (500, NO_VISION)
    assert (native.status, native.json) == (500, {"error": NO_VISION})


@pytest_twisted.ensureDeferred
async def test_a_model_with_eyes_is_shown_images_on_both_routes(make: Make) -> None:
    fake = make([Say("x")], [Say("y")], models=[ModelFacts(capabilities=SEEING)])
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    await chat(fake, messages=[{"role": "user", "content": [part]}])
    await native_chat(fake, messages=[message("user", "", images=["AAAA"])])
    openai, native = (turn.effective["messages"] for turn in fake.turns)
    assert openai == native == [message("user", "", images=["AAAA"])]

"""What comes of a request's body, by the kind of client that sent it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from codex_bridge.clients.traits import CODEX, SDK, ClientTraits
from codex_bridge.responses.request import ResponsesRequest
from codex_bridge.tools.shown import ToolProfile
from codex_bridge.web.intake import Refused, take_in

ASKED = {"model": "m", "input": "hi"}


def taken(body: Any, traits: ClientTraits = SDK) -> Any:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return take_in(data, traits, ToolProfile.ESSENTIAL)


@pytest.mark.parametrize("stream", [True, False, None])
@pytest.mark.parametrize("traits", [CODEX, SDK])
def test_an_accepted_request_gets_the_reply_that_it_asks_for(traits: Any, stream: Any) -> None:
    body = orjson.dumps(ASKED | {"stream": stream, "instructions": "x", "unheard_of": 1})
    accepted = taken(body, traits)
    assert isinstance(accepted, ResponsesRequest)
    assert accepted.stream is bool(stream)
    assert accepted.size == len(body)
    assert accepted.echo == {"model": "m", "instructions": "x"}


@pytest.mark.parametrize(
    ("body", "param", "model", "streams"),
    [
        # Nothing is known: a client that reads failures in the stream is told there.
        (b"{", None, "", (True, False)),
        ([], None, "", (True, False)),
        ({"input": "hi", "stream": False}, "model", "", (True, False)),
        # The wish is known.
        ({"model": "m", "stream": True}, "input", "m", (True, True)),
        ({"model": "m", "stream": False}, "input", "m", (False, False)),
        ({"model": "m"}, "input", "m", (False, False)),
        # It is no wish that makes sense.
        ({"model": "m", "input": "hi", "stream": "yes"}, "stream", "m", (True, False)),
    ],
)
def test_a_refusal_keeps_what_was_known_of_the_request(
    body: Any, param: str | None, model: str, streams: tuple[bool, bool]
) -> None:
    for traits, stream in zip((CODEX, SDK), streams, strict=True):
        refused = taken(body, traits)
        assert isinstance(refused, Refused)
        assert (refused.error.status, refused.error.param) == (400, param)
        assert (refused.stream, refused.model) == (stream, model)
        assert refused.echo.get("model", "") == model

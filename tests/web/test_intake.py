"""What comes of a request's body, by the kind of client that sent it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from codex_bridge.clients.traits import CODEX, SDK, ClientTraits
from codex_bridge.web.intake import Intake, take_in

ASKED = {"model": "m", "input": "hi"}


def taken(body: Any, traits: ClientTraits = SDK) -> Intake:
    return take_in(body if isinstance(body, bytes) else orjson.dumps(body), traits)


@pytest.mark.parametrize("stream", [True, False, None])
@pytest.mark.parametrize("traits", [CODEX, SDK])
def test_a_request_gets_the_reply_that_it_asks_for(traits: Any, stream: Any) -> None:
    asked = ASKED | {"stream": stream, "instructions": "x", "unheard_of": 1}
    intake = taken(asked, traits)
    assert intake.refusal is None
    assert intake.stream is bool(stream)
    assert (intake.body, intake.size) == (asked, len(orjson.dumps(asked)))
    assert intake.echo == {"model": "m", "instructions": "x"}


@pytest.mark.parametrize(
    ("body", "param", "streams"),
    [
        # Nothing is known: a client that reads failures in the stream is told there.
        (b"{", None, (True, False)),
        ([], None, (True, False)),
        ({"input": "hi", "stream": False}, "model", (True, False)),
    ],
)
def test_a_body_that_names_no_model_is_refused(
    body: Any, param: str | None, streams: tuple[bool, bool]
) -> None:
    for traits, stream in zip((CODEX, SDK), streams, strict=True):
        intake = taken(body, traits)
        assert intake.refusal is not None
        assert (intake.refusal.status, intake.refusal.param) == (400, param)
        assert (intake.stream, intake.model) == (stream, "")


@pytest.mark.parametrize("stream", [True, False, None, "yes"])
def test_a_wish_that_makes_no_sense_counts_as_none(stream: Any) -> None:
    for traits, is_stream in ((CODEX, True), (SDK, False)):
        intake = taken(ASKED | {"stream": stream}, traits)
        assert intake.stream is (is_stream if stream == "yes" else bool(stream))
        assert intake.model == "m"

"""Reads the body of a request for a response: what it asks for, or the reason to refuse it."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, field, frozen

from codex_bridge.clients.traits import ClientTraits
from codex_bridge.errors import ApiError
from codex_bridge.responses.echo import echoed
from codex_bridge.responses.request import model_name, parse
from codex_bridge.vocabulary import Json


@frozen
class Intake:
    """A request whose fields were not read yet, but for those that the reply depends on."""

    stream: bool
    """Whether the client is told in a stream of events; else it gets one JSON object."""
    body: Json = field(factory=dict)
    compacts: bool = False
    """Whether it is a POST /v1/responses/compact, which asks for a compaction alone."""
    prepares: bool = False
    """Whether no answer is wanted, because the client will go on from this request."""
    size: int = 0
    """Bytes of the request."""
    model: str = ""
    echo: Json = field(factory=dict)
    """The fields that a response object repeats."""
    refusal: ApiError | None = None
    """Why it is refused; what was known by then stands in the other attributes."""


def take_in(body: bytes, traits: ClientTraits, aliases: Mapping[str, str] = {}) -> Intake:
    """The body of a request of a client with these `traits`.

    `aliases`: a name that clients use for a model -> the model, which is asked in its place.
    """
    try:
        request = parse(body)
    except ApiError as error:
        return Intake(traits.fails_in_stream, refusal=error)
    return take_in_object(request, len(body), traits, aliases)


def take_in_object(
    request: Json, size: int, traits: ClientTraits, aliases: Mapping[str, str] = {}
) -> Intake:
    """A body of `size` bytes that is a JSON object already; otherwise as `take_in`."""
    # Until the client's wish is known, a client that reads failures in the stream gets one.
    intake = Intake(traits.fails_in_stream, request, size=size)
    try:
        named = model_name(request)
    except ApiError as error:
        return evolve(intake, refusal=error)
    wish = request.get("stream")
    return evolve(
        intake,
        stream=bool(wish) if isinstance(wish, bool | None) else intake.stream,
        model=aliases.get(named, named),
        echo=echoed(request),
    )

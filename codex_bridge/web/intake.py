"""Reads the body of a POST /v1/responses: an accepted request, or the reason to refuse it."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, field, frozen

from codex_bridge.clients.traits import ClientTraits
from codex_bridge.errors import ApiError
from codex_bridge.responses.request import ResponsesRequest, echoed, model_name, parse, read
from codex_bridge.tools.shown import ToolProfile
from codex_bridge.vocabulary import Json


@frozen
class Refused:
    """A request that is not served, and what was known of it by then."""

    error: ApiError
    stream: bool
    """Whether the client is to be told in a stream of events."""
    model: str = ""
    echo: Json = field(factory=dict)


def take_in(
    body: bytes,
    traits: ClientTraits,
    tool_profile: ToolProfile,
    aliases: Mapping[str, str] = {},
) -> ResponsesRequest | Refused:
    """Read the body of a request of a client with these `traits`.

    `aliases`: a name that clients use for a model -> the model, which is asked in its place.
    """
    # Until the client's wish is known, a client that reads failures in the stream gets one.
    stream, model, echo = traits.fails_in_stream, "", {}
    try:
        request = parse(body)
        model = model_name(request)
        echo = echoed(request)
        wish = request.get("stream")
        if isinstance(wish, bool | None):
            stream = bool(wish)
        taken = read(request, size=len(body), tool_profile=tool_profile)
        return evolve(taken, model=aliases.get(model, model))
    except ApiError as error:
        return Refused(error, stream, model, echo)

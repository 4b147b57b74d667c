"""The public schemas are held against every stream of the tests; see `schemas`."""

from __future__ import annotations

import pytest

from codex_bridge.responses.events import ResponseTemplate, text_delta
from tests.responses import schemas

pytestmark = pytest.mark.skipif(
    not schemas.IS_HERE, reason="the Open Responses schemas are not beside the checkout"
)


def test_a_response_without_a_field_is_found() -> None:
    response = ResponseTemplate("resp_1", 1000, {"model": "m"}).response("in_progress", [])
    schemas.check_response(response)
    del response["safety_identifier"]
    with pytest.raises(AssertionError, match="safety_identifier"):
        schemas.check_response(response)


def test_an_event_with_a_wrong_field_is_found() -> None:
    event = text_delta("msg_1", 0, "x") | {"sequence_number": 3}
    schemas.check(event)
    with pytest.raises(AssertionError, match="output_index"):
        schemas.check(event | {"output_index": "0"})

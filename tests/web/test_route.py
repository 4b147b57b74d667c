"""What kind of route a request has, and the target that it is served under."""

from __future__ import annotations

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.web.route import RouteKind, origin_form, route_of
from tests.web.scene import Scene

# of each kind: method, target as it was sent, normalised target
EXCHANGES = [
    (b"POST", b"/v1/responses", b"/v1/responses"),
    (b"POST", b"/responses", b"/responses"),
    (b"POST", b"/responses?x=1", b"/responses?x=1"),
    (b"POST", b"/v1/responses?", b"/v1/responses?"),
    (b"POST", b"/v1/responses?a=%2F//b", b"/v1/responses?a=%2F//b"),
    (b"POST", b"/v1/responses/", b"/v1/responses"),
    (b"POST", b"//v1//responses", b"/v1/responses"),
    (b"POST", b"///responses//?q", b"/responses?q"),
    (b"POST", b"/v1/%72esponses", b"/v1/responses"),
    (b"POST", b"/v1%2Fresponses", b"/v1/responses"),
    (b"POST", b"/v1//responses/input_tokens/", b"/v1/responses/input_tokens"),
    (b"POST", b"/responses/input_tokens", b"/responses/input_tokens"),
    (b"POST", b"http://localhost/v1/responses?x", b"/v1/responses?x"),
    (b"POST", b"https://evil.example:99//responses", b"/responses"),
    (b"GET", b"/v1/responses", b"/v1/responses"),
    (b"OPTIONS", b"/responses/", b"/responses"),
    (b"post", b"/responses", b"/responses"),
]
HEALTH = [
    (b"GET", b"/__health", b"/__health"),
    (b"GET", b"/__health?now", b"/__health?now"),
    (b"GET", b"http://localhost/__health", b"/__health"),
]
STORED = [
    (b"POST", b"/v1/responses/resp_1", b"/v1/responses/resp_1"),
    (b"GET", b"/responses/resp_1/input_items?limit=2", b"/responses/resp_1/input_items?limit=2"),
    (b"DELETE", b"//v1/%72esponses/resp_1", b"/v1/responses/resp_1"),
]
OTHERS = [
    (b"GET", b"/", b"/"),
    (b"GET", b"*", b"/"),
    (b"POST", b"%2Fv1/responses", b"/"),
    (b"CONNECT", b"host:443", b"/"),
    (b"GET", b"http://host", b"/"),
    (b"GET", b"http://host/a?b", b"/a?b"),
    (b"GET", b"/a?b", b"/a?b"),
    (b"GET", b"//host/a", b"//host/a"),
    (b"GET", b"/a/%72//b/", b"/a/%72//b/"),
    (b"POST", b"/v1/chat/completions", b"/v1/chat/completions"),
    (b"POST", b"/v1/responses2", b"/v1/responses2"),
    (b"POST", b"/V1/Responses", b"/V1/Responses"),
    (b"POST", b"/v1/responses%3Fx", b"/v1/responses%3Fx"),
    (b"POST", b"/v1/%2572esponses", b"/v1/%2572esponses"),
    (b"POST", b"/x/../responses", b"/x/../responses"),
    (b"GET", b"/a?/responses", b"/a?/responses"),
    (b"POST", b"/__health", b"/__health"),
    (b"HEAD", b"/__health", b"/__health"),
    (b"GET", b"/__health/", b"/__health/"),
    (b"GET", b"//__health", b"//__health"),
    (b"GET", b"/%5f_health", b"/%5f_health"),
    (b"GET", b"/__healthy", b"/__healthy"),
    (b"GET", b"/api/tags?/__health", b"/api/tags?/__health"),
]
TABLE = [
    *((RouteKind.EXCHANGE, *row) for row in EXCHANGES),
    *((RouteKind.STORED, *row) for row in STORED),
    *((RouteKind.HEALTH, *row) for row in HEALTH),
    *((RouteKind.OTHER, *row) for row in OTHERS),
]


@pytest.mark.parametrize(("kind", "method", "target", "normalised"), TABLE)
def test_a_route_is_known_from_method_and_target(
    kind: RouteKind, method: bytes, target: bytes, normalised: bytes
) -> None:
    route = route_of(method, target)
    assert (route.kind, route.method, route.target) == (kind, method, normalised)
    assert route.is_exchange is (kind is RouteKind.EXCHANGE)


@given(st.sampled_from([b"GET", b"POST", b"OPTIONS"]), st.binary())
def test_a_normalised_target_has_the_same_route(method: bytes, target: bytes) -> None:
    route = route_of(method, target)
    assert route_of(method, route.target) == route


@given(st.binary())
def test_every_target_but_an_exchanges_stays_as_it_is(rest: bytes) -> None:
    route = route_of(b"GET", b"/" + rest)
    assert route.is_exchange or route.target == b"/" + rest


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/a?b", b"/a?b"),
        (b"//host/a", b"//host/a"),
        (b"http://host/a?b", b"/a?b"),
        (b"http://host", b"/"),
        (b"*", b"/"),
        (b"host:443", b"/"),
    ],
)
def test_origin_form(target: bytes, expected: bytes) -> None:
    assert origin_form(target) == expected


@pytest.mark.parametrize(
    "target", [b"//v1//responses", b"/v1/%72esponses", b"http://evil.example/responses/"]
)
@pytest_twisted.ensureDeferred
async def test_an_exchange_is_served_and_guarded_however_it_is_spelled(
    scene: Scene, target: bytes
) -> None:
    body = b'{"model": "m", "input": "hi"}'
    head = [b"POST " + target + b" HTTP/1.1", b"Content-Length: %d" % len(body)]
    client = await scene.client(*head)
    client.send(body)
    wire = await scene.upstream()
    assert (await wire.until(b"\r\n\r\n")).startswith(b"POST /v1/chat/completions ")
    page = await scene.client(*head, b"Origin: https://evil.example")
    assert (await page.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 403 ")

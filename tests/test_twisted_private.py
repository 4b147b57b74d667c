"""Twisted's private names mean what codex-bridge takes them to mean, and one module uses them."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.web._newclient import HTTP11ClientProtocol
from twisted.web._newclient import Request as ClientRequest
from twisted.web.client import URI, Agent
from twisted.web.http import HTTPChannel, Request
from twisted.web.http_headers import Headers
from zope.interface import implementer

import codex_bridge
from codex_bridge import twisted_private
from codex_bridge.twisted_private import (
    ReportingChannel,
    end_chunks,
    has_oversized_head,
    is_between_requests,
    keep_only_http_1_1,
    request_line,
    send_with_target,
    unsent_bytes,
)
from tests.conftest import LogBook

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD = b"PUT /a?b HTTP/1.1\r\nHost: x\r\n"


class Channel(ReportingChannel):
    """Notes, at each bad request, whether the head is too large."""

    totalHeadersSize = 100
    maxHeaders = 3

    def __init__(self) -> None:
        super().__init__()
        self.reports: list[bool] = []

    def bad_request(self) -> None:
        self.reports.append(has_oversized_head(self))


def received(data: bytes, channel: Any = None) -> Any:
    """A server connection that has received `data`."""
    channel = channel or Channel()
    channel.makeConnection(StringTransport())
    channel.dataReceived(data)
    return channel


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n",
        HEAD + b"no colon\r\n\r\n",
        HEAD + b"Content-Length: x\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_a_bad_request_is_reported_and_not_answered(data: bytes) -> None:
    channel = received(data)
    assert channel.reports[0] is False
    assert channel.transport.value() == b""
    assert not channel.transport.disconnecting
    channel.connectionLost(Failure(ConnectionDone()))  # It closes the file of a chunked body.


def long_header(size: int) -> bytes:
    """A header that brings the lines of a head to `size` bytes, line ends not counted."""
    return b"X: ".ljust(size - len(HEAD.replace(b"\r\n", b"")), b"x") + b"\r\n"


@pytest.mark.parametrize(
    ("headers", "is_too_large"),
    [
        (long_header(Channel.totalHeadersSize), False),
        (long_header(Channel.totalHeadersSize + 1), True),
        (b"X: 1\r\n" * (Channel.maxHeaders - 1), False),
        (b"X: 1\r\n" * Channel.maxHeaders, True),
    ],
)
def test_a_head_beyond_its_limits_is_reported_as_too_large(
    headers: bytes, is_too_large: bool
) -> None:
    reports = received(HEAD + headers + b"\r\n").reports
    assert reports[:1] == [True] * is_too_large


def test_the_request_line_is_known_at_the_end_of_the_head() -> None:
    seen: list[Any] = []

    class Noting(Request):
        def gotLength(self, length: int | None) -> None:
            super().gotLength(length)
            seen.append(request_line(self.channel))

    channel = HTTPChannel()
    channel.requestFactory = Noting  # type: ignore[assignment]
    received(HEAD + b"Content-Length: 5\r\n\r\n", channel)
    assert seen == [(b"PUT", b"/a?b", b"HTTP/1.1")]


class Socket(FileDescriptor):
    """Takes as many bytes as the test wants."""

    connected = 1
    room = 0

    def writeSomeData(self, data: bytes) -> int:
        taken = min(self.room, len(data))
        self.room -= taken
        return taken


def test_unsent_bytes_are_what_the_socket_has_not_taken() -> None:
    transport = Socket(MemoryReactorClock())
    assert unsent_bytes(transport) == 0
    transport.write(b"0123456789")
    assert unsent_bytes(transport) == 10
    transport.room = 4
    transport.doWrite()
    assert unsent_bytes(transport) == 6
    transport.writeSequence([b"abc", b"de"])
    assert unsent_bytes(transport) == 11
    transport.room = 100
    while unsent_bytes(transport):
        transport.doWrite()
    assert transport.room == 89
    assert unsent_bytes(StringTransport()) == 0


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Connects to nothing but a transport that keeps what is written."""

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        self.transport = StringTransport()
        protocol = protocolFactory.buildProtocol(None)
        protocol.makeConnection(self.transport)
        return succeed(protocol)


@pytest.mark.parametrize("target", [b"//a", b"/a?", b"/a#b", b"/%2e%2e/%2F/x;y=1", b"//[x"])
def test_a_request_target_stays_byte_for_byte_what_it_is(target: bytes) -> None:
    endpoint = Endpoint()
    base = URI.fromBytes(b"http://gpu:11434/base")
    send_with_target(
        Agent(MemoryReactorClock()), endpoint, base, b"GET", target, Headers({"X": ["1"]}), None
    )
    lines = endpoint.transport.value().split(b"\r\n")
    assert lines[0] == b"GET " + target + b" HTTP/1.1"
    assert {b"X: 1", b"Host: gpu:11434"} <= set(lines)


# Nobody else uses a private name.


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def is_own(node: ast.expr) -> bool:
    """Whether an attribute of `node` is one of the class that is being defined."""
    return isinstance(node, ast.Name) and node.id in {"self", "cls"}


def definitions(tree: ast.AST) -> set[str]:
    """The private names that are defined there: functions, classes, variables, attributes."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names |= {node.attr} if is_own(node.value) else set()
    return set(filter(is_private, names))


def uses(tree: ast.AST) -> Iterator[str]:
    """The private names that are used as attributes, or imported from Twisted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"getattr", "setattr"}:
            if isinstance(node.args[1], ast.Constant):
                yield str(node.args[1].value)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("twisted"):
            yield from [*(node.module or "").split("."), *(alias.name for alias in node.names)]


@cache
def names_of_twisted(module: str) -> frozenset[str]:
    """The private names that a module of Twisted defines."""
    return frozenset(definitions(ast.parse(inspect.getsource(importlib.import_module(module)))))


def foreign_names(source: str) -> set[str]:
    """The private names that a module uses and does not define."""
    tree = ast.parse(source)
    return set(filter(is_private, uses(tree))) - definitions(tree)


MODULES = [
    module.name
    for module in pkgutil.walk_packages(codex_bridge.__path__, "codex_bridge.")
    if module.name != twisted_private.__name__
]
OF_THE_STANDARD_LIBRARY = {"_SubParsersAction"}
"""argparse's type for what add_subparsers returns; annotations need it."""


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("channel._path", {"_path"}),
        ("self.pool._factory = x", {"_factory"}),
        ("pool._factory = x", {"_factory"}),
        ("getattr(transport, '_tempDataLen', 0)", {"_tempDataLen"}),
        ("from twisted.web._newclient import HTTP11ClientProtocol", {"_newclient"}),
        ("from twisted.web.http import _parseRequestLine", {"_parseRequestLine"}),
        ("self._path = 1\nself._path", set()),
        ("def _path(self): return self._path", set()),
        ("x.__class__", set()),
    ],
)
def test_a_private_name_is_found(source: str, found: set[str]) -> None:
    assert foreign_names(source) == found


@pytest.mark.parametrize("module", MODULES)
def test_no_other_module_uses_a_private_name_that_it_does_not_define(module: str) -> None:
    source = inspect.getsource(importlib.import_module(module))
    assert foreign_names(source) <= OF_THE_STANDARD_LIBRARY


@pytest.mark.parametrize("module", MODULES)
def test_no_class_gives_another_meaning_to_a_private_name_of_its_twisted_base(module: str) -> None:
    imported = importlib.import_module(module)
    for each in vars(imported).values():
        if inspect.isclass(each) and each.__module__ == module:
            bases = {base.__module__ for base in each.__mro__}
            of_bases = frozenset().union(
                *(names_of_twisted(base) for base in bases if base.startswith("twisted"))
            )
            assert definitions(ast.parse(inspect.getsource(each))) & of_bases == set(), each


def test_no_further_private_name_is_used() -> None:
    """Look for a public way before you add one: each name here has none."""
    used = set(filter(is_private, uses(ast.parse(Path(twisted_private.__file__).read_text()))))
    assert used == {
        "_command",
        "_log",
        "_newclient",
        "_parser",
        "_path",
        "_quiescentCallback",
        "_receivedHeaderCount",
        "_receivedHeaderSize",
        "_requestWithEndpoint",
        "_tempDataLen",
        "_version",
    }


def test_a_client_connection_is_between_requests_until_one_is_sent_and_after_its_response() -> None:
    protocol, seen = HTTP11ClientProtocol(), []
    protocol.makeConnection(StringTransport())
    seen.append(is_between_requests(protocol))
    request = ClientRequest(b"GET", b"/", Headers({"host": ["x"]}), None, persistent=True)
    response = protocol.request(request)
    seen.append(is_between_requests(protocol))
    protocol.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    seen.append(is_between_requests(protocol))
    response.result.deliverBody(Protocol())
    protocol.dataReceived(b"ok")
    seen.append(is_between_requests(protocol))
    assert seen == [True, False, False, True]


@pytest.mark.parametrize(("version", "is_kept"), [(b"1.0", False), (b"1.1", True)])
def test_only_a_connection_of_http_1_1_is_kept(version: bytes, is_kept: bool) -> None:
    kept: list[Any] = []
    protocol, transport = HTTP11ClientProtocol(kept.append), StringTransport()
    protocol.makeConnection(transport)
    keep_only_http_1_1(protocol)
    response = protocol.request(
        ClientRequest(b"GET", b"/", Headers({"host": ["x"]}), None, persistent=True)
    )
    protocol.dataReceived(b"HTTP/%b 200 OK\r\nContent-Length: 2\r\n\r\n" % version)
    response.result.deliverBody(Protocol())
    protocol.dataReceived(b"ok")
    assert (kept, transport.disconnecting) == ([protocol] if is_kept else [], not is_kept)


class Waiting(Request):
    """Sends the end of its response, but is not finished."""

    def process(self) -> None:
        self.setHeader(b"server", b"s")
        self.write(b"ok")
        end_chunks(self)
        end_chunks(self)


def test_the_end_of_a_chunked_response_is_sent_once_and_the_next_request_still_waits() -> None:
    channel = Channel()
    channel.requestFactory = Waiting
    received(GET + GET, channel)
    sent = channel.transport.value()
    assert sent.endswith(b"2\r\nok\r\n0\r\n\r\n")
    assert sent.count(b"HTTP/1.1 200") == 1


def test_time_is_measured_by_a_clock_that_nobody_sets() -> None:
    reactor = SelectReactor()
    before = reactor.callLater(5, lambda: None).getTime()
    assert abs(before - time.time() - 5) < 1
    twisted_private.use_monotonic_clock(reactor)
    scheduled = reactor.callLater(5, lambda: None)
    assert 4 < scheduled.getTime() - time.monotonic() <= 5
    assert abs(reactor.seconds() - time.monotonic()) < 1


@pytest.mark.parametrize(("data", "is_no_http"), [(b"Hello!\r\n\r\n", True), (b"", False)])
def test_an_answer_that_is_no_http_can_be_told_from_none(data: bytes, is_no_http: bool) -> None:
    protocol, transport = HTTP11ClientProtocol(), StringTransport()
    protocol.makeConnection(transport)
    asked = protocol.request(ClientRequest(b"GET", b"/", Headers({b"host": [b"x"]}), None))
    failed: list[Any] = []
    asked.addErrback(failed.append)
    protocol.dataReceived(data)
    protocol.connectionLost(Failure(ConnectionDone()))
    (failure,) = failed
    causes = [reason.value for reason in failure.value.reasons]
    assert any(map(twisted_private.is_no_http, causes)) is is_no_http


@pytest.mark.parametrize(
    ("data", "is_reading"),
    [
        (b"", True),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n", True),
        (b"HTTP/1.1 102 Wait\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", False),
    ],
)
def test_a_head_that_is_not_whole_can_be_told(data: bytes, is_reading: bool) -> None:
    protocol, transport = HTTP11ClientProtocol(), StringTransport()
    protocol.makeConnection(transport)
    assert twisted_private.head_reader(protocol) is None
    protocol.request(ClientRequest(b"GET", b"/", Headers({b"host": [b"x"]}), None))
    reader = twisted_private.head_reader(protocol)
    protocol.dataReceived(data)
    assert twisted_private.head_reader(protocol) is (reader if is_reading else None)


def test_interim_responses_are_not_logged(logged: LogBook) -> None:
    twisted_private.mute_interim_responses()
    protocol, transport = HTTP11ClientProtocol(), StringTransport()
    protocol.makeConnection(transport)
    protocol.request(ClientRequest(b"GET", b"/", Headers({b"host": [b"x"]}), None))
    protocol.dataReceived(b"HTTP/1.1 102 Wait\r\n\r\n" * 9)
    assert logged.events == []

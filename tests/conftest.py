"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet import reactor
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from zope.interface import implementer

from codex_bridge.cli.llama_server import LlamaServer
from codex_bridge.engines import retries
from tests import harness
from tests.engine.llama import llama_server
from tests.fake_ollama import FakeOllama

# How long an example takes says more about the machine than about the code. Few examples, so
# that the suite is run often; `python -m bench fuzz` tries as many as one has time for.
hypothesis.settings.register_profile(
    "suite", max_examples=40, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
# `python -m bench mutation` runs the tests once for each mutant: with the same few examples each
# time, and without looking for a smaller one.
hypothesis.settings.register_profile(
    "mutation",
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

# A shell starts background jobs with SIGINT ignored, nohup with SIGHUP. The programs that tests
# start would inherit that, and tests send them both signals. A handler of our own is not
# inherited: they get the default.
signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

AT_ONCE = {
    kind: evolve(rule, steps=tuple(evolve(step, wait=0.0) for step in rule.steps))
    for kind, rule in retries.RULES.items()
}
Start = Callable[..., Awaitable[harness.Setup]]


@implementer(ILogObserver)
class LogBook:
    """Everything that was logged during a test."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        self.events.append(event)

    def at(self, level: LogLevel) -> list[LogEvent]:
        return [event for event in self.events if event.get("log_level") is level]

    def errors(self) -> list[LogEvent]:
        return self.at(LogLevel.error) + self.at(LogLevel.critical)


@pytest.fixture(autouse=True)
def logged(request: pytest.FixtureRequest) -> Iterator[LogBook]:
    """The log of this test; an error in it that the test does not expect fails the test."""
    book = LogBook()
    globalLogPublisher.addObserver(book)
    yield book
    globalLogPublisher.removeObserver(book)
    if "expects_errors" not in request.keywords:
        assert [event.get("log_format") or event for event in book.errors()] == []


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep bridges, also those in processes of their own, out of the user's folder for state."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked again is asked at once; tests/engines/test_retries.py has the times."""
    monkeypatch.setattr(retries, "RULES", AT_ONCE)


@pytest.fixture(scope="session")
def llama_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file to which the engine of `llama` logs."""
    return tmp_path_factory.mktemp("llama") / "log"


@pytest.fixture(scope="session")
def llama(llama_log: Path) -> Iterator[LlamaServer]:
    """A real llama.cpp with a tiny model: one for all tests of a process, with one slot."""
    with llama_server(llama_log) as server:
        yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the engine's log with a test that failed over it."""
    report = yield
    log = item.funcargs.get("llama_log")
    if report.failed and log is not None:
        report.sections.append(("end of the engine's log", log.read_text(errors="replace")[-4000:]))
    return report


@pytest.fixture
def reactor_under_test() -> Any:
    """The reactor that pytest-twisted runs."""
    return reactor


@pytest_twisted.async_yield_fixture
async def start() -> AsyncIterator[Start]:
    """Start a fake Ollama with a model, and a bridge in front of it; stopped at the end."""
    running: list[harness.Setup] = []

    async def start_both(
        model: Any = None, fake: FakeOllama | None = None, **settings: Any
    ) -> harness.Setup:
        if fake is None:
            fake = FakeOllama(reactor, model=model) if model else FakeOllama(reactor)
        setup = await harness.start(reactor, fake, **settings)
        running.append(setup)
        return setup

    yield start_both
    for setup in running:
        await setup.stop()

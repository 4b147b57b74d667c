"""Tries a model through the bridge, with requests as Codex makes them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator

from codex_bridge import __version__
from codex_bridge.cli import blocking_http
from codex_bridge.cli.doctor import gather
from codex_bridge.cli.doctor.trials import TRIALS, Answer, Judgement, Probe, judged, request
from codex_bridge.vocabulary import Json

HEADERS = {
    "originator": "codex_exec",
    "user-agent": f"codex_exec (codex-bridge doctor {__version__})",
    "accept": "text/event-stream",
}
DELTAS = ("response.output_text.delta", "response.reasoning_summary_text.delta")


def probe(url: str, model: str, seconds: float, announce: Callable[[str, str], None]) -> Probe:
    """Make every trial, all of them within `seconds`.

    `announce` is called with the names of the model and the trial before each trial.
    """
    deadline = time.monotonic() + seconds
    done: list[Judgement] = []
    command: Answer | None = None
    for trial in TRIALS:
        announce(model, trial.name)
        answer = _answer(url, request(model, trial, command), deadline - time.monotonic())
        command = answer if trial.name == "command" else command
        done.append(judged(trial, answer))
        if answer.timed_out or answer.error:
            # The next trial would fail in the same way.
            break
    return Probe(model, tuple(done))


def _answer(url: str, body: Json, seconds: float) -> Answer:
    """The answer to one request, with what the bridge repaired in it.

    The bridge counts for all its clients, so the count includes repairs for others meanwhile.
    """
    if seconds <= 0:
        return Answer(timed_out=True)
    before = Counter(gather.repairs(url))
    started = time.monotonic()
    first: float | None = None
    last: Json = {}
    try:
        with blocking_http.bridge(url).open(
            "POST", "/v1/responses", body, seconds=seconds, headers=HEADERS
        ) as (_, lines):
            for event in _events(lines):
                if first is None and event.get("type") in DELTAS:
                    first = time.monotonic() - started
                last = event
    except blocking_http.OutOfTime:
        return Answer(timed_out=True)
    except blocking_http.Unreachable as error:
        return Answer(error=f"the bridge broke off ({error})")
    return _read(last, first, time.monotonic() - started, Counter(gather.repairs(url)) - before)


def _events(lines: Iterator[bytes]) -> Iterator[Json]:
    """The events of a stream. An error that is a plain JSON body counts as one event."""
    for line in lines:
        event = blocking_http.json_object(line.removeprefix(b"data: "))
        if event is not None:
            yield event


def _read(last: Json, first: float | None, seconds: float, repairs: Counter[str]) -> Answer:
    """The answer in the last event of a stream."""
    response = last.get("response")
    if not isinstance(response, dict) or last.get("type") != "response.completed":
        failure = response if isinstance(response, dict) else last
        return Answer(error=blocking_http.error_text(failure) or "the answer broke off")
    usage = response.get("usage") or {}
    return Answer(
        output=response.get("output") or [],
        repairs=dict(repairs),
        first_token=first,
        seconds=seconds,
        output_tokens=int(usage.get("output_tokens") or 0),
    )

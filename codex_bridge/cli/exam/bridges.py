"""The bridges that the exam starts for itself, and what they tell of their work.

A bridge of the user stays as it is: these are processes of their own, on free ports.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field, frozen

from codex_bridge.cli import blocking_http
from codex_bridge.cli.blocking_http import Server, Unreachable, json_object
from codex_bridge.cli.command_line import CommandError
from codex_bridge.settings import PREFIX, SETTINGS
from codex_bridge.vocabulary import Json

START_TIMEOUT = 60.0
"""Seconds in which a bridge has to listen, on a busy machine too."""
SETTLE_TIMEOUT = 30.0
"""Seconds in which exchanges have to end whose Codex has ended."""
KEPT = ("upstream_url", "upstream_api_key", "upstream_api", "num_ctx", "keep_alive")
"""Settings that the bridges take from the user's environment: how the model server is asked."""
MENDING = ("repair", "nudge")
"""Settings that are off in the bridge that mends nothing."""
ASKED = re.compile(r"\basked (\d+) times")
"""How often the model was asked in an exchange, in its outcome, if more than once."""


@frozen
class Work:
    """What a bridge did for one task."""

    generations: int = 0
    """How often the model was asked for an answer."""
    input_tokens: int = 0
    output_tokens: int = 0
    """Tokens of prompts and answers; where an exchange asked again, of its last answer."""
    mending: Counter[str] = field(factory=Counter)
    """What was mended, or asked again -> how often."""


def work_in(log: Iterable[Json], mended: Counter[str]) -> Work:
    """The work that the events of a log tell of; `mended` is what `/__health` counted meanwhile.

    The events are those of `Journal.log_line`, at the end of an exchange.
    """
    generations = tokens_in = tokens_out = 0
    for event in log:
        if "exchange" not in event:
            continue
        if "outcome" in event:
            asked = ASKED.search(str(event["outcome"]))
            generations += int(asked[1]) if asked else 1
            tokens_in += _number(event.get("input"))
            tokens_out += _number(event.get("output"))
    return Work(generations, tokens_in, tokens_out, +mended)


def _number(value: object) -> int:
    """A count of tokens; 0 where nobody counted."""
    return value if isinstance(value, int) else 0


@define
class Bridge:
    """A bridge that runs as a child process."""

    url: str
    log: Path
    _read: int = 0
    """How many bytes of the log were read."""
    _mended: Counter[str] = field(factory=Counter)
    """What it had mended when it was asked last."""

    def work_done(self) -> Work:
        """What it did since the last call. Waits until no exchange is open. Raises CommandError."""
        deadline = time.monotonic() + SETTLE_TIMEOUT
        health = self.health()
        while health["exchanges"]["open"] and time.monotonic() < deadline:
            time.sleep(0.05)
            health = self.health()
        before, self._mended = self._mended, Counter(health["repairs"])
        return work_in(events_in(self._new_text()), self._mended - before)

    def health(self) -> Json:
        """What `/__health` answers. Raises CommandError."""
        try:
            return Server(self.url).ask("GET", "/__health").json or {}
        except Unreachable as error:
            raise CommandError(f"the exam's own bridge went away ({error})") from None

    def _new_text(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._read)
            data = log.read()
        self._read += len(data)
        return data.decode(errors="replace")


def events_in(log: str) -> list[Json]:
    """The events of a log of `twist --log-format=json`, without lines that are none."""
    # The file begins with a mark, and each event with a record separator, see RFC 7464.
    lines = (line.strip("\x1e ") for line in log.splitlines())
    return [event for line in lines if (event := json_object(line.encode())) is not None]


@contextmanager
def running_bridge(folder: Path, upstream_url: str | None, *, mends: bool) -> Iterator[Bridge]:
    """A bridge that listens on a free port; without `mends` it mends nothing.

    `folder` gets its log. Without `upstream_url` it looks for a model server as `codex-bridge run`
    does. Raises CommandError with the bridge's own sentence if it does not start.
    """
    log = folder / f"{'mending' if mends else 'plain'}.log"
    options = ["--port", "0"]
    options += ["--upstream-url", upstream_url] if upstream_url else []
    if not mends:
        options += [f"--{SETTINGS[name].option}" for name in MENDING if name in SETTINGS]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - this program
            [sys.executable, "-m", "twisted", "--log-format=json", "codex-bridge", *options],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C in a terminal is for the exam, which ends its bridges.
            start_new_session=True,
        )
    try:
        yield Bridge(_url(process, log), log)
    finally:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    """This environment, without settings of a bridge but KEPT."""
    kept = {variable for name in KEPT for variable in SETTINGS[name].variables}
    ours = {key: value for key, value in os.environ.items() if key in kept}
    others = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    return others | ours


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where the bridge listens, once it does. Raises CommandError."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        has_ended = process.poll() is not None
        text = log.read_text(encoding="utf-8", errors="replace")
        for event in events_in(text):
            if {"host", "port", "version"} <= event.keys():
                return f"http://{event['host']}:{event['port']}"
        if has_ended:
            said = text.strip().splitlines() or ["the exam's own bridge did not start"]
            raise CommandError(said[-1].removeprefix("codex-bridge: "))
        time.sleep(0.02)
    raise CommandError(f"the exam's own bridge did not start within {START_TIMEOUT:.0f} s")


def check_upstream(url: str) -> None:
    """Raises CommandError if a bridge answers at `url`: its mending would count twice."""
    try:
        health = blocking_http.bridge(url).ask("GET", "/__health").json or {}
    except Unreachable:
        # The exam's own bridge tells why.
        return
    if isinstance(behind := health.get("upstream"), dict):
        raise CommandError(
            f"{url} is a codex-bridge; give the server behind it: --upstream-url {behind['url']}"
        )

"""Where log lines go and which of them: one level for everything, a bounded log file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TextIO

from attrs import frozen
from twisted.logger import (
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    PredicateResult,
    globalLogPublisher,
    textFileLogObserver,
)
from twisted.python.logfile import LogFile
from zope.interface import implementer, provider

from codex_bridge import signals
from codex_bridge.settings import Settings
from codex_bridge.text import visible

NAMESPACE = "codex_bridge"
MULTILINE = "body"
"""The one value of events that is logged as several lines: what --debug shows."""
ROTATE_AT = 10 * 1024 * 1024
"""Size at which the log file is rotated, in bytes."""
KEEP = 5
"""Rotated log files kept: a bridge that nobody looks at must not fill the disk."""


def predicate(settings: Settings) -> ILogFilterPredicate:
    """What is logged: errors only when quiet, our debug events when debugging, else info."""
    levels = LogLevelFilterPredicate(LogLevel.error if settings.quiet else LogLevel.info)
    if settings.debug:
        levels.setLogLevelForNamespace(NAMESPACE, LogLevel.debug)
    return levels


def make_logger(settings: Settings) -> Logger:
    """The logger of one bridge; it keeps to the level however the process logs."""
    observer = FilteringLogObserver(_Neutral(globalLogPublisher), [predicate(settings)])
    return Logger(namespace=NAMESPACE, observer=observer)


@implementer(ILogObserver)
@frozen
class _Neutral:
    """Hands events on with nothing in their values that forges a line or steers a terminal.

    Names, paths and messages come from clients, models and servers.
    """

    following: ILogObserver

    def __call__(self, event: LogEvent) -> None:
        self.following({key: _neutral(key, value) for key, value in event.items()})


def _neutral(key: str, value: Any) -> Any:
    if not isinstance(value, str) or key.startswith("log_") or value.isprintable():
        return value
    if key == MULTILINE:
        return "\n".join(map(visible, value.split("\n")))
    return visible(value)


def choose_observer(settings: Settings, twistd: Mapping[str, Any] | None) -> ILogObserver | None:
    """The observer for a process started as `twistd [twistd options] codex-bridge`.

    Writes where twistd would, but keeps to the level and to a bounded number of files.
    None where twistd's own choice stands: with --logger, with --syslog, under a tac file.
    """
    if twistd is None or twistd.get("logger") or twistd.get("syslog"):
        signals.on_hangup(None)
        return None
    filters = [predicate(settings), _is_worth_a_line]
    return FilteringLogObserver(textFileLogObserver(_log_file(twistd)), filters)


@provider(ILogFilterPredicate)
def _is_worth_a_line(event: LogEvent) -> Any:
    """Drop what reads like a failure and is none.

    Where nobody may write to site-packages, as it should be on a server, Twisted cannot cache
    its list of plugins; it looks for them anew at every start and says so every time.
    """
    if str(event.get("log_text", "")).startswith("Unable to write to plugin cache"):
        return PredicateResult.no
    return PredicateResult.maybe


def _log_file(twistd: Mapping[str, Any]) -> TextIO:
    name = twistd.get("logfile")
    if name == "-" or (not name and twistd.get("nodaemon")):
        if not twistd.get("nodaemon"):
            sys.exit("codex-bridge: a daemon has no stdout to log to; give --logfile a file")
        signals.on_rotate(None)
        signals.on_hangup(None)
        return sys.stdout
    try:
        log_file: Any = LogFile.fromFullPath(
            name or "twistd.log", rotateLength=ROTATE_AT, maxRotatedFiles=KEEP
        )
    except OSError as error:
        sys.exit(f"codex-bridge: cannot write the log file {name or 'twistd.log'}: {error}")
    signals.on_rotate(log_file.rotate)
    signals.on_hangup(log_file.reopen)
    stream: TextIO = log_file
    return stream

"""The log: which events are written, what their values may contain, and the file they go to."""

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
"""The one key of an event whose value may have several lines: the bodies that --debug logs."""
ROTATE_AT = 10 * 1024 * 1024
"""The log file is rotated when it has this size, in bytes."""
KEEP = 5
"""How many rotated log files are kept, so that a log never fills the disk."""


def level_filter(settings: Settings) -> ILogFilterPredicate:
    """Return the filter by level: with --quiet errors only, else info and above.

    With --debug it also lets the debug events of NAMESPACE pass.
    """
    levels = LogLevelFilterPredicate(LogLevel.error if settings.quiet else LogLevel.info)
    if settings.debug:
        levels.setLogLevelForNamespace(NAMESPACE, LogLevel.debug)
    return levels


def make_logger(settings: Settings) -> Logger:
    """Make the logger of one bridge. It filters by level, whatever observer the process has."""
    observer = FilteringLogObserver(_Escaping(globalLogPublisher), [level_filter(settings)])
    return Logger(namespace=NAMESPACE, observer=observer)


def logger_of(log: Logger, upstream: str) -> Logger:
    """`log` for one of several upstreams, whose name stands before every line."""
    return Logger(namespace=log.namespace, observer=_Naming(log.observer, upstream))


@implementer(ILogObserver)
@frozen
class _Naming:
    """Passes events to `observer` with `name`, which has no braces, before their text."""

    observer: ILogObserver
    name: str

    def __call__(self, event: LogEvent) -> None:
        self.observer(event | {"log_format": f"{self.name}: {event['log_format']}"})


@implementer(ILogObserver)
@frozen
class _Escaping:
    """Passes events to `observer` with line ends and control characters in their values escaped.

    Names, paths and messages come from clients, models and servers. Unescaped, they could forge
    log lines or send commands to a terminal.
    """

    observer: ILogObserver

    def __call__(self, event: LogEvent) -> None:
        self.observer({key: _escaped(key, value) for key, value in event.items()})


def _escaped(key: str, value: Any) -> Any:
    if not isinstance(value, str) or key.startswith("log_") or value.isprintable():
        return value
    if key == MULTILINE:
        return "\n".join(map(visible, value.split("\n")))
    return visible(value)


def choose_observer(settings: Settings, twistd: Mapping[str, Any] | None) -> ILogObserver | None:
    """Make the log observer of a process that was started as `twistd [OPTIONS] codex-bridge`.

    `twistd` holds twistd's own options; None under a tac file. The observer writes to where
    twistd would, but filters by level and keeps a bounded number of files. Returns None where
    twistd chooses the observer: with --logger, with --syslog, and under a tac file. Also installs
    the handlers of SIGUSR1 and SIGHUP.
    """
    if twistd is None or twistd.get("logger") or twistd.get("syslog"):
        signals.on_hangup(None)
        return None
    filters = [level_filter(settings), _is_worth_a_line]
    return FilteringLogObserver(textFileLogObserver(_log_file(twistd)), filters)


@provider(ILogFilterPredicate)
def _is_worth_a_line(event: LogEvent) -> Any:
    """Drop a message of Twisted that reads like a failure and is harmless.

    A service usually may not write to site-packages. Twisted then cannot cache its list of
    plugins, searches for them at every start, and logs an error each time.
    """
    if str(event.get("log_text", "")).startswith("Unable to write to plugin cache"):
        return PredicateResult.no
    return PredicateResult.maybe


def _log_file(twistd: Mapping[str, Any]) -> TextIO:
    """Open the log that twistd's options name: stdout, or a file that rotates."""
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

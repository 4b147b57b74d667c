"""Which events are logged, how, and where to."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.logger import Logger, LogLevel, formatEvent
from twisted.python.logfile import LogFile

from codex_bridge import log as logs
from codex_bridge import signals
from codex_bridge.settings import Settings
from tests.conftest import LogBook


def event(level: LogLevel, namespace: str = "codex_bridge") -> dict[str, Any]:
    return {
        "log_level": level,
        "log_namespace": namespace,
        "log_format": f"{level.name} of {namespace}",
        "log_time": 0.0,
    }


LEVELS = [LogLevel.debug, LogLevel.info, LogLevel.error]


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        (Settings(), ["info", "error"]),
        (Settings(debug=True), ["debug", "info", "error"]),
        (Settings(quiet=True), ["error"]),
    ],
)
def test_quiet_and_debug_set_the_level(
    settings: Settings, kept: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    observer = logs.choose_observer(settings, {"nodaemon": True})
    assert observer is not None
    for level in LEVELS:
        observer(event(level))
    assert [line.split("] ")[1].split()[0] for line in capsys.readouterr().out.splitlines()] == kept


def test_debug_logs_no_debug_events_of_libraries(
    capsys: pytest.CaptureFixture[str],
) -> None:
    observer = logs.choose_observer(Settings(debug=True), {"nodaemon": True})
    assert observer is not None
    observer(event(LogLevel.debug, "hpack"))
    assert capsys.readouterr().out == ""


def test_a_plugin_cache_that_cannot_be_written_is_not_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    observer = logs.choose_observer(Settings(), {"nodaemon": True})
    assert observer is not None
    for text in ("Unable to write to plugin cache x: error number 13", "Something else"):
        observer(
            event(LogLevel.info, "log_legacy") | {"log_format": "{log_text}", "log_text": text}
        )
    assert "plugin cache" not in (out := capsys.readouterr().out)
    assert "Something else" in out


@pytest.fixture(autouse=True)
def restored_signals() -> Iterator[None]:
    """Put the signals back as they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_without_a_log_file_the_signals_for_it_are_ignored() -> None:
    logs.choose_observer(Settings(), {"nodaemon": True})
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_under_nohup_a_hangup_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signals.on_hangup(lambda: None)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.parametrize("twistd", [None, {"logger": "x"}, {"syslog": True}])
def test_the_users_own_choice_of_observer_stands(twistd: dict[str, Any] | None) -> None:
    assert logs.choose_observer(Settings(), twistd) is None


def test_the_log_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[LogFile] = []

    def open_file(*args: Any, **named: Any) -> LogFile:
        opened.append(LogFile.fromFullPath(*args, **named))
        return opened[-1]

    monkeypatch.setattr(logs, "LogFile", SimpleNamespace(fromFullPath=open_file))
    monkeypatch.setattr(logs, "ROTATE_AT", 1000)
    observer = logs.choose_observer(Settings(), {"logfile": str(tmp_path / "bridge.log")})
    assert observer is not None
    for _ in range(500):
        observer(event(LogLevel.info))
    opened[0].close()
    files = list(tmp_path.iterdir())
    assert len(files) == 1 + logs.KEEP
    assert sum(path.stat().st_size for path in files) < 1100 * (1 + logs.KEEP)


def test_a_log_file_that_cannot_be_written_ends_the_start_with_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="cannot write the log file"):
        logs.choose_observer(Settings(), {"logfile": str(tmp_path / "no" / "folder.log")})


def test_a_daemon_cannot_log_to_stdout() -> None:
    with pytest.raises(SystemExit, match="--logfile"):
        logs.choose_observer(Settings(), {"logfile": "-"})


def test_the_logger_of_a_bridge_filters_by_level_itself(logged: Any) -> None:
    log: Logger = logs.make_logger(Settings(quiet=True))
    log.info("not this")
    assert logged.events == []


@pytest.mark.parametrize(
    ("text", "logged_as"),
    [
        ("m\r\n2026-01-01 all is well", "m\\r\\n2026-01-01 all is well"),
        ("\x1b]0;evil\x07\x1b[2J", "\\x1b]0;evil\\x07\\x1b[2J"),
        ("\x9b2J", "\\x9b2J"),
        ("\u202etxt.exe\u2066\u2069", "\\u202etxt.exe\\u2066\\u2069"),
        ("\u2028x\u0085y", "\\u2028x\\x85y"),
        ("qwen3:14b, größer 模型", "qwen3:14b, größer 模型"),
    ],
)
def test_line_ends_and_control_characters_in_values_are_escaped(
    logged: LogBook, text: str, logged_as: str
) -> None:
    logs.make_logger(Settings()).info("{model} answers", model=text)
    assert formatEvent(logged.events[-1]) == f"{logged_as} answers"


def test_a_body_keeps_its_line_ends_and_no_control_characters(logged: LogBook) -> None:
    logs.make_logger(Settings(debug=True)).debug("{body}", body='{\n  "a": "\x9b2J\r"\n}')
    assert formatEvent(logged.events[-1]) == '{\n  "a": "\\x9b2J\\r"\n}'

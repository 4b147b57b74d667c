"""Flags and environment variables -> Settings, with a clear sentence for every mistake."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, NoReturn, TypeVar
from urllib.parse import urlsplit

from twisted.python import usage

from codex_bridge import __version__
from codex_bridge.settings import (
    DEFAULT_CLIENT_TIMEOUT,
    DEFAULT_DRAIN,
    DEFAULT_GRACE,
    DEFAULT_HEARTBEAT,
    DEFAULT_MAX_BODY_SIZE,
    DEFAULT_OLLAMA_URL,
    DEFAULT_PORT,
    DEFAULT_TOOL_PROFILE,
    DEFAULT_UPSTREAM_API,
    DEFAULT_UPSTREAM_TIMEOUT,
    TOOL_PROFILES,
    UPSTREAM_APIS,
    Settings,
)

ENVIRONMENT_PREFIX = "CODEX_BRIDGE_"
T = TypeVar("T")
DURATION = re.compile(r"-?\d+|-?(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")
KEY = re.compile(r"[\x21-\x7e]+")
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]*", re.ASCII)
LISTS = ("allow-host", "allow-origin")
"""Options that may be given several times, or several values at once."""
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def environment_name(option: str) -> str:
    """The variable that sets `option`: "ollama-url" -> "CODEX_BRIDGE_OLLAMA_URL"."""
    return ENVIRONMENT_PREFIX + option.upper().replace("-", "_")


class Options(usage.Options):
    """The command line of `twistd codex-bridge`. After parsing, `settings` holds the result.

    A flag wins over its environment variable, and that over the default. A mistake ends
    the process with one line on stderr and exit code 1.
    """

    synopsis = "[options]"
    longdesc = (
        "Stands on Ollama's port, speaks the Responses API that the Codex CLI needs, and "
        "passes everything else through. Every option can also be set by an environment "
        "variable: --ollama-url is CODEX_BRIDGE_OLLAMA_URL, --debug is CODEX_BRIDGE_DEBUG=1."
    )
    optParameters: ClassVar[list[list[Any]]] = [
        ["port", "p", DEFAULT_PORT, "TCP port to listen on; 0 = any free one."],
        ["interface", None, "127.0.0.1", "IP address to listen on."],
        ["ollama-url", None, DEFAULT_OLLAMA_URL, "URL where Ollama itself listens."],
        [
            "api-key",
            None,
            None,
            "Key that clients have to show. Others can read a command line: use the variable.",
        ],
        [
            "max-body-size",
            None,
            DEFAULT_MAX_BODY_SIZE,
            "Largest request body of /v1/responses, in bytes.",
        ],
        [
            "client-timeout",
            None,
            DEFAULT_CLIENT_TIMEOUT,
            "Seconds that a client may take to send a request; a large one gets more.",
        ],
        [
            "upstream-stream",
            None,
            "on",
            "on or off; off asks Ollama for one JSON answer and streams that.",
        ],
        [
            "upstream-api",
            None,
            DEFAULT_UPSTREAM_API,
            "chat (completions), ollama (/api/chat, which can set the context), or auto.",
        ],
        ["num-ctx", None, None, "Context to ask Ollama for, in tokens. [default: 32768 if needed]"],
        ["keep-alive", None, None, "How long Ollama keeps a model in memory: 30m, -1 = for ever."],
        ["grace", None, DEFAULT_GRACE, "Seconds that a stream waits for an early refusal."],
        ["heartbeat", None, DEFAULT_HEARTBEAT, "Seconds between signs of life on a silent stream."],
        [
            "upstream-timeout",
            None,
            DEFAULT_UPSTREAM_TIMEOUT,
            "Seconds of silence after which an answer of Ollama is given up.",
        ],
        ["drain", None, DEFAULT_DRAIN, "Seconds for running answers to end when stopped."],
        [
            "tool-profile",
            None,
            DEFAULT_TOOL_PROFILE,
            "How much of Codex's tools the model is shown: essential, compact or full.",
        ],
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        ["debug", None, "Log both bodies of every exchange. [default: off]"],
        ["quiet", None, "Log errors only. [default: off]"],
        ["no-directives", None, "Do not tell the model how to call functions. [default: off]"],
        ["no-context-guard", None, "Send prompts that do not fit the context. [default: off]"],
        ["no-repair", None, "Pass calls on as the model wrote them. [default: off]"],
    ]

    settings: Settings
    parent: usage.Options | None = None

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self.opts.update(dict.fromkeys(LISTS))
        self._from_environment: dict[str, str | None] = {}
        for option in list(self.opts):
            value = environ.get(environment_name(option))
            if value is not None:
                self._from_environment[option] = value
                self.opts[option] = value

    def opt_listen_port(self, port: str) -> None:
        """The same as --port."""
        self.opts["port"] = port

    def opt_allow_host(self, names: str) -> None:
        """Accept this name in Host, too; several with commas, or '*' for all."""
        self._add("allow-host", names)

    def opt_allow_origin(self, origins: str) -> None:
        """Let pages of this origin use the bridge, too; several with commas, or '*' for all."""
        self._add("allow-origin", origins)

    def _add(self, option: str, values: str) -> None:
        given = self.opts[option]
        is_first = given is None or given is self._from_environment.get(option)
        self.opts[option] = values if is_first else f"{given},{values}"

    def opt_version(self) -> NoReturn:
        """Print the version of codex-bridge and exit."""
        print(f"codex-bridge {__version__}")  # noqa: T201
        sys.exit(0)

    def parseOptions(self, options: Any = None) -> None:
        """Parse, or end the process with one line: usage pages drown the sentence that counts."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            sys.exit(f"codex-bridge: {error}")

    def parseArgs(self) -> None:
        """Take no arguments, only options."""

    def postOptions(self) -> None:
        """Check every value and make `settings` of them."""
        if self._flag("debug") and self._flag("quiet"):
            raise usage.UsageError("--debug and --quiet exclude each other; give one of them")
        self.settings = Settings(
            port=self._number("port", 0, 65535),
            interface=self._checked("interface", _interface),
            ollama_url=self._checked("ollama-url", base_url),
            allow_host=self._several("allow-host", _host),
            allow_origin=self._several("allow-origin", _origin),
            api_key=self._key(),
            debug=self._flag("debug"),
            quiet=self._flag("quiet"),
            max_body_size=self._number("max-body-size", 1024, 1 << 40),
            client_timeout=self._number("client-timeout", 1, 86400),
            upstream_stream=self._checked("upstream-stream", _on_off),
            upstream_api=self._one_of("upstream-api", UPSTREAM_APIS),
            num_ctx=None if self.opts["num-ctx"] is None else self._number("num-ctx", 512, 1 << 24),
            keep_alive=None
            if self.opts["keep-alive"] is None
            else self._checked("keep-alive", _duration),
            context_guard=not self._flag("no-context-guard"),
            grace=self._seconds("grace", 0, 60),
            heartbeat=self._seconds("heartbeat", 0.1, 3600),
            upstream_timeout=self._seconds("upstream-timeout", 1, 1_000_000),
            drain=self._seconds("drain", 0, 86400),
            tool_profile=self._one_of("tool-profile", TOOL_PROFILES),
            directives=not self._flag("no-directives"),
            repair=not self._flag("no-repair"),
        )
        _refuse_loop(self.settings)
        _refuse_what_chat_cannot_carry(self.settings)

    def _source(self, option: str) -> str:
        """The name under which the user gave the value, for messages."""
        if self.opts[option] is self._from_environment.get(option):
            return environment_name(option)
        return f"--{option}"

    def _checked(self, option: str, check: Callable[[str], T]) -> T:
        try:
            return check(str(self.opts[option]).strip())
        except ValueError as error:
            raise usage.UsageError(
                f"{self._source(option)}: {error} (got {self.opts[option]!r})"
            ) from None

    def _several(self, option: str, check: Callable[[str], str]) -> tuple[str, ...]:
        def check_all(text: str) -> tuple[str, ...]:
            return tuple(check(part.strip().lower()) for part in text.split(",") if part.strip())

        return () if self.opts[option] is None else self._checked(option, check_all)

    def _key(self) -> str | None:
        """The key, which nothing else keeps and no message shows."""
        source, given = self._source("api-key"), self.opts["api-key"]
        self.opts["api-key"] = self._from_environment["api-key"] = None
        if given is not None and not KEY.fullmatch(given.strip()):
            raise usage.UsageError(
                f"{source}: give a key of ASCII letters, digits and signs, without spaces; leave "
                f"the option out to ask for none"
            )
        return None if given is None else given.strip()

    def _number(self, option: str, low: int, high: int) -> int:
        def check(text: str) -> int:
            # int() alone would also take "1_000" and digits of other scripts.
            if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
                raise ValueError(f"give a whole number from {low} to {high}")
            return int(text)

        return self._checked(option, check)

    def _seconds(self, option: str, low: float, high: float) -> float:
        def check(text: str) -> float:
            if not SECONDS.fullmatch(text) or not low <= float(text) <= high:
                raise ValueError(f"give a number of seconds from {low} to {high}")
            return float(text)

        return self._checked(option, check)

    def _one_of(self, option: str, words: Collection[str]) -> str:
        def check(text: str) -> str:
            if text.lower() not in words:
                raise ValueError(f"give one of {', '.join(words)}")
            return text.lower()

        return self._checked(option, check)

    def _flag(self, option: str) -> bool:
        if self.opts[option] in (0, 1):
            return bool(self.opts[option])
        return self._checked(option, _on_off)


def _on_off(text: str) -> bool:
    word = text.lower()
    if word in {"on", "1", "true", "yes"}:
        return True
    if word in {"off", "0", "false", "no", ""}:
        return False
    raise ValueError("give on or off")


def _duration(text: str) -> str:
    """A time in the words of Ollama: seconds, or units as Go writes them."""
    if not DURATION.fullmatch(text):
        raise ValueError("give a time such as 30m, 2h or 600 (seconds), or -1 for ever")
    return text


def _interface(text: str) -> str:
    if not text or any(c.isspace() or c in "/[]" for c in text):
        raise ValueError("give an IP address such as 127.0.0.1, 0.0.0.0 or ::1")
    return text


def _host(text: str) -> str:
    name = text.removesuffix(".").removeprefix("[").removesuffix("]")
    is_address = name.count(":") > 1
    if not name.isascii() or any(c.isspace() or c in "/@[]" for c in name):
        raise ValueError("give names such as bridge.example.com, or *")
    if not is_address and (":" in name or ("*" in name and name != "*")):
        raise ValueError("give names such as bridge.example.com, without port, or * for all")
    return name


def _origin(text: str) -> str:
    if text != "*" and (not ORIGIN.fullmatch(text) or text.count("*") > 1):
        raise ValueError("give origins such as https://app.example.com, with at most one *, or *")
    return text


def base_url(text: str, example: str = DEFAULT_OLLAMA_URL) -> str:
    """A server's base URL without a trailing slash, or ValueError with what is wrong."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises on a port that is none
    except ValueError as error:
        raise ValueError(f"this is no URL: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"give a URL such as {example}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("give only scheme, host, port and path")
    if not text.isascii() or any(c.isspace() or ord(c) < 33 for c in text):
        raise ValueError("a URL has no spaces and only ASCII characters")
    path = parts.path.rstrip("/")
    if path.endswith("/v1"):
        raise ValueError("leave out /v1; the bridge adds the paths itself")
    return f"{parts.scheme}://{parts.netloc}{path}"


def _refuse_loop(settings: Settings) -> None:
    """Refuse an upstream that is this bridge: every request would call itself for ever."""
    parts = urlsplit(settings.ollama_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    here = LOOPBACK_NAMES | {settings.interface}
    if port == settings.port and parts.hostname in here:
        raise usage.UsageError(
            f"--ollama-url {settings.ollama_url} is the bridge's own address; start Ollama on "
            f"another port (OLLAMA_HOST=127.0.0.1:11433) and name that one"
        )


def _refuse_what_chat_cannot_carry(settings: Settings) -> None:
    """Refuse what Ollama would ignore without a word."""
    if settings.upstream_api != "chat":
        return
    because = "cannot be set through chat completions; use --upstream-api ollama"
    if settings.num_ctx is not None:
        raise usage.UsageError(
            f"--num-ctx {because}, or make a model with that context of its own: "
            f"codex-bridge prepare MODEL --num-ctx {settings.num_ctx}"
        )
    if settings.keep_alive is not None:
        raise usage.UsageError(
            f"--keep-alive {because}, or set OLLAMA_KEEP_ALIVE={settings.keep_alive} for Ollama"
        )

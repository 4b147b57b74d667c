"""Every setting of the service, declared once.

Flags, environment variables, checks and `--help` come from these declarations (through
`codex_bridge.options`), and so does README's table, which `python -m codex_bridge.settings` prints.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from attrs import field, fields, frozen

from codex_bridge import values

T = TypeVar("T")
PREFIX = "CODEX_BRIDGE_"
"""All names of environment variables begin with this."""
URL_VARIABLE = f"{PREFIX}URL"
"""Tells the other commands where the bridge listens."""
OTHER_VARIABLES = frozenset({URL_VARIABLE, f"{PREFIX}STATE_DIR", f"{PREFIX}VENV"})
"""Variables that set no setting. The last two are those of deploy/codex-bridge-ctl.sh."""

USUAL_URLS = ("http://localhost:11433", "http://localhost:11434")
"""Where the bridge looks for Ollama if it is not told: where an Ollama listens that has left its
port to the bridge, then Ollama's own port. The bridge leaves out the port that it has itself."""
UPSTREAM_APIS = ("auto", "chat", "ollama")
TOOL_PROFILES = ("small", "essential", "compact", "full")


def _setting(default: T, check: Callable[[str], T], meaning: str, **more: Any) -> T:
    """A field of Settings; the attributes of `Setting` tell what the arguments are."""
    setting = {"check": check, "meaning": meaning, **more}
    value: T = field(default=default, repr="is_secret" not in more, metadata=setting)
    return value


def _flag(default: bool, meaning: str) -> bool:
    return _setting(default, values.on_off, meaning, is_flag=True)


@frozen
class Settings:
    """The values of all settings of one bridge."""

    port: int = _setting(
        11434,
        values.whole_number(0, 65535),
        "TCP port to listen on; 0 takes any free one",
        short="p",
        alias="listen-port",
    )
    interface: str = _setting("127.0.0.1", values.interface, "IP address to listen on")
    upstream_url: str = _setting(
        USUAL_URLS[0],
        values.base_url,
        "URL where Ollama, or another model server, listens; if you do not give it and nothing "
        "answers there, a bridge with another `--port` also looks at http://localhost:11434, "
        "Ollama's usual address",
        alias="ollama-url",
    )
    upstream: tuple[tuple[str, str], ...] = _setting(
        (),
        values.several(values.upstream),
        "several servers in place of `--upstream-url`, each with a name: "
        "`gpu=http://10.0.0.5:11434`; give it several times, or servers with commas between them "
        "([how they share the work](docs/scaling.md#one-bridge-several-upstreams))",
    )
    allow_host: tuple[str, ...] = _setting(
        (),
        values.several(values.host),
        "names in the Host header that are accepted besides those of this machine; give it several "
        "times, or names with commas between them; `*` accepts all "
        "([who may use it](#who-may-use-it))",
    )
    allow_origin: tuple[str, ...] = _setting(
        (),
        values.several(values.origin),
        "web pages that may use the bridge's own routes besides those of this machine: "
        "`https://app.example.com`; give it several times, or pages with commas between them; one "
        "`*` in each stands for anything",
    )
    api_key: str | None = _setting(
        None,
        values.key,
        "key that clients have to send; set it as `CODEX_BRIDGE_API_KEY`, because every user of a "
        "machine can read its command lines",
        is_secret=True,
    )
    upstream_api_key: str | None = _setting(
        None,
        values.key,
        "key that the bridge sends to the server behind it; set it as "
        "`CODEX_BRIDGE_UPSTREAM_API_KEY`, because every user of a machine can read its command "
        "lines ([what it does](docs/security.md#a-key-for-the-server-behind-the-bridge)); with "
        "`--upstream` a key for each server that wants one, `gpu=KEY`, with commas between them",
        is_secret=True,
        is_repeated=True,
    )
    seal_key: str | None = _setting(
        None,
        values.file,
        "file with the key that seals the summaries of compacted conversations, made when it is "
        "first needed; without this option it is `codex-bridge/seal.key` in `~/.local/state`, or "
        "in `$XDG_STATE_HOME` ([what it protects](docs/security.md#the-seal-of-a-summary))",
    )
    alias: tuple[tuple[str, str], ...] = _setting(
        (),
        values.several(values.alias),
        "another name for a model, for clients whose names of models are fixed: "
        "`gpt-4o=qwen3:14b`; give it several times, or names with commas between them "
        "([where it counts](docs/models.md#other-names-for-a-model))",
    )
    max_body_size: int = _setting(
        64 * 1024 * 1024,
        values.whole_number(1024, 1 << 40),
        "largest request body of `/v1/responses`, in bytes; Codex sends the whole conversation "
        "each time, with all screenshots",
    )
    max_answer_size: int = _setting(
        8 * 1024 * 1024,
        values.whole_number(1024, 1 << 40),
        "largest answer of a model, in bytes; the bridge keeps an answer until it is whole, since "
        "its last event repeats it",
    )
    store: str = _setting(
        values.MEMORY,
        values.store,
        "where responses are kept for clients that refer back to them: `memory`, the path of a "
        "file, or `off` ([what is kept](docs/state.md))",
    )
    store_age: int = _setting(
        30,
        values.whole_number(1, 36500),
        "days that a response is kept",
    )
    store_size: int = _setting(
        256 * 1024 * 1024,
        values.whole_number(1 << 20, 1 << 40),
        "what all kept responses may take, in bytes; the oldest go first",
    )
    client_timeout: int = _setting(
        30,
        values.whole_number(1, 86400),
        "seconds that a client may take to send the headers of a request, and then its body; each "
        "64 KiB of a body adds one second",
    )
    confirm: bool = _flag(
        True,
        "do not ask the model whether it means a call that it may only have quoted or shown; then "
        "such a call is never run "
        "([why](docs/security.md#what-the-model-only-quotes))",
    )
    nudge: bool = _flag(
        True,
        "do not ask a model to go on that announced its next step and stopped "
        "([when it is asked](docs/failures.md#slips-of-the-model))",
    )
    think_budget: int | None = _setting(
        None,
        values.whole_number(1, 1 << 24),
        "tokens that a model may think in one answer; then its thought is ended, and it is asked "
        "for its answer",
    )
    upstream_stream: bool = _setting(
        True,
        values.on_off,
        "`on` or `off`; `off` asks the server for one JSON answer and makes the stream of it, for "
        "servers whose streams are broken",
    )
    upstream_api: str = _setting(
        "auto",
        values.one_of(*UPSTREAM_APIS),
        "how the server is asked: `ollama` (`/api/chat`), `chat` (`/v1/chat/completions`, which "
        "other servers know too), or `auto`: `/api/chat` if the server is Ollama, else "
        "`/v1/chat/completions` ([what differs](docs/models.md#how-to-get-it))",
    )
    num_ctx: int | None = _setting(
        None,
        values.whole_number(512, 1 << 24),
        "context that the bridge asks Ollama to allocate, in tokens; without this option it asks "
        "for 32768 if Ollama by itself allocates less than Codex needs; never more than the model "
        "was made for",
    )
    keep_alive: str | None = _setting(
        None,
        values.duration,
        "how long Ollama keeps a model in memory: `30m`, `600` (seconds), `-1` for ever",
    )
    read_ahead: bool = _setting(
        True,
        values.on_off,
        "`on` or `off`; `on` has a model read the instructions and tools of a conversation before "
        "the user has typed, when Codex tells that it starts "
        "([what that saves](docs/performance.md))",
    )
    share_context: bool = _flag(
        False,
        "give the same context to other programs that use a model of Codex's through `/api/chat` "
        "or `/api/generate` of the bridge and name none, so that Ollama does not load it anew for "
        "each of them ([when this helps](docs/models.md#other-programs-with-the-same-model))",
    )
    context_guard: bool = _flag(
        True, "send a prompt even if it does not fit into the context, and let Ollama cut it"
    )
    grace: float = _setting(
        0.5,
        values.seconds(0, 60),
        "longest time in seconds until the bridge begins a stream; a failure before that can still "
        "be an HTTP status",
    )
    heartbeat: float = _setting(
        15.0,
        values.seconds(0.1, 3600),
        "seconds without an event after which the bridge sends a heartbeat event; Codex gives up "
        "after 300",
    )
    websocket: bool = _setting(
        True,
        values.on_off,
        "`on` or `off`: whether clients may send their requests over a WebSocket "
        "([what that gives](docs/protocol.md#websocket)); with `off` Codex uses HTTP",
    )
    upstream_timeout: float = _setting(
        1800.0,
        values.seconds(1, 1_000_000),
        "seconds without a byte from Ollama after which the bridge gives an answer up; Ollama is "
        "also silent while it loads a model and reads a long prompt",
    )
    drain: float = _setting(
        30.0,
        values.seconds(0, 86400),
        "when the bridge is stopped, seconds that running replies get to end by themselves; a "
        "second signal ends them at once",
    )
    tool_profile: str = _setting(
        "essential",
        values.one_of(*TOOL_PROFILES),
        "how much of each tool the model is shown: `small`, `essential`, `compact` or `full` "
        "([what that means](docs/tools.md))",
    )
    directives: bool = _flag(True, "do not tell the model how to call functions")
    repair: bool = _flag(True, "pass calls on as the model wrote them, with their mistakes")
    debug: bool = _flag(
        False,
        "log what Codex sent, what the model was asked and what went back, each cut at 20,000 "
        "characters (this includes prompts)",
    )
    quiet: bool = _flag(False, "log errors only")

    @property
    def servers(self) -> dict[str, tuple[str, str | None]]:
        """The name of each upstream -> its base URL and its key, in the order of the options.

        The one of --upstream-url has the name "". Raises ValueError where the keys do not fit to
        the upstreams; no message has a part of a key.
        """
        if not self.upstream:
            return {"": (self.upstream_url, self.upstream_api_key)}
        keys = dict(values.upstream_keys(self.upstream_api_key or ""))
        if not keys.keys() <= {name for name, _ in self.upstream}:
            raise ValueError("a key has a name that no --upstream has")
        return {name: (url, keys.get(name)) for name, url in self.upstream}


@frozen
class Setting:
    """How a user sets one attribute of `Settings`."""

    attribute: str
    default: Any
    check: Callable[[str], Any]
    """Text -> value. Raises ValueError with what to give instead."""
    meaning: str
    """What the option does, in Markdown. README shows it as it is, --help without the markup."""
    short: str | None = None
    """The letter of its short flag."""
    alias: str | None = None
    """A second name of its flag; the variable of the same name counts, too."""
    is_flag: bool = False
    """Whether it is a switch without a value: --NAME, or --no-NAME where the default is on."""
    is_secret: bool = False
    """Whether no message may show the value."""
    is_repeated: bool = False
    """Whether its text may be a list, though its value is none."""

    @property
    def option(self) -> str:
        """The name of its flag, without the two dashes."""
        name = self.attribute.replace("_", "-")
        return f"no-{name}" if self.is_flag and self.default else name

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return self.variables[-1]

    @property
    def variables(self) -> list[str]:
        """The variables that set it; where several are set, the last one wins."""
        names = [self.alias, self.option] if self.alias else [self.option]
        return [PREFIX + name.upper().replace("-", "_") for name in names]

    @property
    def is_list(self) -> bool:
        """Whether it may be given several times, or several values at once."""
        return self.is_repeated or isinstance(self.default, tuple)

    @property
    def default_text(self) -> str | None:
        """The default as a user would write it; None where there is none."""
        if isinstance(self.default, bool):
            return "on" if self.default and not self.is_flag else "off"
        return str(self.default).removesuffix(".0") if self.default else None

    @property
    def help(self) -> str:
        """What --help says; Twisted adds the default where an option takes a value."""
        text = re.sub(r" \(\[.*?\]\(.*?\)\)|`", "", self.meaning)
        return f"{text[0].upper()}{text[1:]}.{' [default: off]' if self.is_flag else ''}"

    @property
    def row(self) -> str:
        """Its row in README's table."""
        names = f"`--{self.option}`"
        names += f", `-{self.short}`" if self.short else ""
        names += f", `--{self.alias}`" if self.alias else ""
        return f"| {names} | {self.default_text or ''} | {self.meaning} |".replace("|  |", "| |")

    def read(self, source: str, text: str) -> Any:
        """The value that `text`, given by the flag or variable `source`, stands for.

        Raises ValueError with a sentence for the user.
        """
        try:
            value = self.check(text.strip())
        except ValueError as error:
            shown = "" if self.is_secret else f" (got {text!r})"
            raise ValueError(f"{source}: {error}{shown}") from None
        return value != self.default if self.is_flag else value


DEFAULTS = Settings()
SETTINGS = {
    each.name: Setting(each.name, each.default, **each.metadata) for each in fields(Settings)
}
"""Attribute of Settings -> how a user sets it, in README's order."""


def table() -> str:
    """The options in Markdown, as README shows them."""
    rows = [setting.row for setting in SETTINGS.values()]
    version = "| `--version` | | print the version and exit |"
    return "\n".join(["| option | default | meaning |", "|---|---|---|", *rows, version])


if __name__ == "__main__":
    print(table())  # noqa: T201

"""The command line and the environment -> Settings, with one clear line for every mistake."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar, NoReturn

from twisted.python import usage

from codex_bridge import __version__, advice
from codex_bridge.settings import (
    OTHER_VARIABLES,
    PREFIX,
    SETTINGS,
    USUAL_URLS,
    Setting,
    Settings,
)
from codex_bridge.text import visible


class Options(usage.Options):
    """The command line of `twistd codex-bridge`. After parsing, `settings` holds the result.

    A flag wins over its environment variable, and that over the default. A mistake ends
    the process with one line on stderr and exit code 1.
    """

    synopsis = "[options]"
    longdesc = (
        "Stands in front of Ollama, speaks the Responses API that the Codex CLI needs, and "
        "passes everything else through. Every option can also be set by an environment "
        "variable: --upstream-url is CODEX_BRIDGE_UPSTREAM_URL, --debug is CODEX_BRIDGE_DEBUG=1."
    )
    optParameters: ClassVar[list[list[Any]]] = [
        [setting.option, setting.short, setting.default_text, setting.help]
        for setting in SETTINGS.values()
        if not setting.is_flag and not setting.is_list
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        [setting.option, None, setting.help] for setting in SETTINGS.values() if setting.is_flag
    ]

    settings: Settings
    is_upstream_given: bool
    """Whether a flag or a variable names the upstream."""
    parent: usage.Options | None = None

    def __init__(self) -> None:
        super().__init__()
        # Twisted has put the defaults into this dict. Remove them: it is to hold flags only.
        self.clear()

    def opt_version(self) -> NoReturn:
        """Print the version of codex-bridge and exit."""
        print(f"codex-bridge {__version__}")  # noqa: T201
        sys.exit(0)

    def parseOptions(self, options: Any = None) -> None:
        """Parse `options`, by default the arguments of the process.

        A mistake exits at once: Twisted would print the whole usage page around its message.
        """
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            sys.exit(f"codex-bridge: {error}")

    def parseArgs(self) -> None:
        """Take no arguments, only options."""

    def postOptions(self) -> None:
        """Check every value and make `settings` of them."""
        flags = {option: (f"--{option}", str(value)) for option, value in self.items()}
        # The texts of the flags hold the API key. From here on only the settings hold it.
        self.clear()
        try:
            texts = _variables(os.environ) | flags
            values = {
                attribute: setting.read(*texts[setting.option])
                for attribute, setting in SETTINGS.items()
                if setting.option in texts
            }
            self.settings = Settings(**values)
            self.is_upstream_given = "upstream_url" in values or "upstream" in values
            if self.settings.upstream and "upstream-url" in texts:
                given = f"{texts['upstream'][0]} and {texts['upstream-url'][0]}"
                raise ValueError(f"{given} exclude each other; give every server by --upstream")
            _refuse_conflicts(self.settings)
            for name, (url, _) in self.settings.servers.items() if self.is_upstream_given else ():
                given = f"--upstream {name}={url}" if name else f"--upstream-url {url}"
                _refuse_own_address(given, url, self.settings)
        except ValueError as error:
            raise usage.UsageError(str(error)) from None


def _handler(setting: Setting, doc: str) -> Callable[[Options, str], None]:
    """The method that Twisted calls with the value of `setting`; --help shows `doc`."""

    def handle(options: Options, text: str) -> None:
        has_more = setting.is_list and setting.option in options
        options[setting.option] = f"{options[setting.option]},{text}" if has_more else text

    handle.__doc__ = doc
    return handle


for _setting in SETTINGS.values():
    if _setting.is_list:
        setattr(Options, f"opt_{_setting.attribute}", _handler(_setting, _setting.help))
    if _setting.alias:
        _method = f"opt_{_setting.alias.replace('-', '_')}"
        setattr(Options, _method, _handler(_setting, f"The same as --{_setting.option}."))


def _variables(environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Option -> the name and the text of the environment variable that sets it.

    Raises ValueError for an unknown name that begins with PREFIX: with a misspelt name the bridge
    would run with a default, while the user believes that it is changed.
    """
    options = {
        variable: setting.option for setting in SETTINGS.values() for variable in setting.variables
    }
    for name in environ:
        if name.startswith(PREFIX) and name not in options and name not in OTHER_VARIABLES:
            close = get_close_matches(name.upper(), [*options, *OTHER_VARIABLES], 1, cutoff=0)
            raise ValueError(
                f"{visible(name)} is no setting of codex-bridge; did you mean {close[0]}?"
            )
    return {option: (name, environ[name]) for name, option in options.items() if name in environ}


def _refuse_own_address(given: str, url: str, settings: Settings) -> None:
    """Raise ValueError where `url`, of the upstream that was `given`, is the bridge's own.

    The bridge would send every request to itself, without end.
    """
    host, port = advice.address(url)
    if port == settings.port and (advice.is_local(url) or host == settings.interface):
        free = advice.address(advice.elsewhere(url))[1]
        other = next(each for each in USUAL_URLS if advice.address(each)[1] != port)
        raise ValueError(
            f"{given} is the bridge's own address; give the bridge another port "
            f"(--port {free}), or start the model server on another one (Ollama: "
            f"{advice.serve(other)}) and name its new address"
        )


def _refuse_conflicts(settings: Settings) -> None:
    """Raise ValueError where settings cannot go together."""
    if settings.debug and settings.quiet:
        raise ValueError("--debug and --quiet exclude each other; give one of them")
    _refuse_chains(settings.alias)
    if len(dict(settings.upstream)) < len(settings.upstream):
        raise ValueError("--upstream: two servers have the same name; give each a name of its own")
    try:
        settings.servers  # noqa: B018 - raises where keys do not fit
    except ValueError as error:
        raise ValueError(f"--upstream-api-key: {error}") from None
    if settings.upstream_api != "chat":
        return
    # Ollama ignores both fields in chat completions, and says nothing of it.
    because = "cannot be set through chat completions; use --upstream-api ollama"
    if settings.num_ctx is not None:
        raise ValueError(
            f"--num-ctx {because}, or derive a model that has this context: "
            f"codex-bridge prepare MODEL --num-ctx {settings.num_ctx}"
        )
    if settings.share_context:
        raise ValueError(
            "--share-context shares a context that the bridge asks for, and through chat "
            "completions it asks for none; use --upstream-api ollama"
        )
    if settings.keep_alive is not None:
        raise ValueError(
            f"--keep-alive {because}, or set OLLAMA_KEEP_ALIVE={settings.keep_alive} for Ollama"
        )


def _refuse_chains(aliases: tuple[tuple[str, str], ...]) -> None:
    """Raise ValueError where a name stands for two models, or for another such name."""
    models: dict[str, str] = {}
    for name, model in aliases:
        if models.setdefault(name, model) != model:
            raise ValueError(f"--alias: {name} stands for {models[name]} and for {model}")
    for name, model in aliases:
        if model in models:
            raise ValueError(
                f"--alias {name}={model}: {model} is itself an alias; name the model that it "
                f"stands for"
            )

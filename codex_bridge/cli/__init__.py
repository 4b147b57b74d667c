"""The `codex-bridge` command for people: run, demo, configure, prepare, doctor, exam."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from codex_bridge import __version__
from codex_bridge.cli import configure, doctor, exam, prepare
from codex_bridge.cli.command_line import CommandError, say, whole_number


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; ends the process with its exit code.

    0: done; 1: failed, with one line on stderr; 2: wrong usage; 130: Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["run"]:
        # twistd parses these, so that both commands take the same options.
        run(words[1:])
        return
    options = _parser().parse_args(words)
    try:
        code = options.action(options) or 0
    except CommandError as error:
        code = _print_error(1, str(error))
    except KeyboardInterrupt:
        code = _print_error(130, "stopped; run the same command again to finish")
    except BrokenPipeError:
        # The reader of our output closed it. Python would complain again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def _print_error(code: int, sentence: str) -> int:
    say(f"codex-bridge: {sentence}", sys.stderr)
    return code


def run(options: Sequence[str]) -> None:
    """Run as `twistd -n codex-bridge …` does, but without a pid file in the current folder."""
    from twisted.scripts.twistd import run as twistd

    sys.argv = ["twistd", "--nodaemon", "--pidfile=", "codex-bridge", *options]
    twistd()


def _demo(options: argparse.Namespace) -> None:
    if options.model and not options.real:
        raise CommandError("--model is for --real; give both")
    # It imports Twisted's reactor, which the other commands do not need.
    from codex_bridge.cli.demo import demo

    demo(serve=options.serve, port=options.port, real=options.real, model=options.model)


class _Parser(argparse.ArgumentParser):
    """Reports a mistake in one line: a usage page would hide the sentence that matters."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"codex-bridge: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="codex-bridge", description="Codex CLI on local models, through Ollama.")
    parser.add_argument("--version", action="version", version=f"codex-bridge {__version__}")
    commands: Any = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser(
        "run", add_help=False, help="run the bridge in the foreground (see: run --help)"
    )
    demo = commands.add_parser("demo", help="show one exchange over a scripted model, no Ollama")
    demo.set_defaults(action=_demo)
    demo.add_argument(
        "--serve", action="store_true", help="keep bridge and model up for the real Codex CLI"
    )
    demo.add_argument(
        "--port",
        type=whole_number(0, 65535, "give a number from 0 to 65535"),
        default=None,
        help="port of the bridge (default: any free one)",
    )
    demo.add_argument(
        "--real",
        action="store_true",
        help="show it over a real model, which llama.cpp runs; needs the extra `engine`",
    )
    demo.add_argument(
        "--model",
        type=Path,
        metavar="FILE.gguf",
        help="the model for --real (default: the tiny one of a checkout of codex-bridge)",
    )
    configure.add_to(commands)
    prepare.add_to(commands)
    doctor.add_to(commands)
    exam.add_to(commands)
    return parser

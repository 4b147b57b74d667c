"""The `codex-bridge` command for people: run, demo, configure, prepare, doctor."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from codex_bridge import __version__
from codex_bridge.cli import configure, doctor, prepare


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; ends the process with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["run"]:
        # twistd parses these, so that both commands take the same options.
        run(given[1:])
        return
    parsed = _parser().parse_args(given)
    if parsed.command == "demo":
        from codex_bridge.cli.demo import demo

        demo(serve=parsed.serve, port=parsed.port)
    elif "action" in parsed:
        try:
            sys.exit(parsed.action(parsed) or 0)
        except BrokenPipeError:
            # Whoever reads has seen enough; Python would complain once more when it flushes.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)


def run(options: Sequence[str]) -> None:
    """Be `twistd -n codex-bridge …`, without the pid file that twistd leaves where it runs."""
    from twisted.scripts.twistd import run as twistd

    sys.argv = ["twistd", "--nodaemon", "--pidfile=", "codex-bridge", *options]
    twistd()


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line; usage pages drown the sentence that counts."""

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
    demo.add_argument(
        "--serve", action="store_true", help="keep bridge and model up for the real Codex CLI"
    )
    demo.add_argument(
        "--port", type=_port, default=None, help="port of the bridge (default: any free one)"
    )
    configuring = commands.add_parser("configure", help="tell Codex of the bridge and its models")
    configure.add_arguments(configuring)
    configuring.set_defaults(action=configure.configure)
    prepare.add_to(commands)
    doctor.add_to(commands)
    return parser


def _port(text: str) -> int:
    if not text.isdigit() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError("give a number from 0 to 65535")
    return int(text)

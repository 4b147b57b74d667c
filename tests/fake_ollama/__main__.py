"""`python -m tests.fake_ollama`: the fake Ollama as a server, with the model of the demo."""

from __future__ import annotations

import argparse
import sys

from twisted.internet import reactor as the_reactor
from twisted.internet.error import CannotListenError

from tests.fake_ollama.facts import ModelFacts
from tests.fake_ollama.server import FakeOllama


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.fake_ollama")
    parser.add_argument("--port", type=int, default=11433, help="TCP port (default: 11433)")
    parser.add_argument("--interface", default="127.0.0.1", help="default: 127.0.0.1")
    parser.add_argument("--version", default="0.33.0", help="0.13.4 or later (default: 0.33.0)")
    parser.add_argument(
        "--default-context",
        type=int,
        default=4096,
        help="tokens of a model that sets no context (default: 4096)",
    )
    parser.add_argument(
        "--num-ctx",
        type=int,
        default=32768,
        help="tokens that its model sets; 0 for none (default: 32768)",
    )
    options = parser.parse_args()
    models = [ModelFacts(num_ctx=options.num_ctx or None)]
    fake = FakeOllama(
        the_reactor, version=options.version, models=models, default_context=options.default_context
    )
    try:
        fake.listen(options.port, options.interface)
    except CannotListenError as error:
        sys.exit(f"fake ollama: cannot listen on port {options.port}: {error.socketError}")
    print(
        f"A fake Ollama {options.version} with a scripted model listens on {fake.url}", flush=True
    )
    the_reactor.run()


if __name__ == "__main__":
    main()

"""The fake Ollama on its own: `python -m tests.fake_ollama`."""

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
    parser.add_argument("--version", default="0.33.0", help="the Ollama to be (default: 0.33.0)")
    parser.add_argument(
        "--default-context", type=int, default=4096, help="tokens, where nobody says (4096)"
    )
    parser.add_argument(
        "--num-ctx", type=int, default=32768, help="of its model; 0 for none (default: 32768)"
    )
    given = parser.parse_args()
    models = [ModelFacts(num_ctx=given.num_ctx or None)]
    fake = FakeOllama(
        the_reactor, version=given.version, models=models, default_context=given.default_context
    )
    try:
        fake.listen(given.port, given.interface)
    except CannotListenError as error:
        sys.exit(f"fake ollama: cannot listen on port {given.port}: {error.socketError}")
    print(f"A fake Ollama {given.version} with a scripted model listens on {fake.url}", flush=True)
    the_reactor.run()


if __name__ == "__main__":
    main()

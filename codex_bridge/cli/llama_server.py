"""llama.cpp's HTTP server in a process of its own, for `codex-bridge demo --real` and the tests.

As a program (`python llama_server.py MODEL.gguf CONTEXT SLOTS THREADS`) this file is that process:
it prints its address, and serves until its stdin ends. So it never outlives the process that
started it, however that one ends. It imports nothing of this package, so that it starts at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Any


class LlamaFailed(Exception):
    """The server did not start. The log that it was given tells why."""


class LlamaServer:
    """A server that runs one model on a free port of 127.0.0.1; a `with` block ends it.

    `url` is its address, `model` the file, `process` the process. Its list of models has the file's
    name without `.gguf`; it answers for every other name, too.
    """

    def __init__(
        self, model: Path, log: IO[bytes], *, context: int, slots: int = 1, threads: int = -1
    ) -> None:
        """Start the server and wait until it has loaded `model`; 3 MB take less than a second.

        `log` gets what it logs: no prompts. `context`: tokens, shared by all slots. `slots`: how
        many requests it answers at a time; others wait. `threads`: how many threads compute, -1
        for as many as there are processors. Raises LlamaFailed.
        """
        self.model = model
        numbers = (str(number) for number in (context, slots, threads))
        self.process = subprocess.Popen(  # noqa: S603 - this file
            # -P: the modules beside this file must not stand in for others of the same name.
            [sys.executable, "-P", __file__, str(model), *numbers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            # Ctrl-C in a terminal is for the program that starts this one.
            start_new_session=True,
        )
        try:
            assert self.process.stdout is not None  # noqa: S101
            self.url = self.process.stdout.readline().decode().strip()
            if not self.url:
                raise LlamaFailed
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process, also in mid-answer."""
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> LlamaServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def is_installed() -> bool:
    """Whether xllamacpp is installed: llama.cpp as a package, which the extra `engine` brings."""
    return find_spec("xllamacpp") is not None


def _serve(model: str, context: str, slots: str, threads: str) -> None:
    xllamacpp: Any = import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {Path(model).stem}
    params.port = 0
    params.n_ctx, params.n_parallel = int(context), int(slots)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(threads)
    # The model's own template makes the prompt. The likeliest token is always taken.
    params.use_jinja, params.sampling.temp = True, 0.0
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.buffer.read()
    # At once: the threads of llama.cpp may be in mid-answer.
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    _serve(*sys.argv[1:])

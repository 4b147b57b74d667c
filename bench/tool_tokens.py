"""What Codex's tools cost a model, by Codex version and tool profile, as a Markdown table.

    .venv/bin/pip install -e '.[test,bench]' && .venv/bin/python -m bench tool_tokens [VERSION ...]

Runs the real Codex CLI of each version, takes the tools from its first request, and counts bytes
and tokens of their JSON: as Codex declared them, and as each profile shows them to the model.
The tokens are those of Qwen's vocabulary (the file qwen.tiktoken in the package dashscope).
"""

from __future__ import annotations

import argparse
import base64
import tempfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
import tiktoken

from codex_bridge.tools.shown import ToolProfile
from codex_bridge.tools.toolbox import Toolbox
from tests.codex import walk
from tests.codex.program import VERSIONS, Codex, install

# The rule by which Qwen's tokenizer splits a text into words.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def qwen_counter() -> Callable[[bytes], int]:
    """A function that counts the tokens of a text in UTF-8. Needs the packages of `bench`."""
    ranks = {}
    for line in (files("dashscope") / "resources" / "qwen.tiktoken").read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    encoding = tiktoken.Encoding("qwen", pat_str=WORDS, mergeable_ranks=ranks, special_tokens={})
    return lambda text: len(encoding.encode(text.decode(), disallowed_special=()))


class Server(BaseHTTPRequestHandler):
    """Answers what Codex asks of Ollama at its start, and keeps the requests that follow."""

    requests: list[Any] = []  # noqa: RUF012 - one server, one list

    def do_GET(self) -> None:
        models = [{"name": "qwen3:14b"}]
        self._answer(orjson.dumps({"version": "0.33.0", "models": models, "data": []}))

    def do_POST(self) -> None:
        self.requests.append(orjson.loads(self.rfile.read(int(self.headers["content-length"]))))
        done = orjson.dumps({"type": "response.completed", "response": {"id": "resp_1"}})
        self._answer(b"data: " + done + b"\n\n")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


PATCH = '--config=model_catalog_json="{}"'
"""A flag with the path of a catalog whose model has freeform apply_patch."""
KINDS: dict[str, list[str]] = {
    "by default": [],
    "with freeform apply_patch": [PATCH],
    "code mode only": [PATCH, "--enable", "code_mode_only"],
}
"""What the user set -> the flags for it."""


def declared(version: str, flags: list[str]) -> Any:
    """The tools in a Codex version's first request."""
    Server.requests.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as here:
        home, folder = Path(here, "home"), Path(here, "folder")
        home.mkdir()
        folder.mkdir()
        catalog = Path(here, "catalog.json")
        catalog.write_bytes(orjson.dumps({"models": [walk.MODEL]}))
        words = [word.format(catalog) for word in flags]
        codex = Codex(version, install(version), home, folder)
        codex.exec(f"http://127.0.0.1:{server.server_port}", *words, "hi")
    server.shutdown()
    return Server.requests[0]["tools"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("versions", nargs="*", default=VERSIONS, help="Codex versions")
    versions = parser.parse_args().versions
    count = qwen_counter()
    print("| Codex | tools | declared | " + " | ".join(p.value for p in ToolProfile) + " |")
    print("|---|---|---|" + "---|" * len(ToolProfile))
    for version in versions:
        for kind, flags in KINDS.items():
            tools = declared(version, flags)
            shown = [Toolbox.from_request(tools, profile=p).functions() for p in ToolProfile]
            sizes = [orjson.dumps(block) for block in (tools, *shown)]
            cells = [f"{len(text):,} B, {count(text):,} tokens" for text in sizes]
            print(f"| {version} | {kind}: {len(shown[0])} | {' | '.join(cells)} |")

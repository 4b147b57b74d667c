"""Shows that a rebuild changes nothing on the wire: all exchanges before and after it, compared.

    python -m bench.capture record --tree ../before --out before.json --api ollama
    python -m bench.capture record --tree . --out after.json --api ollama
    python -m bench.capture compare before.json after.json

`record` runs the bridge of a checkout as a process of its own, in front of the fake Ollama of
this checkout, and sends it the exchanges of `bench/corpus.py`. It records what the upstream was
sent and what the client got. Record both from one checkout: the fake must be the same, and what
hypothesis draws depends on `tests/fuzzing.py`, and on constants in the code that is imported.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import SequenceMatcher
from pathlib import Path
from typing import IO, Any

import orjson
import treq
from attrs import frozen
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater, react
from twisted.web.client import Agent, ResponseFailed

from bench.corpus import MODELS, Bytes, Exchange, Group, corpus, digest
from tests.fake_ollama import Answer, FakeOllama, Raw, Recorded

Json = dict[str, Any]
RUN = "import codex_bridge.cli; print(codex_bridge.__file__); codex_bridge.cli.main(['run', *{!r}])"
STARTING = 120.0
"""Seconds that a bridge may take to listen."""
PATIENCE = 60.0
"""Seconds that one exchange may take."""
FRESH = 30.0
"""Seconds after which a bridge asks again about models, which no two recordings do alike."""
LISTENS = re.compile(r"listens on http://\S+:(\d+)")
RANDOM_ID = re.compile(r"\b([a-z]+)_[0-9a-f]{24}\b")
TIMES = (
    (re.compile(r'"(created_at|created|completed_at)":\d+'), r'"\1":0'),
    (re.compile(r'"(created_at|modified_at|expires_at)":"[^"]*"'), r'"\1":""'),
)
UNTOLD_HEADERS = frozenset({"date", "content-length", "connection", "transfer-encoding"})
"""What follows from the rest, or differs each time."""
EXAMPLES, SHOWN = 3, 160
"""Exchanges that are named for each kind of difference, and characters of each value."""


class Script:
    """The model behind the fake: plays the answers of the exchange that is going on."""

    def __init__(self) -> None:
        self.answers: list[Sequence[Any]] = []

    def __call__(self, request: Json) -> Answer:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        # Only a request of Ollama's own dialect has this key.
        native = "keep_alive" in request
        return [
            Raw(step.native if native else step.chat) if isinstance(step, Bytes) else step
            for step in answer
        ]


class Normal:
    """Brings the texts of one exchange into a form that is the same each time."""

    def __init__(self, *constants: tuple[str, str]) -> None:
        """`constants`: texts of this run, such as its ports, and what stands for them."""
        self._constants = constants
        self._ids: dict[str, str] = {}

    def __call__(self, data: bytes) -> str:
        text = data.decode(errors="backslashreplace")
        for found, name in self._constants:
            text = text.replace(found, name)
        for pattern, replacement in TIMES:
            text = pattern.sub(replacement, text)
        return RANDOM_ID.sub(self._numbered, text)

    def _numbered(self, found: re.Match[str]) -> str:
        return self._ids.setdefault(found[0], f"{found[1]}_#{len(self._ids) + 1}")


@contextmanager
def bridge(
    tree: Path, flags: Sequence[str], output: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """The bridge of a checkout, as a process; `output` gets all that it prints."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("CODEX_BRIDGE_")}
    own |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", RUN.format(list(flags))]
    process = subprocess.Popen(command, cwd=tree, env=own, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


class Recorder:
    """Plays the exchanges of one group, one after the other."""

    def __init__(self, reactor: Any, group: Group) -> None:
        self._reactor = reactor
        self._group = group
        self._script = Script()
        self._fake = FakeOllama(reactor, **({"model": self._script, "models": MODELS} | group.fake))
        self._port = 0
        self._client = HTTPClient(Agent(reactor))

    async def record(self, tree: Path, api: str) -> Json:
        """What was seen: `exchanges` by name, and `health` after them."""
        self._fake.listen()
        flags = ["--port", "0", "--upstream-url", self._fake.url, "--upstream-api", api]
        flags += ["--heartbeat", "3600", "--drain", "0", *self._group.flags]
        with tempfile.TemporaryFile() as output, bridge(tree, flags, output) as process:
            self._port = await self._port_of(process, output, tree)
            if self._group.is_down:
                await self._fake.stop()
            try:
                exchanges = {each.name: await self._play(each) for each in self._group.exchanges}
                health = orjson.loads((await self._ask("GET", "/__health", {}, b""))[2])
            finally:
                await self._fake.stop()
        kept = ("status", "models", "exchanges", "repairs")
        return {"exchanges": exchanges, "health": {key: health.get(key) for key in kept}}

    async def _port_of(
        self, process: subprocess.Popen[bytes], output: IO[bytes], tree: Path
    ) -> int:
        """Where the bridge listens, as it prints once it does."""
        deadline = time.monotonic() + STARTING
        while True:
            # The process writes at the offset of the same open file, which this does not move.
            printed = os.pread(output.fileno(), 1 << 16, 0).decode()
            found = LISTENS.search(printed)
            if found:
                break
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the bridge of {tree} does not start:\n{printed}")
            await deferLater(self._reactor, 0.02)
        loaded = printed.partition("\n")[0]
        if not Path(loaded).is_relative_to(tree):
            sys.exit(f"this would record {loaded} in place of {tree}")
        return int(found[1])

    async def _play(self, exchange: Exchange) -> Json:
        # The fake makes up ids of calls.
        random.seed(0)
        self._script.answers = list(exchange.answers)
        before = len(self._fake.exchanges)
        made = self._ask(exchange.method, exchange.path, exchange.headers, exchange.body)
        status, headers, body, end = await made
        normal = Normal((self._fake.url, "http://UPSTREAM"), (f":{self._port}", ":PORT"))
        kind = dict(headers).get("content-type", "")
        parts = body.split(b"\n\n") if kind.startswith("text/event-stream") else [body]
        return {
            "upstream": [self._sent(each, normal) for each in self._fake.exchanges[before:]],
            "status": status,
            "headers": [f"{name}: {normal(value.encode())}" for name, value in headers],
            "parts": [normal(part) for part in parts],
            "end": end,
        }

    async def _ask(
        self, method: str, path: str, headers: Json, body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes, str]:
        """Status, headers and body that a client gets, and how the answer ended."""
        pieces: list[bytes] = []
        url = f"http://127.0.0.1:{self._port}{path}"
        asking = ensureDeferred(self._get(method, url, headers, body, pieces))
        asking.addTimeout(PATIENCE, self._reactor)
        try:
            response = await asking
        except (ConnectError, ResponseFailed, DeferredTimeout) as error:
            return 0, [], b"".join(pieces), type(error).__name__
        pairs = [
            (name.decode().lower(), value.decode(errors="backslashreplace"))
            for name, values in response.headers.getAllRawHeaders()
            for value in values
        ]
        told = sorted(pair for pair in pairs if pair[0] not in UNTOLD_HEADERS)
        return response.code, told, b"".join(pieces), "whole"

    async def _get(
        self, method: str, url: str, headers: Json, body: bytes, pieces: list[bytes]
    ) -> Any:
        response = await self._client.request(
            method,
            url,
            headers=headers,
            data=body or None,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,
        )
        await treq.collect(response, pieces.append)
        return response

    @staticmethod
    def _sent(request: Recorded, normal: Normal) -> Json:
        pairs = [(k.decode().lower(), v) for k, vs in request.headers.items() for v in vs]
        return {
            "request": f"{request.method} {request.uri.decode(errors='backslashreplace')}",
            "headers": sorted(
                f"{name}: {normal(value)}"
                for name, value in pairs
                if name not in UNTOLD_HEADERS | {"host"}
            ),
            "body": normal(request.body),
        }


def record(tree: Path, api: str, out: Path) -> None:
    """Record all groups in the process of a reactor that ends then."""

    async def all_groups(reactor: Any) -> None:
        groups = corpus()
        seen: Json = {"api": api, "groups": {}}
        for group in groups:
            started = time.monotonic()
            recorded = await Recorder(reactor, group).record(tree, api)
            seen["groups"][group.name] = {"corpus": digest(group), **recorded}
            seconds = time.monotonic() - started
            late = " TOO LONG, record again when the machine is less busy" * (seconds > FRESH)
            print(f"{group.name:<40} {len(group.exchanges):>4} exchanges {seconds:>5.1f} s{late}")
        out.write_bytes(orjson.dumps(seen))
        print(f"{sum(len(group.exchanges) for group in groups)} exchanges in {out}")

    react(lambda reactor: Deferred.fromCoroutine(all_groups(reactor)))


@frozen
class Difference:
    """How one exchange differs. What is of one `kind` is told together."""

    kind: str
    where: str
    before: Any = None
    after: Any = None


def compare(before: Json, after: Json) -> Iterator[Difference]:
    """All that differs between two recordings."""
    if before["api"] != after["api"]:
        yield Difference("the API of the upstream differs", "-", before["api"], after["api"])
    for group in {**before["groups"], **after["groups"]}:
        old, new = (seen["groups"].get(group) for seen in (before, after))
        if old is None or new is None:
            yield Difference("recorded only once", group)
            continue
        if old["corpus"] != new["corpus"]:
            yield Difference("NOT COMPARED: the exchanges are not the same", group)
            continue
        for path, a, b in values(old["health"], new["health"], ""):
            yield Difference(f"health {path}", group, a, b)
        for name in {**old["exchanges"], **new["exchanges"]}:
            pair = old["exchanges"].get(name), new["exchanges"].get(name)
            if None in pair:
                yield Difference("recorded only once", f"{group}: {name}")
                continue
            for kind, a, b in exchange_differences(*pair):
                yield Difference(kind, f"{group}: {name}", a, b)


Found = Iterator[tuple[str, Any, Any]]


def exchange_differences(old: Json, new: Json) -> Found:
    """Kind, before and after of all that differs in one exchange."""
    yield from sequences(
        "upstream", old["upstream"], new["upstream"], lambda sent: sent["request"], sent_differences
    )
    for key in ("status", "end"):
        if old[key] != new[key]:
            yield f"client {key} {old[key]} -> {new[key]}", old["parts"][0], new["parts"][0]
    yield from sequences("client header", old["headers"], new["headers"], str)
    yield from sequences("client", old["parts"], new["parts"], part_name, bodies)


def sent_differences(old: Json, new: Json) -> Found:
    yield from sequences("header", old["headers"], new["headers"], str)
    yield from bodies(old["body"], new["body"])


def part_name(part: str) -> str:
    """The type of an event; "body" for what is none."""
    return part.partition("\n")[0] if part.startswith("event: ") else "body"


def sequences(
    what: str,
    old: Sequence[Any],
    new: Sequence[Any],
    name: Callable[[Any], str],
    inside: Callable[[Any, Any], Found] | None = None,
) -> Found:
    """What came, went or was replaced, by name; `inside` compares what has the same name."""
    names = [name(each) for each in old], [name(each) for each in new]
    for how, a, b, c, d in SequenceMatcher(None, *names, autojunk=False).get_opcodes():
        gone, come = old[a:b], new[c:d]
        if how == "equal":
            for one, other in zip(gone, come, strict=True) if inside else ():
                yield from (
                    (f"{what} {name(one)} {kind}", x, y) for kind, x, y in inside(one, other)
                )
        elif len(gone) == len(come):
            for one, other in zip(gone, come, strict=True):
                yield f"{what} {name(one)} -> {name(other)}", one, other
        else:
            yield from ((f"{what} {name(one)} is gone", one, None) for one in gone)
            yield from ((f"{what} {name(one)} is new", None, one) for one in come)


def bodies(old: str, new: str) -> Found:
    """The places that differ in two bodies or events, or the bytes alone."""
    if old == new:
        return
    try:
        pair = [orjson.loads(text.partition("\ndata: ")[2] or text) for text in (old, new)]
    except orjson.JSONDecodeError:
        yield "text", old, new
        return
    found = list(values(*pair, ""))
    yield from found or [("bytes alone, as JSON they are equal", old, new)]


def values(old: Any, new: Any, path: str) -> Found:
    """Path, before and after of what differs; a path names no position in a list."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            if key in old and key in new:
                yield from values(old[key], new[key], f"{path}.{key}")
            else:
                how = "is gone" if key in old else "is new"
                yield f"{path}.{key} {how}", old.get(key), new.get(key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for one, other in zip(old, new, strict=True):
            yield from values(one, other, f"{path}[]")
    elif old != new or type(old) is not type(new):
        yield path, old, new


def show(differences: Sequence[Difference]) -> None:
    """The differences by kind, the most frequent first."""
    kinds: dict[str, list[Difference]] = defaultdict(list)
    for difference in differences:
        kinds[difference.kind].append(difference)
    for kind, found in sorted(kinds.items(), key=lambda entry: -len(entry[1])):
        wheres = list(dict.fromkeys(each.where for each in found))
        print(f"\n{len(wheres)} exchanges: {kind}")
        for where in wheres[:EXAMPLES]:
            one = next(each for each in found if each.where == where)
            before, after = shortened(one.before, one.after)
            print(f"    {where}\n        - {before}\n        + {after}")


def shortened(old: Any, new: Any) -> tuple[str, str]:
    """Both as text, from a little before where they begin to differ."""
    texts = [each if isinstance(each, str) else orjson.dumps(each).decode() for each in (old, new)]
    shared = next((n for n, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), 0)
    start = max(0, shared - SHOWN // 4)
    one, other = (repr(text[start : start + SHOWN]) for text in texts)
    return one, other


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    recording = verbs.add_parser("record", help="record the bridge of a checkout")
    recording.add_argument("--tree", type=Path, required=True, help="the checkout")
    recording.add_argument("--out", type=Path, required=True, help="file to write")
    recording.add_argument("--api", choices=("ollama", "chat", "auto"), default="auto")
    comparing = verbs.add_parser("compare", help="print how two recordings differ")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    options = parser.parse_args()
    if options.verb == "record":
        record(options.tree.resolve(), options.api, options.out)
        return
    pair = [orjson.loads(path.read_bytes()) for path in (options.before, options.after)]
    differences = list(compare(*pair))
    show(differences)
    total = sum(len(group["exchanges"]) for group in pair[0]["groups"].values())
    print(f"\n{total} exchanges, {len({each.where for each in differences})} of them differ")
    sys.exit(bool(differences))


if __name__ == "__main__":
    main()

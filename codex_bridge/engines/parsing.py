"""What all decoders share: lines of bytes, and careful reading of JSON. Without I/O."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Iterator
from math import isfinite
from typing import Any

import orjson

from codex_bridge.engines.refusals import broken_off, error_text
from codex_bridge.vocabulary import Delta, FailureKind, FinishDelta, Json, UpstreamFailure

LARGEST_COUNT = 2**53
"""Above this a number is no count of tokens, and might not fit into JSON."""


LEAST_LOGPROB = -9999.0
"""Stands for a probability of zero, whose logarithm JSON cannot hold; OpenAI uses the same."""


class LineReader:
    """Lines, cut anywhere, -> deltas. A dialect says what one line holds.

    `over` becomes true when the answer needs no more bytes. Call `eof` then, or when the
    bytes end.
    """

    def __init__(self) -> None:
        self.over = False
        self._partial: list[bytes] = []
        self._line_size = 0
        """Bytes of the line that is not whole yet."""
        self._is_first = True
        """Whether no line was whole yet; before the first one may stand a byte order mark."""
        self._finished = False
        self._failure: UpstreamFailure | None = None

    @property
    def held(self) -> int:
        """Bytes that came and are no deltas yet."""
        return self._line_size

    def feed(self, data: bytes) -> list[Delta]:
        """The deltas that became complete with these bytes. Raises UpstreamFailure."""
        self._line_size += len(data)
        if b"\n" not in data:
            # Not joined yet, so that a long line in many pieces takes linear time.
            self._partial.append(data)
            return []
        *lines, rest = b"".join([*self._partial, data]).split(b"\n")
        self._partial, self._line_size = [rest], len(rest)
        if self._is_first:
            lines[0], self._is_first = lines[0].removeprefix(BOM_UTF8), False
        return [delta for line in lines for delta in self._checked(line.removesuffix(b"\r"))]

    def eof(self) -> list[Delta]:
        """The last deltas. Raises UpstreamFailure unless the model finished."""
        last = [*self._checked(b"".join(self._partial)), *self._checked(b"")]
        self._partial = []
        if self._failure:
            raise self._failure
        if not self._finished:
            raise self._unfinished()
        return last

    def _line(self, line: bytes) -> Iterator[Delta]:
        """The deltas of one line, without its end. Raises UpstreamFailure."""
        raise NotImplementedError

    def _unfinished(self) -> UpstreamFailure:
        """What it means that the bytes ended without a finish reason."""
        return UpstreamFailure(FailureKind.BROKEN, "it ended without a finish reason")

    def _checked(self, line: bytes) -> Iterator[Delta]:
        if self.over:
            return
        try:
            for delta in self._line(line):
                self._finished = self._finished or isinstance(delta, FinishDelta)
                yield delta
        except UpstreamFailure as failure:
            self._failure, self.over = failure, True


def json_object(data: bytes, what: str) -> Json:
    """One object of an answer. Raises UpstreamFailure for anything else, and for an error.

    Half a character, NaN or a control character in it costs that character or number alone.
    """
    try:
        answer = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        try:
            answer = _cleaned(json.loads(data.decode(errors="replace"), strict=False))
        except (ValueError, RecursionError):
            raise UpstreamFailure(FailureKind.GARBLED, f"{what} is not JSON: {error}") from None
    if not isinstance(answer, dict):
        raise UpstreamFailure(FailureKind.GARBLED, f"{what} is not a JSON object")
    if answer.get("error") or answer.get("object") == "error":
        raise broken_off(error_message(answer))
    return answer


def _cleaned(value: Any) -> Any:
    """A value without what JSON cannot hold: halves of characters, NaN and infinite numbers."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, list):
        return list(map(_cleaned, value))
    if isinstance(value, dict):
        return {_cleaned(key): _cleaned(entry) for key, entry in value.items()}
    return value


def error_message(answer: Json) -> str:
    """The sentence of an error body of any shape."""
    return error_text(answer) or written(answer.get("error"))


def written(value: Any) -> str:
    """A part of an answer as JSON. Raises UpstreamFailure for one that is nested too deeply."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        text = "its JSON is nested too deeply"
        raise UpstreamFailure(FailureKind.GARBLED, text) from None


def object_in(value: Any) -> Json:
    """A part of an answer that should be an object; an empty one in its place."""
    return value if isinstance(value, dict) else {}


def objects_in(value: Any) -> list[Json]:
    """The objects of what should be a list of them."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def probabilities(value: Any) -> list[Json]:
    """The tokens of an answer with their probabilities, in the form of the Responses API."""
    return [
        _probability(each) | {"top_logprobs": list(map(_probability, objects_in(alternatives)))}
        for each in objects_in(value)
        for alternatives in (each.get("top_logprobs"),)
    ]


def _probability(token: Json) -> Json:
    text, number, data = str(token.get("token") or ""), token.get("logprob"), token.get("bytes")
    return {
        "token": text,
        "logprob": float(number) if isinstance(number, int | float) else LEAST_LOGPROB,
        "bytes": data if isinstance(data, list) else list(text.encode()),
    }


def whole_number(value: Any) -> int:
    """A count; 0 where there is none that makes sense."""
    is_number = isinstance(value, int | float)
    return int(value) if is_number and 0 <= value < LARGEST_COUNT else 0


def decimal(text: Any) -> float | None:
    """A finite number as a Modelfile has it; None for anything else."""
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return number if isfinite(number) else None

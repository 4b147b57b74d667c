"""Values as Go reads and prints them, and its messages for values that it refuses."""

from __future__ import annotations

import base64
import binascii
from decimal import Decimal
from typing import Any

import orjson

from tests.fake_ollama.facts import Rejected

Json = dict[str, Any]
_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


def go_mismatch(value: Any, where: str, wanted: str) -> Rejected:
    """The error of Go's JSON decoder for a `value` of a type that a field does not take.

    `where` is "Struct.path.to.field", `wanted` the field's Go type.
    """
    return Rejected(
        400,
        f"json: cannot unmarshal {go_kind(value, wanted)} into Go struct field "
        f"{where} of type {wanted}",
        early=True,
    )


def go_kind(value: Any, wanted: str = "") -> str:
    """Go's name for the type of a JSON value; a fraction for an integer field is quoted."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return f"number {value}" if wanted == "int" else "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def expect(given: Json, key: str, kind: type, where: str, wanted: str) -> None:
    """Raises Rejected where the value of `key` is neither null nor of this kind."""
    if given.get(key) is not None and not isinstance(given[key], kind):
        raise go_mismatch(given[key], f"{where}.{key}", wanted)


def as_go(arguments: Json | None, version: tuple[int, ...]) -> Json | None:
    """A call's arguments after Ollama has read and written them.

    Numbers become float64. Nested objects are sorted by key; before 0.14 so is the top level.
    """
    if arguments is None:
        return None
    keys = sorted(arguments) if version < (0, 14) else arguments
    return {key: _nested(arguments[key]) for key in keys}


def _nested(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _nested(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_nested(entry) for entry in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        exact = float(value)
        return int(exact) if exact.is_integer() and abs(exact) < 2**53 else exact
    return value


def sharp_v(value: Any) -> str:
    """A parameter as `%#v` prints it: 0.7, 65536, 1e+06, "text", true."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return orjson.dumps(value).decode()
    # It came out of JSON, so it is a float64, and has an exponent from a million on.
    exact = Decimal(repr(float(value))).normalize()
    exponent = exact.adjusted()
    if -4 <= exponent < 6:
        return f"{exact:f}"
    return f"{exact.scaleb(-exponent):f}e{exponent:+03d}"


def check_base64(text: str) -> None:
    """Raises Rejected for what Go's decoder refuses, missing padding among it."""
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = text.encode(errors="replace")
        body = data.rstrip(b"=")
        bad = next((at for at, byte in enumerate(body) if byte not in _BASE64), len(data))
        raise Rejected(400, f"illegal base64 data at input byte {bad}") from None

"""What the readers of several forms share: names, calls as in Python, values between tags."""

from __future__ import annotations

import ast
import re

import orjson

from codex_bridge.leaks.cursor import Cursor, NoCall, Reading
from codex_bridge.leaks.json_calls import MAX_NAME, Known, WrittenCall

NAME = re.compile(rb"[\w.:/-]*")
JSON_WORDS = {"true": True, "false": False, "null": None}


def known_name(cursor: Cursor, known: Known) -> Reading[str]:
    """Read a name. Raises NoCall if it means no offered function."""
    name = yield from cursor.run(NAME, MAX_NAME)
    if not known(name):
        raise NoCall
    return name


def known_attribute(cursor: Cursor, known: Known) -> Reading[str]:
    """Read the name in `name="…">`, behind its `=`. Raises NoCall if it means no function."""
    name = (yield from cursor.before(b">", MAX_NAME)).strip("\"' ")
    if not known(name):
        raise NoCall
    return name


def attribute(text: str) -> str:
    """The value of the attribute that `text` begins with; others may follow a quoted one."""
    return text.split('"')[1] if text.count('"') > 1 else text.strip("\"' ")


def without_tag_lines(value: str) -> str:
    """A value between tags without the line ends that belong to the tags."""
    if "\n" not in value:
        return value.strip()
    # If the value begins with a line end, that one and one at its end belong to the tags. One that
    # is only at the end belongs to the value.
    return value[1:].removesuffix("\n") if value.startswith("\n") else value


def call_with_values(name: str, values: dict[str, str]) -> WrittenCall:
    """A call whose values are all strings, since tags carry no types; repair finds the types."""
    return WrittenCall(name, orjson.dumps(values).decode())


def python_call(cursor: Cursor, known: Known) -> Reading[WrittenCall]:
    """`name(key="value", n=5)`: keywords and literals only; also true, false and null."""
    name = yield from known_name(cursor, known)
    if (yield from cursor.peek()) != b"(":
        raise NoCall
    text = yield from cursor.parenthesised()
    try:
        call = ast.parse(f"call{text}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or not all(k.arg for k in call.keywords):
            raise NoCall
        values = {str(keyword.arg): _literal(keyword.value) for keyword in call.keywords}
        return WrittenCall(name, orjson.dumps(values).decode())
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        # Among them is the error of orjson for what JSON does not have.
        raise NoCall from None


def _literal(node: ast.expr) -> object:
    """The value of a literal. Raises ValueError for anything else."""
    if isinstance(node, ast.Name) and node.id in JSON_WORDS:
        return JSON_WORDS[node.id]
    return ast.literal_eval(node)


def python_calls(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """Calls as in Python: in a list, or one below the other."""
    is_list = yield from cursor.take(b"[")
    calls: list[WrittenCall] = []
    while True:
        yield from cursor.space()
        calls.append((yield from python_call(cursor, known)))
        yield from cursor.space()
        yield from cursor.take(b",")
        yield from cursor.space()
        char = yield from cursor.peek()
        if not (char.isalpha() or char == b"_"):
            break
    if is_list:
        yield from cursor.take(b"]")
    return calls

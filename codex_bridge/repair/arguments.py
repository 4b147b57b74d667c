"""A model's arguments -> arguments that the tool's own schema accepts.

Only forms are changed, never values: "5" becomes 5 where a number is wanted, and where nothing
fits, what the model wrote goes to the client as it is, which then tells the model what is wrong.
"""

from __future__ import annotations

import re
import shlex
from typing import Any

import orjson
from attrs import define, field, frozen

from codex_bridge.repair import lenient_json
from codex_bridge.tools.schemas import resolve
from codex_bridge.vocabulary import Json

MAX_DEPTH = 40
EXACT = 2**53
"""Up to here a float holds every whole number."""
SYNONYMS = (
    {"cmd", "command", "cmdline", "command_line", "bash_command", "shell_command"},
    {
        "path",
        "file_path",
        "filepath",
        "file",
        "filename",
        "file_name",
        "absolute_path",
        "image_path",
    },
    {"workdir", "cwd", "working_directory", "working_dir", "directory", "dir"},
    {"chars", "input", "stdin", "text", "characters"},
    {"session_id", "session", "id", "process_id"},
    {"target", "agent_id", "id", "agent"},
    {"targets", "ids", "agent_ids", "agents", "target", "id", "agent_id"},
    {"message", "prompt", "task", "instructions", "input", "text"},
    {"query", "q", "search", "search_query"},
    {"plan", "steps", "todos", "tasks"},
)
"""Names that models give to the same parameter."""
COMMAND_NAMES = frozenset({"cmd", "command"})
NOT_WORDS = re.compile(r"[*?$~<>|;&`]")
"""What a shell reads in a word; in a list it stands for itself, which models don't mean."""
MAX_STEPS = 20_000
"""Looks at a part of the schema in one mending; variants inside of variants multiply."""
SHELLS = frozenset({"bash", "sh", "zsh", "/bin/bash", "/bin/sh", "/bin/zsh", "/usr/bin/bash"})
NUMERAL = re.compile(r"\s*-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\s*")
WRAPPING = frozenset({"name", "arguments", "parameters", "type"})
UNDECLARED = "undeclared key"
JSON_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}


@frozen
class Mended:
    """Arguments as they go to the client."""

    text: str
    value: Any
    """What `text` holds; None if it is no JSON."""
    steps: list[str]
    """What was mended, in the words of docs/tools.md; empty if nothing was."""
    fits: bool
    """Whether the result fits the schema."""


def mend(text: str, schema: Json) -> Mended:
    """Make `text`, what a model wrote, fit `schema`, as the client declared it.

    Arguments that fit come back byte for byte.
    """
    if not text.strip():
        text = "{}"
    try:
        value, slips = lenient_json.loads(text)
    except ValueError:
        return Mended(text, None, [], fits=False)
    try:
        return _fitted(text, value, schema, sorted(slips))
    except _TooMuch:
        return Mended(text, value, [], fits=False)


def _fitted(text: str, value: Any, schema: Json, slips: list[str]) -> Mended:
    fitter = _Fitter(schema, slips)
    if not isinstance(value, dict):
        value = fitter.as_object(value)
    elif inner := _wrapped(value, schema):
        value = inner
        fitter.steps.append("wrapped")
    if isinstance(value, dict):
        value = fitter.fit(value, schema, 0)
    fits = isinstance(value, dict) and fitter.accepts(value, schema, 0)
    if not fitter.steps:
        return Mended(text, value, [], fits)
    if not isinstance(value, dict):
        return Mended(text, value, [], fits=False)
    try:
        return Mended(orjson.dumps(value).decode(), value, fitter.steps, fits)
    except orjson.JSONEncodeError:
        # Deeper than can be written, though it could be read.
        return Mended(text, None, [], fits=False)


class _TooMuch(Exception):
    """The schema has more ways to fit than are worth trying."""


@define
class _Fitter:
    """Fits values to the parts of one schema, and keeps what it had to do."""

    root: Json
    steps: list[str] = field(factory=list)
    looks: list[int] = field(factory=lambda: [0])
    """How many looks were taken, shared with the trials."""

    def _look(self, times: int = 1) -> None:
        self.looks[0] += times
        if self.looks[0] > MAX_STEPS:
            raise _TooMuch

    def fit(self, value: Any, schema: Any, depth: int, name: str = "") -> Any:
        """`value` in the form that `schema` wants; as it is where there is none."""
        self._look()
        if depth > MAX_DEPTH or not isinstance(schema, dict):
            return value
        schema = resolve(schema, self.root)
        for part in _list(schema.get("allOf")):
            value = self.fit(value, part, depth + 1, name)
        if variants := _list(schema.get("anyOf")) or _list(schema.get("oneOf")):
            value = self._fit_variant(value, variants, depth, name)
        value = self._fit_type(value, schema, name, depth)
        if isinstance(value, dict):
            return self._fit_object(value, schema, depth)
        if isinstance(value, list) and isinstance(schema.get("items"), dict):
            return [self.fit(entry, schema["items"], depth + 1) for entry in value]
        return self._fit_enum(value, schema)

    def as_object(self, value: Any) -> Any:
        """What stands for an object: nothing for an empty one, a value for the only parameter."""
        properties, required = _dict(self.root.get("properties")), _required(self.root)
        if value is None or value == []:
            self.steps.append("no object")
            return {}
        if len(required) == 1 and required[0] in properties:
            name = required[0]
            if self.accepts(value, properties[name], 1):
                self.steps.append("lone value")
                return {name: value}
        return value

    def accepts(self, value: Any, schema: Any, depth: int) -> bool:
        """Whether `value` fits `schema`, by the keywords that tools use."""
        self._look()
        if isinstance(schema, bool):
            return schema
        if depth > MAX_DEPTH or not isinstance(schema, dict):
            return True
        schema = resolve(schema, self.root)
        kinds = _types(schema)
        if kinds and not any(_is(value, kind) for kind in kinds):
            return False
        if "const" in schema and value != schema["const"]:
            return False
        if isinstance(schema.get("enum"), list) and value not in schema["enum"]:
            return False
        for keyword, judge in (("anyOf", any), ("oneOf", any), ("allOf", all)):
            parts = _list(schema.get(keyword))
            if parts and not judge(self.accepts(value, part, depth + 1) for part in parts):
                return False
        if isinstance(value, dict):
            return self._accepts_object(value, schema, depth)
        if isinstance(value, list) and "items" in schema:
            return all(self.accepts(entry, schema["items"], depth + 1) for entry in value)
        return True

    def _accepts_object(self, value: Json, schema: Json, depth: int) -> bool:
        properties = _dict(schema.get("properties"))
        if any(name not in value for name in _required(schema)):
            return False
        extra = [name for name in value if name not in properties]
        if extra and schema.get("additionalProperties") is False:
            return False
        return all(
            self.accepts(entry, properties[name], depth + 1)
            for name, entry in value.items()
            if name in properties
        )

    def _fit_variant(self, value: Any, variants: list[Any], depth: int, name: str) -> Any:
        """Fit to the first variant that takes the value, if need be after mending."""
        if any(self.accepts(value, variant, depth + 1) for variant in variants):
            return value
        for variant in variants:
            trial = _Fitter(self.root, looks=self.looks)
            fitted = trial.fit(value, variant, depth + 1, name)
            # One that has to leave something out is not the one that was meant.
            if UNDECLARED not in trial.steps and trial.accepts(fitted, variant, depth + 1):
                self.steps += trial.steps
                return fitted
        return value

    def _fit_type(self, value: Any, schema: Json, name: str, depth: int) -> Any:
        kinds = _types(schema)
        if any(_is(value, kind) for kind in kinds):
            # Clients that want whole numbers refuse 5.0 though JSON does not tell it from 5.
            kinds = [kind for kind in kinds if kind in {"integer", "number"}]
            if not isinstance(value, float):
                return value
        for kind in kinds:
            fitted, step = _converted(value, kind, name)
            if step:
                self.steps.append(step)
                return fitted
        if "array" in kinds and value is not None:
            # One for a list of one: only if an entry of the list may look like that.
            if isinstance(value, str) and name in COMMAND_NAMES:
                self.steps.append("command line")
                return ["bash", "-lc", value]
            trial = _Fitter(self.root, looks=self.looks)
            entry = trial.fit(value, schema.get("items", {}), depth + 1)
            if trial.accepts(entry, schema.get("items", {}), depth + 1):
                self.steps += [*trial.steps, "lone value"]
                return [entry]
        return value

    def _fit_object(self, value: Json, schema: Json, depth: int) -> Json:
        properties = _dict(schema.get("properties"))
        if not properties and schema.get("additionalProperties") is not False:
            return value
        made: Json = {}
        closed = not schema.get("patternProperties")
        for name, entry in self._renamed(value, properties, schema).items():
            node = properties.get(name)
            if node is None:
                if schema.get("additionalProperties") is False and closed:
                    self.steps.append(UNDECLARED)
                    continue
                made[name] = entry
            elif entry is None and self._may_go(name, node, schema, depth):
                self.steps.append("null")
            else:
                made[name] = self.fit(entry, node, depth + 1, name)
        return made

    def _may_go(self, name: str, node: Any, schema: Json, depth: int) -> bool:
        """Whether a null stands for a parameter that could as well be absent."""
        return name not in _required(schema) and not self.accepts(None, node, depth + 1)

    def _renamed(self, value: Json, properties: Json, schema: Json) -> Json:
        """Undeclared keys under the one declared name that they can only mean."""
        strange = [key for key in value if key not in properties]
        names: dict[str, str] = {}
        taken: set[str] = set()
        for key in strange:
            self._look(len(properties))
            meant = [name for name in properties if name not in value and _same(key, name)]
            exact = [name for name in meant if _letters(name) == _letters(key)]
            if schema.get("additionalProperties") is not False:
                # Where the key itself is allowed, only one that is missed is meant.
                meant = [name for name in meant if name in _required(schema)]
            chosen = exact or meant
            if len(chosen) == 1 and chosen[0] not in taken:
                names[key] = chosen[0]
                taken.add(chosen[0])
        self.steps += ["key"] * len(names)
        return {names.get(key, key): entry for key, entry in value.items()}

    def _fit_enum(self, value: Any, schema: Json) -> Any:
        choices = _list(schema.get("enum"))
        if not isinstance(value, str) or not choices or value in choices:
            return value
        same = [c for c in choices if isinstance(c, str) and _letters(c) == _letters(value)]
        if len(same) != 1:
            return value
        self.steps.append("choice")
        return same[0]


def _wrapped(value: Json, schema: Json) -> Json | None:
    """The arguments inside of a whole call, `{"name": …, "arguments": {…}}`."""
    properties = _dict(schema.get("properties"))
    if any(key in properties or key not in WRAPPING for key in value):
        return None
    inner = value.get("arguments", value.get("parameters"))
    return inner if isinstance(inner, dict) else None


def _converted(value: Any, kind: str, name: str) -> tuple[Any, str]:
    """`value` as `kind`, and the name of the step; "" if that is not the same value."""
    if isinstance(value, str):
        return _from_string(value, kind)
    if isinstance(value, bool):
        return value, ""
    if kind in {"integer", "number"} and isinstance(value, float):
        if value.is_integer() and abs(value) < EXACT:
            return int(value), "whole number"
    elif kind == "string" and isinstance(value, int):
        return orjson.dumps(value).decode(), "number as string"
    elif kind == "string" and isinstance(value, list) and name in COMMAND_NAMES:
        command = _command(value)
        return (command, "word list") if command else (value, "")
    return value, ""


def _from_string(value: str, kind: str) -> tuple[Any, str]:
    if kind in {"integer", "number"} and NUMERAL.fullmatch(value):
        return _number(value.strip(), kind)
    if kind == "boolean" and value.strip().lower() in {"true", "false"}:
        return value.strip().lower() == "true", "boolean in a string"
    if kind in {"object", "array"} and value.strip()[:1] == {"object": "{", "array": "["}[kind]:
        try:
            inner, _ = lenient_json.loads(value)
        except ValueError:
            return value, ""
        if _is(inner, kind):
            return inner, "double encoding"
    return value, ""


def _number(text: str, kind: str) -> tuple[Any, str]:
    try:
        number = orjson.loads(text)
    except orjson.JSONDecodeError:
        # Leading zeros make an identifier, not a number.
        return text, ""
    if isinstance(number, float) and number.is_integer() and abs(number) < EXACT:
        number = int(number)
    return (number, "number in a string") if _is(number, kind) else (text, "")


def _command(words: list[Any]) -> str | None:
    """A list of words as one command line."""
    if not words or not all(isinstance(word, str) for word in words):
        return None
    if len(words) == 3 and words[0] in SHELLS and re.fullmatch(r"-l?c|-cl", words[1]):
        script: str = words[2]
        return script
    if len(words) == 1:
        only: str = words[0]
        return only
    # A first word with a space in it is no program: this is a list of something else.
    if " " in words[0] or any(NOT_WORDS.search(word) for word in words):
        return None
    return shlex.join(words)


def _same(key: str, name: str) -> bool:
    """Whether `key` clearly means the parameter `name`."""
    key, name = _snake(key), _snake(name)
    return _letters(key) == _letters(name) or any(
        key in group and name in group for group in SYNONYMS
    )


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()


def _letters(name: str) -> str:
    return re.sub(r"[-_\s]", "", name.casefold())


def _types(schema: Json) -> list[str]:
    kind = schema.get("type")
    if isinstance(kind, str):
        return [kind]
    return [name for name in _list(kind) if isinstance(name, str)]


def _is(value: Any, kind: str) -> bool:
    if kind in {"integer", "number"}:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (kind == "number" or isinstance(value, int) or value.is_integer())
    wanted = JSON_TYPES.get(kind)
    return wanted is None or isinstance(value, wanted)


def _required(schema: Json) -> list[str]:
    return [name for name in _list(schema.get("required")) if isinstance(name, str)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}

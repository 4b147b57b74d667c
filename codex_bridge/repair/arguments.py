"""A model's arguments -> arguments that the tool's own schema accepts.

Only forms are changed, never values: "5" becomes 5 where a number is wanted. What cannot be made
to fit goes to the client as the model wrote it, and the client tells the model what is wrong.
"""

from __future__ import annotations

from typing import Any

import orjson
from attrs import define, field, frozen

from codex_bridge.repair import lenient_json
from codex_bridge.repair.conversions import COMMAND_NAMES, command_in, converted
from codex_bridge.repair.parameters import is_spelling, is_synonym
from codex_bridge.repair.validation import MAX_DEPTH, TooManyVariants, Validator, is_of_type
from codex_bridge.tools.schemas import (
    list_of,
    properties_of,
    required_of,
    resolve,
    types_of,
    variants_of,
)
from codex_bridge.vocabulary import Json

WRAPPER_KEYS = frozenset({"name", "arguments", "parameters", "type"})
WRAPPERS = frozenset({"kwargs", "properties", "input", "params", "args", "arguments", "parameters"})
"""Keys in which models put all arguments once more."""
UNDECLARED = "undeclared key"
"""The step that leaves out a key; a call that needs it was probably meant for another tool."""


@frozen
class RepairedArguments:
    """Arguments as they go to the client."""

    text: str
    value: Any
    """What `text` holds; None if it is no JSON."""
    steps: list[str]
    """The repair steps, in the words of docs/tools.md; empty if nothing was changed."""
    fits: bool
    """Whether the result fits the schema."""


def repair_arguments(text: str, schema: Json) -> RepairedArguments:
    """Make `text`, as a model wrote it, fit `schema`, as the client declared it.

    Arguments that fit come back byte for byte, and so do those that cannot be repaired.
    """
    if not text.strip():
        text = "{}"
    try:
        value, slips = lenient_json.loads(text)
    except ValueError:
        return RepairedArguments(text, None, [], fits=False)
    fitter = _Fitter(Validator(schema), sorted(slips))
    try:
        repaired, fits = fitter.fit_arguments(value)
    except TooManyVariants:
        return RepairedArguments(text, value, [], fits=False)
    if not fitter.steps:
        return RepairedArguments(text, repaired, [], fits)
    if not isinstance(repaired, dict):
        return RepairedArguments(text, repaired, [], fits=False)
    try:
        return RepairedArguments(orjson.dumps(repaired).decode(), repaired, fitter.steps, fits)
    except orjson.JSONEncodeError:
        # orjson reads deeper nesting than it writes.
        return RepairedArguments(text, None, [], fits=False)


@define
class _Fitter:
    """Fits values to the parts of one schema, and notes the steps it took."""

    validator: Validator
    steps: list[str] = field(factory=list)

    def fit_arguments(self, value: Any) -> tuple[Any, bool]:
        """Fit the arguments of a call; return them, and whether they fit now."""
        schema = self.validator.root
        if not isinstance(value, dict):
            value = self._as_object(value, schema)
        elif inner := _unwrapped(value, schema):
            value = inner
            self.steps.append("wrapped")
        if not isinstance(value, dict):
            return value, False
        written = value
        value = self._fit(value, schema, 0)
        if UNDECLARED in self.steps and not value.keys() >= set(required_of(schema)):
            # What was left out may be what is missing: the client tells the model, who knows.
            self.steps.clear()
            return written, False
        return value, isinstance(value, dict) and self.validator.accepts(value, schema, 0)

    def _as_object(self, value: Any, schema: Json) -> Any:
        """`value` as an object: `{}` for null and `[]`; `{name: value}` if it fits the only
        required parameter. Anything else comes back unchanged."""
        properties, required = properties_of(schema), required_of(schema)
        if value is None or value == []:
            self.steps.append("no object")
            return {}
        if len(required) == 1 and required[0] in properties:
            (name,) = required
            if self.validator.accepts(value, properties[name], 1):
                self.steps.append("lone value")
                return {name: value}
        return value

    def _fit(self, value: Any, schema: Any, depth: int, name: str = "") -> Any:
        """Return `value` in the form that `schema` wants; unchanged if no repair leads to it.

        `depth` counts the levels of the schema above; `name` is the parameter's, if it is one.
        """
        self.validator.count()
        if depth > MAX_DEPTH or not isinstance(schema, dict):
            return value
        schema = resolve(schema, self.validator.root)
        for part in list_of(schema, "allOf"):
            value = self._fit(value, part, depth + 1, name)
        value = self._fit_variant(value, variants_of(schema), depth, name)
        value = self._fit_type(value, schema, depth, name)
        if isinstance(value, dict):
            return self._fit_object(value, schema, depth)
        if isinstance(value, list) and isinstance(schema.get("items"), dict):
            return [self._fit(entry, schema["items"], depth + 1) for entry in value]
        return self._fit_enum(value, schema)

    def _fit_variant(self, value: Any, variants: list[Any], depth: int, name: str) -> Any:
        """Fit to the first variant that takes the value, if need be after a repair."""
        if any(self.validator.accepts(value, variant, depth + 1) for variant in variants):
            return value
        for variant in variants:
            fitted, steps = self._try(value, variant, depth, name)
            # A variant that would leave something out is not the one the model wrote.
            if steps is not None and UNDECLARED not in steps:
                self.steps += steps
                return fitted
        return value

    def _try(
        self, value: Any, schema: Any, depth: int, name: str = ""
    ) -> tuple[Any, list[str] | None]:
        """Fit `value` to a schema that may not be the right one.

        Returns the result and its steps; None for the steps if the result does not fit.
        """
        trial = _Fitter(self.validator)
        fitted = trial._fit(value, schema, depth + 1, name)
        fits = self.validator.accepts(fitted, schema, depth + 1)
        return fitted, trial.steps if fits else None

    def _fit_type(self, value: Any, schema: Json, depth: int, name: str) -> Any:
        types = types_of(schema)
        if isinstance(value, str) and "string" in types and name in COMMAND_NAMES:
            command = command_in(value)
            if command is not None:
                self.steps.append("word list")
                return command
        if any(is_of_type(value, kind) for kind in types):
            # Clients that want whole numbers refuse 5.0, though JSON makes no difference.
            if not isinstance(value, float):
                return value
            types = [kind for kind in types if kind in {"integer", "number"}]
        for kind in types:
            fitted, step = converted(value, kind, name)
            if step:
                self.steps.append(step)
                return fitted
        if "array" in types and value is not None:
            return self._as_list(value, schema.get("items", {}), depth, name)
        return value

    def _as_list(self, value: Any, items: Any, depth: int, name: str) -> Any:
        """One value where a list is wanted: a list of one, if an entry may look like that."""
        if isinstance(value, str) and name in COMMAND_NAMES:
            self.steps.append("command line")
            return ["bash", "-lc", value]
        entry, steps = self._try(value, items, depth)
        if steps is None:
            return value
        self.steps += [*steps, "lone value"]
        return [entry]

    def _fit_object(self, value: Json, schema: Json, depth: int) -> Json:
        properties = properties_of(schema)
        closed = schema.get("additionalProperties") is False
        if not properties and not closed:
            return value
        fitted: Json = {}
        for name, entry in self._renamed(value, properties, schema).items():
            if properties.get(name) is None:
                if closed and not schema.get("patternProperties"):
                    self.steps.append(UNDECLARED)
                else:
                    fitted[name] = entry
            elif entry is None and self._may_be_absent(name, schema, depth):
                self.steps.append("null")
            else:
                fitted[name] = self._fit(entry, properties[name], depth + 1, name)
        return fitted

    def _may_be_absent(self, name: str, schema: Json, depth: int) -> bool:
        """Whether null means that `name` is left out: it is optional, and does not accept null."""
        node = properties_of(schema)[name]
        return name not in required_of(schema) and not self.validator.accepts(None, node, depth + 1)

    def _renamed(self, value: Json, properties: Json, schema: Json) -> Json:
        """`value`, its undeclared keys renamed to the declared one they mean, if only one fits."""
        names: dict[str, str] = {}
        for key in value:
            if key in properties:
                continue
            self.validator.count(len(properties))
            missing = [name for name in properties if name not in value]
            candidates = [name for name in missing if is_spelling(key, name)]
            if not candidates:
                candidates = [name for name in missing if is_synonym(key, name)]
                if schema.get("additionalProperties") is not False:
                    # The schema allows the key itself: only a required name can be in its place.
                    candidates = [name for name in candidates if name in required_of(schema)]
            if len(candidates) == 1 and candidates[0] not in names.values():
                names[key] = candidates[0]
        self.steps += ["key"] * len(names)
        return {names.get(key, key): entry for key, entry in value.items()}

    def _fit_enum(self, value: Any, schema: Json) -> Any:
        choices = list_of(schema, "enum")
        if not isinstance(value, str) or value in choices:
            return value
        spellings = [c for c in choices if isinstance(c, str) and is_spelling(value, c)]
        if len(spellings) != 1:
            return value
        self.steps.append("choice")
        return spellings[0]


def _unwrapped(value: Json, schema: Json) -> Json | None:
    """The arguments inside of a whole call, `{"name": …, "arguments": {…}}`, or in a single key."""
    properties = properties_of(schema)
    if len(value) == 1:
        ((key, inner),) = value.items()
        is_wrapper = key in WRAPPERS and key not in properties
        if is_wrapper and isinstance(inner, dict) and inner.keys() & properties.keys():
            return inner
    if any(key in properties or key not in WRAPPER_KEYS for key in value):
        return None
    inner = value.get("arguments", value.get("parameters"))
    return inner if isinstance(inner, dict) else None

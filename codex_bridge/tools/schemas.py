"""JSON schemas -> schemas that every Ollama accepts and every template renders the same way.

Ollama drops or refuses most of JSON schema: `$ref`, `oneOf`, `allOf`, `const` go without a
word and leave a parameter without a type; a boolean schema or a description that is no string
is a 400 for the whole request. What can be said in the words that survive is said in those.
"""

from __future__ import annotations

from typing import Any

from attrs import define

from codex_bridge.vocabulary import Json

MAX_NODES = 2000
"""Subschemas in one tool; references may name each other and multiply."""
MAX_DEPTH = 40
"""Subschemas inside of each other; what references nest may be too deep to be written."""
TYPE_OF = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}


def portable(schema: Json) -> Json:
    """The schema of a tool's arguments in the words Ollama keeps.

    Always `type: object` with `properties`; keys in a fixed order. The same schema gives the
    same result.
    """
    node = _Rewriter(schema, MAX_NODES).node(schema, ())
    for variant in node.pop("anyOf", []):
        # At the top alternatives are dropped; all their parameters, none of them required.
        for name, child in variant.get("properties", {}).items():
            node.setdefault("properties", {}).setdefault(name, child)
    properties = {name: _one_extra(child) for name, child in node.get("properties", {}).items()}
    top: Json = {"type": "object", "properties": properties}
    required = [name for name in node.get("required", []) if name in properties]
    return top | {"required": required} if required else top


def resolve(schema: Any, root: Json) -> Json:
    """`schema` with its local `$ref`s followed; what leads nowhere says nothing."""
    followed: set[str] = set()
    while isinstance(schema, dict):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        target = None if reference in followed else _look_up(reference, root)
        followed.add(reference)
        schema = {**target, **rest} if isinstance(target, dict) else rest
    return {}


def _look_up(reference: str, root: Json) -> Any:
    """What a reference inside of the same schema names; None for any other."""
    if not reference.startswith("#"):
        return None
    node: Any = root
    for step in reference[1:].split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        node = node.get(key) if isinstance(node, dict) else None
    return node


@define
class _Rewriter:
    """Rewrites one schema; counts its nodes."""

    root: Json
    left: int
    depth: int = 0

    def node(self, schema: Any, within: tuple[str, ...]) -> Json:
        """One subschema; `within` are the references that led here, to stop at a circle."""
        self.left -= 1
        reference = schema.get("$ref") if isinstance(schema, dict) else None
        if self.left < 0 or self.depth >= MAX_DEPTH or reference in within:
            return {}
        if isinstance(reference, str):
            within = (*within, reference)
        self.depth += 1
        made = self._rewritten(resolve(schema, self.root), within)
        self.depth -= 1
        return made

    def _rewritten(self, schema: Json, within: tuple[str, ...]) -> Json:
        made = self._own(schema, within)
        for part in _list(schema.get("allOf")):
            made = _merged(made, self.node(part, within))
        variants = _list(schema.get("anyOf")) or _list(schema.get("oneOf"))
        if variants:
            made = _merged(made, _either([self.node(variant, within) for variant in variants]))
        return _ordered(made)

    def _own(self, schema: Json, within: tuple[str, ...]) -> Json:
        """What the subschema itself says, without its alternatives."""
        made: Json = {"type": _type(schema), "enum": _enum(schema)}
        if isinstance(schema.get("description"), str):
            made["description"] = schema["description"]
        if isinstance(schema.get("items"), dict):
            made["items"] = self.node(schema["items"], within)
        if isinstance(schema.get("properties"), dict):
            required = [name for name in _list(schema.get("required")) if isinstance(name, str)]
            made["required"], needed = required, set(required)
            made["properties"] = {
                name: self._property(child, within, optional=name not in needed)
                for name, child in schema["properties"].items()
            }
        return {key: value for key, value in made.items() if value or key == "properties"}

    def _property(self, schema: Any, within: tuple[str, ...], *, optional: bool) -> Json:
        node = self.node(schema, within)
        # An optional parameter is left out in place of a null, which clients refuse.
        return _without_null(node) if optional else node


def _type(schema: Json) -> str | list[str] | None:
    kind = schema.get("type")
    if isinstance(kind, str) and kind:
        return kind
    names = [name for name in _list(kind) if isinstance(name, str)]
    if names:
        return names if len(names) > 1 else names[0]
    if isinstance(schema.get("properties"), dict):
        return "object"
    if isinstance(schema.get("items"), dict):
        return "array"
    kinds = {TYPE_OF.get(type(value)) for value in _enum(schema)}
    return kinds.pop() if len(kinds) == 1 else None


def _enum(schema: Json) -> list[Any]:
    return [schema["const"]] if "const" in schema else _list(schema.get("enum"))


def _merged(one: Json, other: Json) -> Json:
    """Both at once: the union of their properties, else the first that says something."""
    made = {**other, **one}
    if "properties" in one and "properties" in other:
        made["properties"] = {**other["properties"], **one["properties"]}
    if "required" in one and "required" in other:
        made["required"] = list(dict.fromkeys([*one["required"], *other["required"]]))
    return made


def _either(variants: list[Json]) -> Json:
    """Alternatives as one node: merged where that says the same, else as `anyOf`."""
    real = [node for node in variants if node.get("type") != "null"]
    nullable = len(real) < len(variants)
    if not real:
        return {"type": "null"}
    if len(real) == 1:
        node = real[0]
        if nullable and isinstance(node.get("type"), str):
            return {**node, "type": [node["type"], "null"]}
        return node
    if all("enum" in node for node in real) and len({str(n.get("type")) for n in real}) == 1:
        values = [value for node in real for value in node["enum"]]
        return {"type": real[0].get("type"), "enum": values}
    if all(set(node) == {"type"} and isinstance(node["type"], str) for node in real):
        kinds = list(dict.fromkeys(node["type"] for node in variants))
        return {"type": kinds if len(kinds) > 1 else kinds[0]}
    return {"anyOf": variants}


def _without_null(node: Json) -> Json:
    kind = node.get("type")
    if isinstance(kind, list):
        kinds = [name for name in kind if name != "null"]
        node = {**node, "type": kinds[0] if len(kinds) == 1 else kinds}
    if "anyOf" in node:
        node = {**node, "anyOf": [v for v in node["anyOf"] if v.get("type") != "null"]}
    if None in node.get("enum", []):
        node = {**node, "enum": [value for value in node["enum"] if value is not None]}
    return node


def _one_extra(node: Json) -> Json:
    """A parameter with at most one key beside type and description.

    One of Ollama's renderers (qwen3-coder) walks over the others in random order, and each
    new order throws the model's prompt cache away.
    """
    description = node.get("description", "")
    if required := node.get("required"):
        needs = f"Required: {', '.join(required)}."
        description = f"{description} {needs}" if description else needs
    made = {"type": node["type"]} if "type" in node else {}
    if description:
        made["description"] = description
    extra = next((key for key in ("properties", "items", "anyOf", "enum") if node.get(key)), None)
    return made | {extra: node[extra]} if extra else made


def _ordered(node: Json) -> Json:
    keys = ("type", "description", "enum", "items", "properties", "required", "anyOf")
    return {
        key: node[key] for key in keys if node.get(key) or (key == "properties" and key in node)
    }


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

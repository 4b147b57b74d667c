"""JSON schemas -> schemas that every Ollama accepts and every template renders the same way.

Ollama silently drops `$ref`, `oneOf`, `allOf` and `const`, which leaves a parameter without a type.
For a boolean schema, or a description that is no string, it answers 400 to the whole request. So a
schema is rewritten in the keywords that Ollama keeps, as far as they can express it.
"""

from __future__ import annotations

from typing import Any

from attrs import define

from codex_bridge.vocabulary import Json

MAX_NODES = 2000
"""Subschemas in one tool; references to references multiply."""
MAX_DEPTH = 40
"""Levels of subschemas; references could nest them deeper than orjson can write."""
TYPE_OF = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}


def list_of(schema: Json, keyword: str) -> list[Any]:
    """The list under a keyword; empty if there is none."""
    value = schema.get(keyword)
    return value if isinstance(value, list) else []


def variants_of(schema: Json) -> list[Any]:
    """The alternatives of a schema."""
    return list_of(schema, "anyOf") or list_of(schema, "oneOf")


def properties_of(schema: Json) -> Json:
    """The schemas of an object's parameters by name; empty if there are none."""
    value = schema.get("properties")
    return value if isinstance(value, dict) else {}


def required_of(schema: Json) -> list[str]:
    """The names of an object's required parameters."""
    return [name for name in list_of(schema, "required") if isinstance(name, str)]


def types_of(schema: Json) -> list[str]:
    """The JSON types that a schema names."""
    name = schema.get("type")
    if isinstance(name, str):
        return [name]
    return [name for name in list_of(schema, "type") if isinstance(name, str)]


def portable(schema: Json) -> Json:
    """Rewrite the schema of a tool's arguments in the keywords Ollama keeps.

    The result always has `type: object` and `properties`; its keys have a fixed order. The same
    schema gives the same result.
    """
    node = _Rewriter(schema, MAX_NODES).node(schema, ())
    for variant in node.pop("anyOf", []):
        # Ollama drops alternatives at the top: show all their parameters, none as required.
        for name, child in variant.get("properties", {}).items():
            node.setdefault("properties", {}).setdefault(name, child)
    properties = {name: _one_extra(child) for name, child in node.get("properties", {}).items()}
    top: Json = {"type": "object", "properties": properties}
    required = [name for name in node.get("required", []) if name in properties]
    return top | {"required": required} if required else top


def resolve(schema: Any, root: Json) -> Json:
    """Follow the `$ref`s of `schema` inside of `root`; one that leads nowhere is left out."""
    followed: set[str] = set()
    while isinstance(schema, dict):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        target = None if reference in followed else look_up(reference, root)
        followed.add(reference)
        schema = {**target, **rest} if isinstance(target, dict) else rest
    return {}


def look_up(reference: str, root: Json) -> Any:
    """The subschema that a reference into `root` names; None for any other reference."""
    if not reference.startswith("#"):
        return None
    node: Any = root
    for step in reference[1:].split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, list):
            node = node[int(key)] if key.isdecimal() and int(key) < len(node) else None
        else:
            node = node.get(key) if isinstance(node, dict) else None
    return node


@define
class _Rewriter:
    """Rewrites one schema; counts its nodes."""

    root: Json
    nodes_left: int

    def node(self, schema: Any, within: tuple[Any, ...]) -> Json:
        """Rewrite one subschema.

        `within` has the reference, or None, of each schema around it. A reference to one of these
        schemas becomes an empty schema, so that the rewriting ends.
        """
        self.nodes_left -= 1
        reference = schema.get("$ref") if isinstance(schema, dict) else None
        if self.nodes_left < 0 or len(within) >= MAX_DEPTH or (reference and reference in within):
            return {}
        return self._rewritten(resolve(schema, self.root), (*within, reference))

    def _rewritten(self, schema: Json, within: tuple[Any, ...]) -> Json:
        node = self._without_alternatives(schema, within)
        for part in list_of(schema, "allOf"):
            node = _merged(node, self.node(part, within))
        if variants := variants_of(schema):
            node = _merged(node, _any_of([self.node(variant, within) for variant in variants]))
        return _ordered(node)

    def _without_alternatives(self, schema: Json, within: tuple[Any, ...]) -> Json:
        node: Json = {"type": _type(schema), "enum": _enum(schema)}
        if isinstance(schema.get("description"), str):
            node["description"] = schema["description"]
        if isinstance(schema.get("items"), dict):
            node["items"] = self.node(schema["items"], within)
        if isinstance(schema.get("properties"), dict):
            node["required"] = required_of(schema)
            required = set(node["required"])
            node["properties"] = {
                name: self._property(child, within, optional=name not in required)
                for name, child in schema["properties"].items()
            }
        return {key: value for key, value in node.items() if value or key == "properties"}

    def _property(self, schema: Any, within: tuple[Any, ...], *, optional: bool) -> Json:
        node = self.node(schema, within)
        # The model is to leave out an optional parameter; clients refuse a null.
        return _without_null(node) if optional else node


def _type(schema: Json) -> str | list[str] | None:
    names = [name for name in types_of(schema) if name]
    if names:
        return names if len(names) > 1 else names[0]
    if isinstance(schema.get("properties"), dict):
        return "object"
    if isinstance(schema.get("items"), dict):
        return "array"
    kinds = {TYPE_OF.get(type(value)) for value in _enum(schema)}
    return kinds.pop() if len(kinds) == 1 else None


def _enum(schema: Json) -> list[Any]:
    return [schema["const"]] if "const" in schema else list_of(schema, "enum")


def _merged(one: Json, other: Json) -> Json:
    """A node for both: the properties and required names of both; else `one` wins over `other`."""
    merged = {**other, **one}
    if "properties" in one and "properties" in other:
        merged["properties"] = {**other["properties"], **one["properties"]}
    if "required" in one and "required" in other:
        merged["required"] = list(dict.fromkeys([*one["required"], *other["required"]]))
    return merged


def _any_of(variants: list[Json]) -> Json:
    """Alternatives as one node: joined where that means the same, else as `anyOf`."""
    real = [node for node in variants if node.get("type") != "null"]
    if not real:
        return {"type": "null"}
    if len(real) == 1:
        (node,) = real
        if len(variants) > 1 and isinstance(node.get("type"), str):
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

    One of Ollama's renderers (qwen3-coder) prints further keys in random order, and each new
    order invalidates the model's prompt cache.
    """
    description = node.get("description", "")
    if required := node.get("required"):
        needs = f"Required: {', '.join(required)}."
        description = f"{description} {needs}" if description else needs
    extra = next((key for key in ("properties", "items", "anyOf", "enum") if node.get(key)), None)
    shown = {"type": node.get("type"), "description": description}
    if extra:
        shown[extra] = node[extra]
    return {key: value for key, value in shown.items() if value}


def _ordered(node: Json) -> Json:
    keys = ("type", "description", "enum", "items", "properties", "required", "anyOf")
    return {
        key: node[key] for key in keys if node.get(key) or (key == "properties" and key in node)
    }

"""How an answer fits the JSON Schema that a request gives, as parameters of a tool or as a response format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_execgo.core.jsonio import dumps

Schema = Mapping[str, Any]


def plan_for(schema: Schema, plan: dict[str, Any]) -> dict[str, Any] | None:
    """Return the plan in the shape that a schema asks for; None where the schema takes no plan.

    A schema takes one that has a property `stages`, that has no properties at all, or whose only property (or only required
    one) is an object that takes a plan or a text. A closed schema gets no field that it does not name.
    """
    whole = _resolved(schema, schema)
    direct = _direct(whole, plan)
    if direct is not None:
        return direct
    properties = _mapping(whole.get("properties"))
    name = _only(properties, whole.get("required"))
    inner = _resolved(_mapping(properties.get(name)), schema) if name is not None else {}
    if name is None or inner.get("type") == "string":
        return None if name is None else {name: dumps(plan)}
    taken = _direct(inner, plan)
    return None if taken is None else {name: taken}


def verdict_for(schema: Schema, approved: bool, said: str) -> dict[str, Any]:
    """Return a reviewer's verdict as a schema asks for it: truth values approve, texts say why, lists hold the problems."""
    properties = _mapping(_resolved(schema, schema).get("properties")) or {"verdict": {"type": "string"}}
    values = {
        "boolean": approved,
        "string": said,
        "array": [] if approved else [said],
        "integer": int(approved),
        "number": int(approved),
    }
    kinds = {name: _resolved(_mapping(inner), schema).get("type") for name, inner in properties.items()}
    return {name: values.get(str(kind)) for name, kind in kinds.items()}


def _direct(schema: Schema, plan: dict[str, Any]) -> dict[str, Any] | None:
    """Return the plan as an object of a schema that names its fields, or any; None for another schema."""
    properties = _mapping(schema.get("properties"))
    if schema.get("type", "object") != "object" or (properties and "stages" not in properties):
        return None
    closed = bool(properties) and schema.get("additionalProperties") is False
    return {name: value for name, value in plan.items() if name in properties} if closed else plan


def _only(properties: Schema, required: Any) -> str | None:
    """Return the name of the one property that must be filled, None where it is not one."""
    names = list(properties) if len(properties) == 1 else [name for name in properties if name in (required or ())]
    return names[0] if len(names) == 1 else None


def _resolved(schema: Schema, root: Schema) -> Schema:
    """Follow a reference into `$defs`, once: what clients make of their models nests no further."""
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    return _mapping(_mapping(root.get("$defs")).get(reference.removeprefix("#/$defs/")))


def _mapping(value: Any) -> Schema:
    return value if isinstance(value, Mapping) else {}

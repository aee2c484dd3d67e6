"""A pydantic JSON Schema as the structural schema that a CustomResourceDefinition wants.

References are put in place; titles, defaults and `additionalProperties: false` (the API server prunes) go; a value of
any type becomes `x-kubernetes-preserve-unknown-fields`. Optional fields are simply not required: nobody writes null.
"""

from __future__ import annotations

from typing import Any

_FREE = "x-kubernetes-preserve-unknown-fields"
_LIMITS = frozenset(
    {"pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"}
    | {"minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "enum", "const"}
)
_KEPT = frozenset({"type", "description", "required"})
_FORMATS = frozenset({"date-time", "int32", "int64"})


def structural(schema: dict[str, Any], *, limits: bool) -> dict[str, Any]:
    """The schema in place; without `limits` only shapes stay (types, names, required fields)."""
    return _Converter(schema.get("$defs", {}), limits=limits).convert(schema, ())


class _Converter:
    def __init__(self, definitions: dict[str, Any], *, limits: bool) -> None:
        self._definitions, self._limits = definitions, limits

    def convert(self, schema: dict[str, Any], parents: tuple[str, ...]) -> dict[str, Any]:
        """`parents` are the references that we are inside of: a type that holds itself is left free there."""
        if "$ref" in schema:
            return self._reference(schema, parents)
        if "anyOf" in schema or "oneOf" in schema:
            return self._union(schema, parents)
        if "allOf" in schema and len(schema["allOf"]) == 1:
            return self.convert({**schema["allOf"][0], **{k: v for k, v in schema.items() if k != "allOf"}}, parents)
        if "type" not in schema and "enum" not in schema and "const" not in schema:
            return _described({_FREE: True}, schema)
        return self._plain(schema, parents)

    def _reference(self, schema: dict[str, Any], parents: tuple[str, ...]) -> dict[str, Any]:
        name = schema["$ref"].rsplit("/", 1)[-1]
        if name in parents:
            return _described({_FREE: True}, schema)
        return _described(self.convert(self._definitions[name], (*parents, name)), schema)

    def _union(self, schema: dict[str, Any], parents: tuple[str, ...]) -> dict[str, Any]:
        options = [option for option in schema.get("anyOf", schema.get("oneOf", [])) if option.get("type") != "null"]
        if len(options) == 1:
            return _described(self.convert(options[0], parents), schema)
        if {option.get("type") for option in options} <= {"integer", "string"}:
            return _described({"x-kubernetes-int-or-string": True}, schema)
        return _described({_FREE: True}, schema)

    def _plain(self, schema: dict[str, Any], parents: tuple[str, ...]) -> dict[str, Any]:
        found = {key: value for key, value in schema.items() if key in _KEPT}
        found.setdefault("type", "string")  # an enum or const without a type: all of ours are words
        found |= self._limited(schema)
        if schema.get("format") in _FORMATS:
            found["format"] = schema["format"]
        if found["type"] == "object":
            found |= self._members(schema, parents)
        if found["type"] == "array":
            found["items"] = self.convert(schema.get("items", {}), parents)
        return found

    def _members(self, schema: dict[str, Any], parents: tuple[str, ...]) -> dict[str, Any]:
        if "properties" in schema:
            members = {name: self.convert(member, parents) for name, member in schema["properties"].items()}
            return {"properties": members}
        values = schema.get("additionalProperties")
        if isinstance(values, dict) and values:
            return {"additionalProperties": self.convert(values, parents)}
        return {_FREE: True}

    def _limited(self, schema: dict[str, Any]) -> dict[str, Any]:
        if not self._limits:
            return {}
        found = {key: schema[key] for key in sorted(_LIMITS & schema.keys() - {"const"})}
        if "const" in schema:
            found["enum"] = [schema["const"]]
        for side in ("Minimum", "Maximum"):  # OpenAPI 3.0 spells an open end as a flag beside the limit
            if f"exclusive{side}" in found:
                found[side.lower()] = found[f"exclusive{side}"]
                found[f"exclusive{side}"] = True
        return found


def _described(found: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """What stands at the place of use describes better than the type itself."""
    return found | ({"description": schema["description"]} if "description" in schema else {})

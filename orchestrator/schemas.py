"""JSON Schema (draft 2020-12) for an execution's input: checked offline, nothing is ever fetched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from orchestrator import schema_checks
from orchestrator.errors import Problem
from orchestrator.jsonvalues import child, first_problem

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from referencing._core import Resolver

_DIALECTS = ("https://json-schema.org/draft/2020-12/schema", "https://json-schema.org/draft/2020-12/schema#")
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_DATA = frozenset({"const", "enum", "default", "examples"})
_MOST, _LONGEST = 20, 300  # problems that are told, and characters of each


def schema_problems(schema: Mapping[str, Any], path: str) -> list[Problem]:
    """What is wrong with a schema itself; a reference to anything outside of it is."""
    meta = Draft202012Validator(Draft202012Validator.META_SCHEMA)
    found = [Problem(_place(error, path), _message(error)) for error in meta.iter_errors(schema)]
    if not found:
        resolver = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver()
        found.extend(_walk(schema, path, resolver))
    return _few(found)


def input_problems(schema: Mapping[str, Any] | None, value: Any, path: str) -> list[Problem]:
    """What keeps `value` from fitting the schema, or from being a value at all."""
    if problem := first_problem(value, path):
        return [problem]
    if schema is None:
        return []
    try:
        found = schema_checks.errors(schema, value)
    except (RecursionError, Unresolvable, schema_checks.NoPattern, schema_checks.TooMuch) as error:
        return [Problem(path, f"the workflow's input schema cannot be applied: {str(error)[:_LONGEST]}")]
    errors = sorted(found, key=lambda error: [str(part) for part in error.absolute_path])
    return _few([_input_problem(error, path) for error in errors])


def _walk(schema: Any, path: str, resolver: Resolver[Any], *, top: bool = True) -> Iterator[Problem]:
    """Check every keyword wherever a schema may stand; data within a schema is let be."""
    if not isinstance(schema, Mapping):
        return
    for key, value in schema.items():
        place = child(path, key)
        yield from _keyword(key, value, place, resolver, top=top)
        if key in _NAMED and isinstance(value, Mapping):
            members: Iterable[tuple[str | int, Any]] = value.items()
        elif isinstance(value, list) and key not in _DATA:
            members = enumerate(value)
        else:
            members = ()
            if key not in _DATA:
                yield from _walk(value, place, resolver, top=False)
        for name, member in members:
            if key == "patternProperties":
                yield from _pattern(str(name), child(place, name))
            yield from _walk(member, child(place, name), resolver, top=False)


def _keyword(key: str, value: Any, place: str, resolver: Resolver[Any], *, top: bool) -> Iterator[Problem]:
    if key in ("$ref", "$dynamicRef"):
        yield from _reference(str(value), place, resolver)
    elif key == "$schema" and value not in _DIALECTS:
        yield Problem(place, f"{value!r} is another dialect; draft 2020-12 is spoken here")
    elif key == "$id" and not top:
        yield Problem(place, "an $id below the top gives '#…' another meaning; use $defs")
    elif key == "pattern":
        yield from _pattern(str(value), place)


def _reference(reference: str, place: str, resolver: Resolver[Any]) -> Iterator[Problem]:
    if not reference.startswith("#"):
        yield Problem(place, f"{reference!r} points outside of this schema; only '#…' is followed")
        return
    try:
        resolver.lookup(reference)
    except Unresolvable:
        yield Problem(place, f"{reference!r} leads nowhere in this schema")


def _pattern(text: str, path: str) -> Iterator[Problem]:
    try:
        schema_checks.pattern(text)
    except schema_checks.NoPattern as error:
        shown = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
        yield Problem(path, f"{shown!r} is no regular expression (RE2: no look-around, no back references): {error}")


def _input_problem(error: ValidationError, path: str) -> Problem:
    place = _place(error, path)
    if error.validator == "required" and isinstance(error.validator_value, list):
        for name in error.validator_value:
            if error.message.startswith(repr(name)):
                return Problem(child(place, name), "is required")
    return Problem(place, _message(error))


def _place(error: ValidationError, path: str) -> str:
    for part in error.absolute_path:
        path = child(path, part)
    return path


def _message(error: ValidationError) -> str:
    return error.message if len(error.message) <= _LONGEST else error.message[:_LONGEST] + "…"


def _few(problems: Iterable[Problem]) -> list[Problem]:
    found = list(problems)
    if len(found) <= _MOST:
        return found
    return [*found[:_MOST], Problem(found[_MOST].path, f"and {len(found) - _MOST} more problems")]

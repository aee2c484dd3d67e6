"""The validator behind schemas.py: JSON Schema, with bounds on what a schema and an input can cost together.

Who writes a Workflow and who writes an input may be strangers to those who run the operator, and both are checked in
its process. So regular expressions are matched in linear time (RE2, as the API server does it), uniqueness is found by
one pass, and a check ends when it takes too many steps: a schema of a few lines can ask for 2⁵⁰ of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final, TypeAlias

import re2
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry

STEPS: Final = 100_000  # keywords looked at in one check: a second or two

_MEMORY: Final = 1 << 20  # bytes that one regular expression may take
_ENUM: Final = Draft202012Validator.VALIDATORS["enum"]
_left: ContextVar[list[int]] = ContextVar("left")

Keyword: TypeAlias = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class TooMuch(Exception):
    """A check that takes too many steps."""


class NoPattern(ValueError):
    """Not a regular expression that RE2 takes."""


@lru_cache(maxsize=512)
def pattern(text: str) -> Any:
    """A regular expression; raises NoPattern."""
    options = re2.Options()
    options.log_errors, options.max_mem = False, _MEMORY
    try:
        return re2.compile(text, options)
    except re2.error as error:
        why = error.args[0]
        raise NoPattern(why.decode(errors="replace") if isinstance(why, bytes) else str(why)) from None


def errors(schema: Mapping[str, Any], value: Any) -> list[ValidationError]:
    """What does not fit. Raises TooMuch, NoPattern, and what a broken reference raises."""
    token = _left.set([STEPS])
    try:
        # An empty registry: without it the library would fetch what it does not know.
        return list(_Bounded(dict(schema), registry=Registry()).iter_errors(value))
    finally:
        _left.reset(token)


def _counted(keyword: Any) -> Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        left = _left.get()
        left[0] -= 1 + (len(value) if keyword is _ENUM else 0)  # it compares with each
        if left[0] < 0:
            raise TooMuch(f"more than {STEPS} steps")
        yield from keyword(validator, value, instance, schema) or ()

    return check


def _pattern(validator: Any, wanted: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not pattern(wanted).search(instance):
        yield ValidationError(f"{instance!r} does not match {wanted!r}")


def _pattern_properties(validator: Any, wanted: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    for text, below in wanted.items():
        for name, value in instance.items():
            if pattern(text).search(name):
                yield from validator.descend(value, below, path=name, schema_path=text)


def _additional_properties(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    named, patterns = schema.get("properties", {}), [pattern(text) for text in schema.get("patternProperties", {})]
    extras = [name for name in instance if name not in named and not any(known.search(name) for known in patterns)]
    if isinstance(wanted, Mapping):
        for name in extras:
            yield from validator.descend(instance[name], wanted, path=name)
    elif not wanted and extras:
        told = ", ".join(repr(name) for name in extras[:5])
        yield ValidationError(
            f"Additional properties are not allowed ({told} {'was' if len(extras) == 1 else 'were'} unexpected)"
        )


def _unique_items(validator: Any, wanted: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if wanted and validator.is_type(instance, "array") and len({_canonical(item) for item in instance}) < len(instance):
        yield ValidationError(f"{instance!r} has non-unique elements")


def _canonical(value: Any) -> str:
    """Equal for values that JSON Schema calls equal: 1 and 1.0 are, 1 and true are not."""
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


_OURS: Final[dict[str, Keyword]] = {
    "additionalProperties": _additional_properties,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "uniqueItems": _unique_items,
}
_Bounded: Any = extend(  # type: ignore[no-untyped-call]  # the library types it by its own protocol alone
    Draft202012Validator,
    {name: _counted(_OURS.get(name, keyword)) for name, keyword in Draft202012Validator.VALIDATORS.items()},
)

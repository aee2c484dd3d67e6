"""What counts as a value here: plain JSON that every store can keep and every expression can read exactly.

Values come from YAML, the API server, HTTP answers and python functions. Each door asks `first_problem` once, so that
nothing behind it meets a NUL (PostgreSQL's text has none and the CEL library would cut the string there), a lone
surrogate, a NaN or a nesting that exhausts the stack.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import Problem

LARGEST_INT = 2**63 - 1
MAX_DEPTH = 64  # levels of lists and maps within each other
_PLAIN_KEY = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_EXACT_FLOAT = 2.0**53  # from here on a double no longer holds every whole number


def child(path: str, key: str | int) -> str:
    """The path of a member: `spec.nodes[2]`, `spec.input`, `headers["X-Trace"]`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not _PLAIN_KEY.match(key):
        return f"{path}[{json.dumps(key)}]"
    return f"{path}.{key}" if path else key


def first_problem(value: Any, path: str, *, int64: bool = True) -> Problem | None:
    """The first thing that keeps `value` from being such JSON, or None.

    With `int64` a whole number outside of 64 bits is a problem too: expressions could not read it exactly.
    """
    fault = _fault(value, int64, 0)
    if fault is None:
        return None
    for key in reversed(fault.keys):
        path = child(path, key)
    return Problem(path, fault.message)


def canonical(value: Any) -> str:
    """The one compact text of a JSON value: equal values have equal texts, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def normalised(value: Any) -> Any:
    """A copy with whole numbers as ints: `2.0` and `2` are one JSON number, and stores turn one into the other."""
    if isinstance(value, Mapping):
        return {key: normalised(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [normalised(member) for member in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_FLOAT:
        return int(value)
    return value


def same_value(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same to every reader: `2.0` is `2`, but `true` is not `1`.

    A database may spell a number in its own way (1e22 as a whole number), so texts cannot be compared.
    """
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_value(member, other[key]) for key, member in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same_value, one, other))
    return bool(one == other)


@dataclass(slots=True)
class _Fault:
    message: str
    keys: list[str | int] = field(default_factory=list)  # from the fault outwards

    def inside(self, key: str | int) -> _Fault:
        self.keys.append(key)
        return self


def _fault(value: Any, int64: bool, depth: int) -> _Fault | None:
    if isinstance(value, str):
        return _text_fault(value)
    if value is None or isinstance(value, bool | int | float):
        return _number_fault(value, int64)
    if isinstance(value, Mapping | list | tuple):
        if depth >= MAX_DEPTH:
            return _Fault(f"nested more than {MAX_DEPTH} levels deep")
        return _map_fault(value, int64, depth) if isinstance(value, Mapping) else _list_fault(value, int64, depth)
    return _Fault(f"a {type(value).__name__} is not JSON; use text, numbers, true/false, null, lists and maps")


def _number_fault(value: float | None, int64: bool) -> _Fault | None:
    if isinstance(value, float) and not math.isfinite(value):
        return _Fault(f"{value} is not a JSON number")
    if int64 and isinstance(value, int) and not -LARGEST_INT - 1 <= value <= LARGEST_INT:
        return _Fault("this whole number does not fit into 64 bits; write it as text")
    return None


def _text_fault(text: str) -> _Fault | None:
    if "\x00" in text:
        return _Fault("the text contains a NUL character, which no store can keep")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return _Fault("the text contains half of a surrogate pair, which is no character")
    return None


def _map_fault(value: Mapping[Any, Any], int64: bool, depth: int) -> _Fault | None:
    for key, member in value.items():
        if not isinstance(key, str):
            return _Fault(f"the key {key!r} is not text; put it in quotes")
        if fault := _text_fault(key):
            return fault
        if fault := _fault(member, int64, depth + 1):
            return fault.inside(key)
    return None


def _list_fault(value: Sequence[Any], int64: bool, depth: int) -> _Fault | None:
    for index, member in enumerate(value):
        if fault := _fault(member, int64, depth + 1):
            return fault.inside(index)
    return None

"""What comes out of the CEL library, as JSON and as sentences: results, complaints of its checker, failures.

Pure: it knows the Python values and the messages that the library gives, not the library.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

_HINTS = (
    (re.compile(r"undeclared reference to 'nodes"), "write nodes.<id>.output, with the id as a plain name"),
    (re.compile(r"undeclared reference to"), "the names are input, nodes.<id>.output and execution.id"),
)
_REASONS = (
    (re.compile(r"^NOT_FOUND: Key not found in map : (.*)$"), r"there is no key \1"),
    (
        re.compile(r"^INVALID_ARGUMENT: Applying SELECT to non-message type$"),
        "a field is read of a value without fields (null, text, a number, a list): test it first, as in x != null",
    ),
    (
        re.compile(r"^UNKNOWN: (No matching overloads found : .*(?:int64|double).*)$"),
        r"\1; whole numbers and others do not mix: write double(x), int(x) or string(x)",
    ),
    (re.compile(r"^INTERNAL: Iteration budget exceeded.*$"), "it takes more than 10,000 steps; read a smaller list"),
    (re.compile(r"^[A-Z_]+: (.*?)( \[[A-Z_]+\])?$", re.DOTALL), r"\1"),
)


def to_json(value: Any) -> Any:
    """A value of the library as JSON; raises ValueError for what JSON has no form for."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"its result has the key {key!r}, and the keys of a JSON map are text")  # noqa: TRY004 - as documented
        # The library's maps have an order of their own in each process: sorted, a repeated step sends the same bytes.
        return {key: to_json(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [to_json(member) for member in value]
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, dt.timedelta):
        whole, rest = divmod(value // dt.timedelta(microseconds=1), 1_000_000)
        return f"{whole}s" if rest == 0 else f"{value.total_seconds():.6f}".rstrip("0") + "s"
    raise ValueError(f"its result is {kind_of(value)}, which JSON has no form for")


def as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def complaint_of(message: str) -> str:
    """`INVALID_ARGUMENT: ERROR: <input>:1:5: Syntax error: …⏎ | foo(…` as `Syntax error: … (at character 5)`."""
    line = re.sub(r" \[[A-Z_]+\]$", "", message.splitlines()[0])
    match = re.search(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)", line)
    if match is None:
        return re.sub(r"^[A-Z_]+: ", "", line)
    complaint = re.sub(r" \(in container ''\)$", "", match[3])
    if len(complaint) > 200:  # noqa: PLR2004 - a syntax error lists every token that could have stood there
        complaint = complaint[:200] + "…"
    hint = next((f"; {hint}" for pattern, hint in _HINTS if pattern.search(complaint)), "")
    where = f" (line {match[1]}, character {match[2]})" if int(match[1]) > 0 else ""
    return f"{complaint}{hint}{where}"


def reason_of(message: str) -> str:
    for pattern, replacement in _REASONS:
        if pattern.match(message):
            return pattern.sub(replacement, message)[:500]
    return message[:500]


def shown(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "…"  # noqa: PLR2004 - enough to recognise an expression by


def kind_of(value: Any) -> str:
    names = {dict: "a map", list: "a list", str: "text", int: "a number", float: "a number", bytearray: "bytes"}
    return "null" if value is None else names.get(type(value), f"a {type(value).__name__}")

"""Reads what the CEL library serialises: the parsed tree, and the names that its checker resolved.

The library gives no syntax tree to Python, but it serialises one: protobuf messages `cel.expr.ParsedExpr` and
`cel.expr.CheckedExpr` inside an `Any` (https://github.com/google/cel-spec, proto/cel/expr/{syntax,checked}.proto).
Only the handful of field numbers below is needed, so the wire format is decoded here, without another dependency.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_ANY_VALUE = 2
_PARSED_EXPR, _CHECKED_REFERENCES = 2, 2
_ENTRY_VALUE = 2
_REFERENCE_NAME, _REFERENCE_OVERLOADS, _REFERENCE_CONSTANT = 1, 3, 4
_IDENT, _SELECT = 4, 5
_IDENT_NAME = 1
_SELECT_OPERAND, _SELECT_FIELD, _SELECT_TEST_ONLY = 1, 2, 3
# Where expressions lie within an expression: the field of the kind, then the fields of its sub-expressions.
_CHILDREN = {
    5: (1,),  # select: operand
    6: (1, 3),  # call: target, arguments
    7: (1,),  # list: elements
    9: (2, 4, 5, 6, 7),  # comprehension: range, initial value, condition, step, result
}
_STRUCT, _STRUCT_ENTRIES, _ENTRY_EXPRESSIONS = 8, 2, (3, 4)  # struct: entries with a key and a value


@dataclass(slots=True)
class Outline:
    """What a parsed expression mentions, before any name is resolved."""

    nodes: set[str] = field(default_factory=set)  # every X of a `nodes.X`
    presence_tests: set[str] = field(default_factory=set)  # every X of a `has(nodes.X.output)`
    path: tuple[str, ...] = ()  # the names of the whole expression if it is nothing but `a.b.c`


def outline(parsed: bytes) -> Outline:
    """Walk the tree of a serialised ParsedExpr."""
    found = Outline()
    pending = [
        expression for message in _messages(parsed, _ANY_VALUE) for expression in _messages(message, _PARSED_EXPR)
    ]
    if len(pending) == 1 and (chain := _chain(pending[0])) is not None and not chain[1]:
        found.path = tuple(chain[0])
    while pending:
        expression = pending.pop()
        _note(expression, found)
        for number, payload in _fields(expression):
            if not isinstance(payload, bytes):
                continue
            for child in _CHILDREN.get(number, ()):
                pending.extend(_messages(payload, child))
            if number == _STRUCT:
                for entry in _messages(payload, _STRUCT_ENTRIES):
                    pending.extend(part for kind in _ENTRY_EXPRESSIONS for part in _messages(entry, kind))
    return found


def resolved_names(checked: bytes) -> frozenset[str]:
    """The variables that the checker resolved in a serialised CheckedExpr: not its functions, not its constants."""
    names: set[str] = set()
    for message in _messages(checked, _ANY_VALUE):
        for entry in _messages(message, _CHECKED_REFERENCES):
            for reference in _messages(entry, _ENTRY_VALUE):
                numbers = {number for number, _ in _fields(reference)}
                if not numbers & {_REFERENCE_OVERLOADS, _REFERENCE_CONSTANT}:
                    names.update(name.decode() for name in _messages(reference, _REFERENCE_NAME))
    return frozenset(names)


def _note(expression: bytes, found: Outline) -> None:
    chain = _chain(expression)
    if chain is None:
        return
    names, tested = chain
    if len(names) > 1 and names[0].lstrip(".") == "nodes":
        found.nodes.add(names[1])
        if tested and names[2:] == ["output"]:
            found.presence_tests.add(names[1])


def _chain(expression: bytes) -> tuple[list[str], bool] | None:
    """`a.b.c` as its names, and whether it stands inside `has( )`; None for what is no chain of names."""
    names: list[str] = []
    tested = False
    while selects := list(_messages(expression, _SELECT)):
        select = selects[0]
        names.extend(name.decode() for name in _messages(select, _SELECT_FIELD))
        tested = tested or any(number == _SELECT_TEST_ONLY and value for number, value in _fields(select))
        operand = next(iter(_messages(select, _SELECT_OPERAND)), None)
        if operand is None:
            return None
        expression = operand
    for ident in _messages(expression, _IDENT):
        names.extend(name.decode() for name in _messages(ident, _IDENT_NAME))
        return names[::-1], tested
    return None


def _messages(message: bytes, number: int) -> Iterator[bytes]:
    return (payload for kind, payload in _fields(message) if kind == number and isinstance(payload, bytes))


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Every field of a protobuf message: its number and its payload (bytes, or the int of a varint)."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
        elif wire == _BYTES:
            size, at = _varint(message, at)
            yield number, message[at : at + size]
            at += size
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire} is none that the CEL library writes; pin an older cel-expr-python")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:  # noqa: PLR2004 - the top bit of a varint's byte says that another follows
            return value, at

"""Events to JSON and back, with schema versions; and the check that every payload passes before it is queued.

A stored row is input like any other: a type that is not known, a missing field or a newer schema is refused by name.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from orchestrator import events as e
from orchestrator.errors import InvalidPayload, SchemaConflict
from orchestrator.model import Failure, Lineage, Status, Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_dumps = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode


def dump_json(value: Any, what: str) -> str:
    """Canonical JSON text of a value that any store can keep; raises InvalidPayload, naming `what`.

    NUL and lone surrogates are JSON, but no text of PostgreSQL; NaN and infinities are no JSON at all.
    """
    try:
        text = _dumps(value)
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidPayload(f"{what} holds a lone surrogate, which is no valid text: {error.reason}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidPayload(f"{what} is not JSON: {error}") from None
    if "\\u0000" in text and _has_nul(value):
        raise InvalidPayload(f"{what} holds a NUL character, which PostgreSQL cannot keep: remove it")
    return text


def _has_nul(value: Any) -> bool:
    match value:
        case str():
            return "\x00" in value
        case dict():
            return any(_has_nul(part) for pair in value.items() for part in pair)
        case list() | tuple():
            return any(_has_nul(part) for part in value)
        case _:
            return False


def moment_text(moment: datetime | None) -> str | None:
    """A moment as ISO 8601 in UTC."""
    if moment is None:
        return None
    return (moment if moment.tzinfo is UTC else moment.astimezone(UTC)).isoformat()


def dump_failure(failure: Failure | None) -> dict[str, Any] | None:
    """A failure as JSON values; `status` only where there is one."""
    if failure is None:
        return None
    known = {"kind": failure.kind, "message": failure.message, "retryable": failure.retryable, "node": failure.node}
    return known if failure.status is None else known | {"status": failure.status}


def load_failure(data: dict[str, Any] | None) -> Failure | None:
    if data is None:
        return None
    return Failure(
        data["kind"], data["message"], bool(data.get("retryable")), data.get("node"), status=data.get("status")
    )


def _dump_lineage(lineage: Lineage | None) -> dict[str, Any] | None:
    if lineage is None:
        return None
    known = {"origin": lineage.origin, "origin_seq": lineage.origin_seq, "root": lineage.root}
    fresh = {"fresh": lineage.fresh} if lineage.fresh else {}
    roots = {"roots": lineage.roots} if lineage.roots else {}
    return known | fresh | roots | ({"children": lineage.children} if lineage.children else {})


def _dump_trace(trace: Trace | None) -> dict[str, str] | None:
    if trace is None:
        return None
    return {"parent": trace.parent} | ({"state": trace.state} if trace.state else {})


def _load_trace(data: dict[str, str] | None) -> Trace | None:
    return None if data is None else Trace(data["parent"], data.get("state", ""))


def _load_lineage(data: dict[str, Any] | None) -> Lineage | None:
    if data is None:
        return None
    roots, children = (tuple((step, other) for step, other in data.get(name, ())) for name in ("roots", "children"))
    return Lineage(data["origin"], data["origin_seq"], data["root"], tuple(data.get("fresh", ())), roots, children)


def _load_moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


#: Fields whose values are no JSON by themselves, whatever event they stand in: how they are written and read.
_WRITTEN: Final[Mapping[str, Callable[[Any], Any]]] = {
    "started_at": moment_text,
    "retry_at": moment_text,
    "until": moment_text,
    "failure": dump_failure,
    "lineage": _dump_lineage,
    "trace": _dump_trace,
}
_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    "started_at": _load_moment,
    "retry_at": _load_moment,
    "until": _load_moment,
    "failure": load_failure,
    "lineage": _load_lineage,
    "trace": _load_trace,
    "status": Status,
    "items": tuple,
    "keys": tuple,
}
_COLUMNS = ("at", "node", "node_type", "attempt")  # they have columns of their own; the rest is `data`


@dataclass(frozen=True, slots=True)
class _Kind:
    """A type of event, taken apart once."""

    make: type[e.Event]
    columns: tuple[str, ...]
    written: tuple[tuple[str, Callable[[Any], Any] | None, Any], ...]  # name, how, default
    read: tuple[tuple[str, Callable[[Any], Any] | None, bool], ...]  # name, how, may it be missing?

    @classmethod
    def of(cls, kind: type[e.Event]) -> _Kind:
        own = [f for f in fields(kind) if f.name not in _COLUMNS]
        return cls(
            kind,
            tuple(f.name for f in fields(kind) if f.name in _COLUMNS),
            tuple((f.name, _WRITTEN.get(f.name), f.default) for f in own),
            tuple((f.name, _READ.get(f.name), f.default is not MISSING) for f in own),
        )


_KINDS: Final[Mapping[str, _Kind]] = {kind.__name__: _Kind.of(kind) for kind in e.ALL}


def type_name(event: e.Event) -> str:
    return type(event).__name__


def dump_data(event: e.Event) -> dict[str, Any]:
    """The part of an event that has no column of its own, as JSON values; a field at its default is left out."""
    data = {}
    for name, how, default in _KINDS[type(event).__name__].written:
        value = getattr(event, name)
        if value is default or (default is not MISSING and value == default):
            continue
        data[name] = value if how is None else how(value)
    return data


def encode(event: e.Event, what: str | None = None) -> str:
    """An event's own fields as checked JSON text; raises InvalidPayload, naming the event, or `what` if it is given."""
    return dump_json(dump_data(event), what or f"the event {type(event).__name__}")


def delivery_key(event: e.Event) -> str | None:
    """What tells a repeated delivery of an event from outside; None where the row itself does."""
    match event:
        case e.SignalReceived():
            return f"signal {event.id}"
        case e.ChildEnded():
            return f"child {event.child}"
        case _:
            return None


def load_event(
    kind: str,
    schema_version: int,
    at: datetime,
    node: str | None,
    node_type: str | None,
    attempt: int | None,
    data: Any,
) -> e.Event:
    """An event from its row; raises SchemaConflict when this version cannot understand it."""
    if schema_version > e.SCHEMA_VERSION:
        raise SchemaConflict(
            f"an event of schema {schema_version} was written by a newer version; this one reads up to "
            f"{e.SCHEMA_VERSION}: upgrade this process"
        )
    if kind not in _KINDS:
        raise SchemaConflict(f"an event of the unknown type {kind!r} is stored")
    known = _KINDS[kind]
    columns: dict[str, Any] = {"at": at, "node": node, "node_type": node_type, "attempt": attempt}
    values: dict[str, Any] = {name: columns[name] for name in known.columns}
    for name, how, optional in known.read:
        if name in data:
            values[name] = data[name] if how is None else how(data[name])
        elif not optional:
            raise SchemaConflict(f"a stored {kind} lacks the field {name!r}")
    return known.make(**values)

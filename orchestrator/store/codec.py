"""Events to JSON and back, with schema versions; and the check that every payload passes before it is queued.

A stored row is input like any other: a type that is not known, a missing field or a newer schema is refused by name.
"""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from orchestrator import events as e
from orchestrator.errors import InvalidPayload, SchemaConflict
from orchestrator.model import Failure

_TYPES: dict[str, type[e.Event]] = {kind.__name__: kind for kind in e.ALL}
_COLUMNS = ("at", "node", "node_type", "attempt")  # they have columns of their own; the rest is `data`
_FIELDS = {name: tuple(f.name for f in fields(kind) if f.name not in _COLUMNS) for name, kind in _TYPES.items()}
_COLUMN_FIELDS = {name: tuple(f.name for f in fields(kind) if f.name in _COLUMNS) for name, kind in _TYPES.items()}
_MOMENTS = frozenset({"started_at", "retry_at", "until"})


def dump_json(value: Any, what: str) -> str:
    """Canonical JSON text of a value that any store can keep; raises InvalidPayload, naming `what`.

    NUL and lone surrogates are JSON, but no text of PostgreSQL; NaN and infinities are no JSON at all.
    """
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
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
    return None if moment is None else moment.astimezone(UTC).isoformat()


def dump_failure(failure: Failure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    return {"kind": failure.kind, "message": failure.message, "retryable": failure.retryable, "node": failure.node}


def load_failure(data: dict[str, Any] | None) -> Failure | None:
    if data is None:
        return None
    return Failure(data["kind"], data["message"], bool(data.get("retryable")), data.get("node"))


def type_name(event: e.Event) -> str:
    return type(event).__name__


def dump_data(event: e.Event) -> dict[str, Any]:
    """The part of an event that has no column of its own, as JSON values."""
    data = {}
    for name in _FIELDS[type_name(event)]:
        value = getattr(event, name)
        if name in _MOMENTS:
            value = moment_text(value)
        elif isinstance(value, Failure):
            value = dump_failure(value)
        data[name] = value
    return data


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
    if kind not in _TYPES:
        raise SchemaConflict(f"an event of the unknown type {kind!r} is stored")
    columns: dict[str, Any] = {"at": at, "node": node, "node_type": node_type, "attempt": attempt}
    values: dict[str, Any] = {name: columns[name] for name in _COLUMN_FIELDS[kind]}
    for name in _FIELDS[kind]:
        if name not in data:
            raise SchemaConflict(f"a stored {kind} lacks the field {name!r}")
        value = data[name]
        if name in _MOMENTS and value is not None:
            value = datetime.fromisoformat(value)
        elif name == "failure":
            value = load_failure(value)
        values[name] = value
    return _TYPES[kind](**values)

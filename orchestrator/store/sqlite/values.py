"""Values as SQLite keeps them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from orchestrator.events import SCHEMA_VERSION
from orchestrator.store import codec

if TYPE_CHECKING:
    import sqlite3

    from orchestrator.events import Event

_EVENT = """
INSERT INTO workflow_events (execution_id, seq, type, schema_version, node_id, node_type, attempt, data, created_at,
                             append_seq, timed_append, timed_ms, delivery)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""


def moment(at: datetime | None) -> str | None:
    """As SQLAlchemy writes it, so that texts compare like moments."""
    if at is None:
        return None
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def from_text(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def event_values(
    execution_id: str, seq: int, event: Event, data: str, *, append_seq: int, delivery: str | None = None
) -> list[Any]:
    """An event as the values of `insert_events`."""
    return [
        execution_id,
        seq,
        codec.type_name(event),
        SCHEMA_VERSION,
        getattr(event, "node", None),
        getattr(event, "node_type", None),
        getattr(event, "attempt", None),
        data,
        moment(event.at),
        append_seq,
        None,  # timed_append
        None,  # timed_ms
        delivery,
    ]


def insert_events(c: sqlite3.Connection, values: list[list[Any]]) -> None:
    c.executemany(_EVENT, values)

"""What the store in memory holds: immutable rows in persistent maps, so that a commit is one assignment.

Values that people wrote are kept as JSON text and read anew each time: nobody shares them with the store.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rpds import HashTrieMap, HashTrieSet

from orchestrator.events import SCHEMA_VERSION, Recorded
from orchestrator.store import codec
from orchestrator.store.records import ExecutionRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from orchestrator.cohorts import Labels
    from orchestrator.events import Event
    from orchestrator.model import Assignment, Engine, Failure, Status
    from orchestrator.store.evidence import Baseline, DecisionRow, KeptBin


@dataclass(frozen=True, slots=True)
class Row:
    """An execution, with what `ExecutionRecord` does not show."""

    number: int  # the order of insertion: ties are broken by it
    id: str
    workflow_id: str
    revision: str
    name: str
    engine: Engine
    assignment: Assignment
    percent: str
    attempt: str
    routing_key: str | None
    idempotency_key: str | None
    status: Status
    total: int
    message: str
    input: str | None  # JSON
    created_at: datetime
    longest_timeout: float  # seconds, over its nodes
    suspend_requested: bool
    ages: tuple[float, ...]
    next_age_at: datetime | None
    parent: str | None
    origin: str | None
    seq: int = 0
    due_at: datetime | None = None
    current_node: str = ""
    done: int = 0
    limit_key: str | None = None
    limit: int | None = None
    queued: bool = False
    cancel_requested: bool = False
    retries: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    output: str = "null"  # JSON
    failure: Failure | None = None
    fence: int = 0
    last_append: str = ""
    owner: str | None = None
    step_deadline: datetime | None = None
    version: int = 1
    written_version: int = 0
    written_status: Status | None = None
    written_at: datetime | None = None
    next_age: int = 0

    @property
    def over(self) -> bool:
        return self.finished_at is not None

    @property
    def dirty(self) -> bool:
        """Whether a status writer owes it a write."""
        return bool(self.name) and self.version > self.written_version


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event as it is kept."""

    seq: int
    kind: str
    schema_version: int
    node: str | None
    node_type: str | None
    attempt: int | None
    data: str  # JSON
    at: datetime
    append_seq: int
    timed_append: int | None = None
    timed_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """How many may run at once under a key: as the newest revision of its workflow has it."""

    workflow_id: str
    slots: int | None  # None: the workflow has no limit any more


@dataclass(slots=True)
class Data:
    """Everything. A writer changes a shallow copy; the store takes it over when nothing went wrong."""

    rows: HashTrieMap[str, Row] = field(default_factory=HashTrieMap)
    open: HashTrieSet[str] = field(default_factory=HashTrieSet)  # those that are not over
    keys: HashTrieMap[tuple[str, str], str] = field(default_factory=HashTrieMap)  # workflow, idempotency key: id
    events: HashTrieMap[tuple[str, int], EventRow] = field(default_factory=HashTrieMap)
    revisions: HashTrieMap[tuple[str, str], str] = field(default_factory=HashTrieMap)  # definitions as JSON
    current: HashTrieMap[str, str] = field(default_factory=HashTrieMap)  # workflow: revision
    limits: HashTrieMap[str, Limit] = field(default_factory=HashTrieMap)  # by key
    logs: HashTrieMap[int, tuple[datetime, str]] = field(default_factory=HashTrieMap)
    cohorts: HashTrieMap[Labels, int] = field(default_factory=HashTrieMap)
    totals: HashTrieMap[tuple[str, int], tuple[datetime, str]] = field(default_factory=HashTrieMap)
    baselines: HashTrieMap[tuple[str, str], Baseline] = field(default_factory=HashTrieMap)  # attempt, workflow
    bins: HashTrieMap[tuple[str, str, int], KeptBin] = field(default_factory=HashTrieMap)  # attempt, criterion, number
    decisions: HashTrieMap[tuple[str, int], DecisionRow] = field(default_factory=HashTrieMap)  # by rollout, number
    number: int = 0  # of the last row or line made

    def same_as(self, other: Data) -> bool:
        """Whether nothing was changed since one was copied from the other: every map is the very same."""
        return all(getattr(self, name) is getattr(other, name) for name in self.__slots__)

    def count(self) -> int:
        self.number += 1
        return self.number

    def put(self, row: Row) -> None:
        self.rows = self.rows.insert(row.id, row)
        self.open = self.open.discard(row.id) if row.over else self.open.insert(row.id)

    def add(self, execution_id: str, rows: Iterable[EventRow]) -> None:
        for row in rows:
            self.events = self.events.insert((execution_id, row.seq), row)

    def unfinished(self) -> Iterator[Row]:
        return (self.rows[id_] for id_ in self.open)

    def history(self, row: Row, after: int = 0) -> list[EventRow]:
        if (row.id, 1) not in self.events:  # V1 has none
            return []
        return [self.events[row.id, seq] for seq in range(after + 1, row.seq + 1)]


def event_row(seq: int, event: Event, append_seq: int, data: str | None = None) -> EventRow:
    """An event at its place; raises InvalidPayload when no store can keep it."""
    return EventRow(
        seq=seq,
        kind=codec.type_name(event),
        schema_version=SCHEMA_VERSION,
        node=getattr(event, "node", None),
        node_type=getattr(event, "node_type", None),
        attempt=getattr(event, "attempt", None),
        data=codec.encode(event) if data is None else data,
        at=event.at,
        append_seq=append_seq,
    )


def recorded(row: EventRow) -> Recorded:
    event = codec.load_event(
        row.kind, row.schema_version, row.at, row.node, row.node_type, row.attempt, json.loads(row.data)
    )
    return Recorded(row.seq, event, row.schema_version, row.append_seq, row.timed_append, row.timed_ms)


_SHOWN = tuple(name for name in ExecutionRecord.__dataclass_fields__ if name not in ("input", "output"))


def record(row: Row) -> ExecutionRecord:
    shown: dict[str, Any] = {name: getattr(row, name) for name in _SHOWN}
    input_ = None if row.input is None else json.loads(row.input)
    return ExecutionRecord(**shown, input=input_, output=json.loads(row.output))

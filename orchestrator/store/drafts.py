"""Submissions and appends as what a database is told of them. Every payload is encoded once, here or before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from orchestrator import events as e
from orchestrator.decide import current_node
from orchestrator.errors import ExpressionError, InvalidPayload
from orchestrator.fold import fold
from orchestrator.limits import limit_key
from orchestrator.model import Engine, OnLimit, Status
from orchestrator.store import codec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from orchestrator.store.messages import Append, Submission

SKIPPED: Final = "the concurrency limit of its workflow was reached"


@dataclass(frozen=True, slots=True)
class Limit:
    """The concurrency limit that a submission is under."""

    key: str
    workflow_id: str
    slots: int
    policy: OnLimit


@dataclass(frozen=True, slots=True)
class Draft:
    """A submission as rows: `columns` of its execution (moments as datetimes, JSON columns as text), and its first
    events with their data. What a limit makes of it is found out where the slots are counted.
    """

    id: str
    columns: Mapping[str, Any]
    events: tuple[tuple[e.Event, str], ...]
    at: datetime
    limit: Limit | None
    parent: str | None
    log_line: str


def draft(s: Submission, now: datetime) -> Draft:
    """Raises InvalidPayload for a value that no store can keep, or a limit's key that the input does not give."""
    v2 = s.engine is Engine.V2
    counted = bool(s.attempt and s.ages)
    events = _first_events(s, now) if v2 else ()
    limit = _limit(s) if v2 else None
    node, done = _progress(s, events)
    columns = {
        "id": s.id,
        "workflow_id": s.workflow.id,
        "revision": s.workflow.revision,
        "name": s.name,
        "engine": s.engine.value,
        "assignment": s.assignment.value,
        "percent": s.percent,
        "attempt": s.attempt,
        "routing_key": s.routing_key,
        "idempotency_key": s.idempotency_key,
        "status": (Status.PENDING if s.suspended is None else Status.SUSPENDED).value,
        "current_node_id": node,
        "done": done,
        "total": len(s.workflow.nodes),
        "message": s.suspended or "",
        "input": None if v2 else codec.dump_json(s.input, "spec.input"),
        "created_at": now,
        "seq": len(events),
        "due_at": now if s.suspended is None else None,
        "longest_timeout": max(node.timeout.total_seconds() for node in s.workflow.nodes),
        "suspend_requested": s.suspended is not None,
        "ages": codec.dump_json(s.ages, "ages") if counted else None,
        "next_age_at": now + timedelta(seconds=s.ages[0]) if counted else None,
        "parent": s.parent,
        "origin": None if s.lineage is None else s.lineage.origin,
        "limit_key": None if limit is None else limit.key,
        "slots": None if limit is None else limit.slots,
    }
    return Draft(s.id, columns, events, now, limit, s.parent, s.log_line)


def _first_events(s: Submission, now: datetime) -> tuple[tuple[e.Event, str], ...]:
    submitted = e.ExecutionSubmitted(
        now, s.workflow.id, s.workflow.revision, s.input, s.lineage, s.parent, s.depth, s.trace
    )
    first: list[tuple[e.Event, str]] = [(submitted, codec.encode(submitted, "spec.input"))]
    first += [(carried, codec.encode(carried)) for carried in s.carried]
    first += [(signal, codec.encode(signal)) for signal in s.signals]
    if s.suspended is not None:
        suspended = e.ExecutionSuspended(now, s.suspended)
        first.append((suspended, codec.encode(suspended)))
    return tuple(first)


def _progress(s: Submission, events: Sequence[tuple[e.Event, str]]) -> tuple[str, int]:
    """Where it stands and how many nodes are over: a fork is not at its beginning."""
    if not s.carried:
        return "", 0
    state = fold(s.id, [e.Recorded(seq, event) for seq, (event, _) in enumerate(events, 1)])
    return current_node(s.workflow, state), state.done


def _limit(s: Submission) -> Limit | None:
    concurrency = s.workflow.concurrency
    try:
        key = limit_key(s.workflow, s.input)
    except ExpressionError as error:
        raise InvalidPayload(str(error)) from error
    if concurrency is None or key is None:
        return None
    return Limit(key, s.workflow.id, concurrency.limit, concurrency.policy)


def skipped(draft: Draft) -> tuple[e.Event, str]:
    """The event that ends a submission which a limit has no slot for."""
    event = e.ExecutionCancelled(draft.at, SKIPPED)
    return event, codec.encode(event)


def told_of_skip(draft: Draft) -> e.ChildEnded:
    """What the parent of a skipped submission is told."""
    return e.ChildEnded(draft.at, draft.id, Status.CANCELLED, None, None)


def children(appends: Iterable[Append]) -> list[tuple[Append, Draft]]:
    """The executions that appends make, each with the one that makes it."""
    return [(append, draft(s, append.events[-1].at)) for append in appends for s in append.submissions]


def output_text(append: Append) -> str | None:
    """The JSON text of the output that an append's projection shows, as its event has it; None while there is none."""
    output = append.projection.output
    if output is None:
        return None
    for event, data in zip(append.events, append.data, strict=True):
        if isinstance(event, e.ExecutionSucceeded) and event.output is output:
            return data.removeprefix('{"output":').removesuffix("}")
    return codec.dump_json(output, "output")


def error_text(append: Append) -> str | None:
    failure = append.projection.failure
    return None if failure is None else codec.dump_json(codec.dump_failure(failure), "error")

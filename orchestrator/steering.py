"""What people and programs ask of executions in a store: forks, repetitions, signals. Gather, ask the pure part, write.

The command line and the operator share it. Every request can be made twice without harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator import events as e
from orchestrator import forks
from orchestrator.errors import InvalidExecution, Problem, UnknownExecution
from orchestrator.fold import fold
from orchestrator.model import Assignment, Engine
from orchestrator.signals import check_signal
from orchestrator.store.messages import Delivered, Delivery, Submission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from orchestrator.forks import Fork
    from orchestrator.model import Execution, Workflow
    from orchestrator.store.port import Store
    from orchestrator.store.records import ExecutionRecord

_PAGE: Final = 1000  # executions read at once


@dataclass(frozen=True, slots=True)
class Known:
    """An execution of V2 with everything that the store has of it, of one moment."""

    record: ExecutionRecord
    workflow: Workflow  # the revision that it runs
    history: Sequence[e.Recorded]
    execution: Execution


async def look_up(store: Store, execution_id: str) -> Known:
    """An execution of V2; raises UnknownExecution, and InvalidExecution for one of V1, which keeps no events."""
    record = await store.get(execution_id)
    if record is None:
        raise UnknownExecution(f"no execution {execution_id!r} in this database: see `orchestrator executions list`")
    if record.engine is Engine.V1:
        message = f"{execution_id} runs on V1, which keeps no events: this is for executions of V2"
        raise InvalidExecution([Problem("", message)])
    return await with_history(store, record)


async def with_history(store: Store, record: ExecutionRecord) -> Known:
    """What belongs to the row of an execution of V2."""
    workflow = await store.workflow(record.workflow_id, record.revision)
    while True:
        history = await store.events(record.id)
        now = await store.get(record.id)
        if now is None:
            raise UnknownExecution(f"execution {record.id} was deleted meanwhile")
        if len(history) == now.seq:  # nothing happened between the two
            return Known(now, workflow, history, fold(record.id, history))


async def every_active(store: Store) -> AsyncIterator[ExecutionRecord]:
    """The executions that are not over, oldest first, however many there are."""
    place: tuple[datetime, str] | None = None
    while page := await store.active(place, _PAGE):
        for record in page:
            yield record
        place = (page[-1].created_at, page[-1].id)


def submission(fork: Fork, *, idempotency_key: str | None = None, name: str = "", **fields: Any) -> Submission:
    """A fork as what a store accepts; no rollout judges it, since no coin was tossed for it."""
    return Submission(
        id=fork.id,
        workflow=fork.workflow,
        engine=Engine.V2,
        assignment=Assignment.EXPLICIT,
        input=fork.input,
        idempotency_key=idempotency_key,
        name=name,
        lineage=fork.lineage,
        carried=fork.carried,
        signals=fork.signals,
        **fields,
    )


async def submit_fork(store: Store, fork: Fork, now: datetime, *, idempotency_key: str | None = None) -> bool:
    """Submit a fork; False if it was submitted before.

    Raises InvalidExecution if another execution has its id or key.
    """
    (submitted,) = await store.submit([submission(fork, idempotency_key=idempotency_key)], now)
    if not submitted.created:
        there = await store.get(submitted.id)
        if there is None or submitted.id != fork.id or there.origin != fork.lineage.origin:
            field, value = ("--id", fork.id) if submitted.id == fork.id else ("--idempotency-key", idempotency_key)
            message = f"{value!r} belongs to execution {submitted.id}, which is no fork of {fork.lineage.origin}"
            raise InvalidExecution([Problem(field, message)])
    return submitted.created


async def retry(store: Store, known: Known, now: datetime, *, fork_id: str | None = None) -> tuple[Fork, bool]:
    """Repeat an execution from where it failed; whether this call made the repetition. Raises InvalidExecution."""
    new_id = fork_id or forks.repetition_id(known.record.id)
    made = forks.repeat(known.workflow, known.execution, new_id, now)
    return made, await submit_fork(store, made, now)


async def send_signal(store: Store, known: Known, name: str, payload: Any, signal_id: str, now: datetime) -> Delivered:
    """Record a signal, checked; raises InvalidExecution with every problem. `signal_id` tells a repetition."""
    if known.record.status.terminal:
        return Delivered.OVER
    if any(isinstance(r.event, e.SignalReceived) and r.event.id == signal_id for r in known.history):
        return Delivered.DUPLICATE
    if problems := check_signal(known.workflow, name, payload, known.execution):
        raise InvalidExecution(problems)
    event = e.SignalReceived(now, name, payload, signal_id)
    (delivered,) = await store.deliver([Delivery(known.record.id, event)])
    return delivered

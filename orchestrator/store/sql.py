"""What both databases share: every method of the store but the one statement that commits appends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from orchestrator import events as e
from orchestrator.authoring import load_definition
from orchestrator.errors import StoreUnavailable, UnknownExecution
from orchestrator.model import Engine, Projection, Status
from orchestrator.store import codec, evidence, rows
from orchestrator.store import tables as t
from orchestrator.store.port import (
    Append,
    Claim,
    CohortCount,
    Control,
    ExecutionRecord,
    Gauges,
    Outcome,
    Submission,
    Submitted,
    Totals,
    V1Update,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from orchestrator.model import Workflow

_x = t.executions
_CONTROLS = {
    Control.CANCEL: (e.CancelRequested, {"cancel_requested": True}),
    Control.SUSPEND: (e.SuspendRequested, {"suspend_requested": True}),
    Control.RESUME: (e.ResumeRequested, {"suspend_requested": False}),
}
_EDGE_FUNCTION = "execute-workflow"  # existing queries look for the log lines under this name


class SqlStore(ABC):
    """The store on SQLAlchemy. `_insert` is the dialect's insert, which knows ON CONFLICT."""

    _insert: Any

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._kept: set[tuple[str, str]] = set()  # revisions known to be stored: most submissions bring no new one
        self._workflows: dict[tuple[str, str], Workflow] = {}
        self._edge_function: int | None = None

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        with translated():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        with translated():
            async with self._engine.connect() as connection:
                connection = await connection.execution_options(writes=True)  # noqa: PLW2901 — the same one, configured
                async with connection.begin():
                    yield connection

    async def close(self) -> None:
        await self._engine.dispose()

    async def epoch(self) -> datetime:
        async with self._reading() as c:
            value = await c.scalar(sa.select(t.facts.c.value).where(t.facts.c.key == "epoch"))
        return datetime.fromisoformat(str(value))

    # -- submitting and steering

    async def put_workflow(self, workflow: Workflow) -> None:
        key = (workflow.id, workflow.revision)
        self._workflows[key] = workflow
        if key in self._kept:
            return
        async with self._writing() as c:
            await c.execute(self._keep(workflow))
        self._kept.add(key)

    def _keep(self, workflow: Workflow) -> Any:
        return (
            self._insert(t.revisions)
            .values(
                workflow_id=workflow.id,
                revision=workflow.revision,
                definition=workflow.definition,
                created_at=datetime.now(UTC),
            )
            .on_conflict_do_nothing()
        )

    async def workflow(self, workflow_id: str, revision: str) -> Workflow:
        key = (workflow_id, revision)
        if key not in self._workflows:
            query = sa.select(t.revisions.c.definition).where(
                t.revisions.c.workflow_id == workflow_id, t.revisions.c.revision == revision
            )
            async with self._reading() as c:
                definition = await c.scalar(query)
            if definition is None:
                raise UnknownExecution(f"revision {revision} of workflow {workflow_id} is not in this store")
            self._workflows[key] = load_definition(definition, workflow_id)
        return self._workflows[key]

    async def submit(self, batch: Sequence[Submission], now: datetime) -> list[Submitted]:
        for workflow in {(s.workflow.id, s.workflow.revision): s.workflow for s in batch}.values():
            await self.put_workflow(workflow)
        values = [_new_row(submission, now) for submission in batch]
        async with self._writing() as c:
            insert = self._insert(_x).values(values).on_conflict_do_nothing().returning(_x.c.id)
            created = set((await c.execute(insert)).scalars())
            # Two submissions of one id in a batch: only the first of them made the row.
            fresh = list({s.id: s for s in reversed(batch) if s.id in created}.values())
            histories = [row for s in fresh if s.engine is Engine.V2 for row in _first_events(s, now)]
            if histories:
                await c.execute(sa.insert(t.events), histories)
            lines = [s.log_line for s in fresh if s.log_line]
            if lines:
                await self._log(c, lines, now)
            standing = await self._standing(c, [s for s in batch if s.id not in created])
        answers, seen = [], set()
        for s in batch:
            if s.id in created:
                answers.append(Submitted(s.id, s.engine, created=s.id not in seen))
                seen.add(s.id)
            else:
                answers.append(standing[s.id])
        return answers

    async def _standing(self, c: AsyncConnection, others: Sequence[Submission]) -> dict[str, Submitted]:
        """The executions that were there before, for submissions that made none."""
        answers = {}
        for s in others:
            by_key = sa.and_(_x.c.workflow_id == s.workflow.id, _x.c.idempotency_key == s.idempotency_key)
            query = sa.select(_x.c.id, _x.c.engine).where(sa.or_(_x.c.id == s.id, by_key))
            found = {row.id: row for row in await c.execute(query)}
            row = found.get(s.id) or next(iter(found.values()))
            answers[s.id] = Submitted(row.id, Engine(row.engine), created=False)
        return answers

    async def control(self, execution_id: str, control: Control, now: datetime) -> bool:
        kind, change = _CONTROLS[control]
        column, value = next(iter(change.items()))
        wake = sa.case((_x.c.owner.is_(None), sa.literal(now, t.Moment())), else_=_x.c.due_at)
        open_v2 = sa.and_(_x.c.id == execution_id, _x.c.finished_at.is_(None), _x.c[column].is_not(value))
        async with self._writing() as c:
            update = (
                sa.update(_x)
                .where(open_v2, _x.c.engine == Engine.V2)
                .values(**change, seq=_x.c.seq + 1, due_at=wake, version=_x.c.version + 1)
                .returning(_x.c.seq)
            )
            seq = await c.scalar(update)
            if seq is not None:
                row = event_row(execution_id, seq, kind(now), append_seq=seq)
                await c.execute(sa.insert(t.events), [row])
                return True
            return await self._control_v1(c, execution_id, control, now)

    async def _control_v1(self, c: AsyncConnection, execution_id: str, control: Control, now: datetime) -> bool:
        """V1 knows cancel alone (at once while it is pending, at the next node while it runs), and to let a restored
        execution go."""
        if control is Control.RESUME:
            held = sa.and_(_x.c.id == execution_id, _x.c.engine == Engine.V1, _x.c.status == Status.SUSPENDED)
            freed = {"status": Status.PENDING.value, "suspend_requested": False, "version": _x.c.version + 1}
            return bool((await c.execute(sa.update(_x).where(held).values(**freed))).rowcount)
        if control is not Control.CANCEL:
            return False
        pending = _x.c.status.in_([Status.PENDING, Status.SUSPENDED])
        update = (
            sa.update(_x)
            .where(
                _x.c.id == execution_id,
                _x.c.engine == Engine.V1,
                _x.c.finished_at.is_(None),
                _x.c.cancel_requested.is_not(True),
            )
            .values(
                cancel_requested=True,
                status=sa.case((pending, Status.CANCELLED.value), else_=_x.c.status),
                finished_at=sa.case((pending, sa.literal(now, t.Moment())), else_=None),
                version=_x.c.version + 1,
            )
        )
        return bool((await c.execute(update)).rowcount)

    # -- claims

    async def claim(self, owner: str, engine: Engine, limit: int, lease: timedelta, now: datetime) -> list[Claim]:
        due = _x.c.due_at <= now if engine is Engine.V2 else _x.c.status == Status.PENDING
        oldest = _x.c.due_at if engine is Engine.V2 else _x.c.created_at
        chosen = (
            sa.select(_x.c.id, _x.c.status, _x.c.longest_timeout)
            .where(_x.c.engine == engine, _x.c.finished_at.is_(None), due)
            .order_by(oldest)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        async with self._writing() as c:
            picked = (await c.execute(chosen)).all()
            if not picked:
                return []
            pending = _x.c.status == Status.PENDING
            v2 = engine is Engine.V2
            update = (
                sa.update(_x)
                .where(_x.c.id.in_([row.id for row in picked]))
                .values(
                    owner=owner,
                    fence=_x.c.fence + 1,
                    due_at=now + lease if v2 else None,
                    step_deadline=evidence.deadlines([row.longest_timeout for row in picked], now),
                    status=sa.case((pending, Status.RUNNING.value), else_=_x.c.status),
                    started_at=sa.case((pending, sa.literal(now, t.Moment())), else_=_x.c.started_at),
                    seq=sa.case((pending, _x.c.seq + 1), else_=_x.c.seq) if v2 else _x.c.seq,
                    version=sa.case((pending, _x.c.version + 1), else_=_x.c.version),
                )
                .returning(_x)
            )
            claimed = (await c.execute(update)).all()
            begun = {row.id for row in picked if row.status == Status.PENDING}
            if v2 and begun:
                started = e.ExecutionStarted(now)
                first = [event_row(r.id, r.seq, started, append_seq=r.seq) for r in claimed if r.id in begun]
                await c.execute(sa.insert(t.events), first)
        return [rows.claim(row, begun=row.id in begun) for row in claimed]

    async def renew(self, held: Mapping[str, int], lease: timedelta, now: datetime) -> dict[str, int]:
        async with self._writing() as c:
            update = sa.update(_x).where(_held(held)).values(due_at=now + lease).returning(_x.c.id, _x.c.seq)
            return {row.id: row.seq for row in await c.execute(update)}

    async def release(self, held: Mapping[str, tuple[int, datetime | None]]) -> None:
        if not held:
            return
        update = (
            sa.update(_x)
            .where(_x.c.id == sa.bindparam("b_id"), _x.c.fence == sa.bindparam("b_fence"))
            .values(owner=None, due_at=sa.bindparam("b_due", type_=t.Moment()))
        )
        values = [{"b_id": i, "b_fence": fence, "b_due": due} for i, (fence, due) in held.items()]
        async with self._writing() as c:
            await c.execute(update, values)

    @abstractmethod
    async def append(self, batch: Sequence[Append]) -> list[Outcome]: ...

    async def events(self, execution_id: str, after: int = 0) -> list[e.Recorded]:
        query = (
            sa.select(t.events)
            .where(t.events.c.execution_id == execution_id, t.events.c.seq > after)
            .order_by(t.events.c.seq)
        )
        async with self._reading() as c:
            return [rows.recorded(row) for row in await c.execute(query)]

    # -- V1

    async def v1_update(self, batch: Sequence[V1Update]) -> list[bool]:
        ids = [update.execution_id for update in batch]
        async with self._writing() as c:
            for update in batch:
                values = projection_columns(update.projection)
                change = sa.update(_x).where(_x.c.id == update.execution_id, _x.c.engine == Engine.V1)
                await c.execute(change.values(**values, step_deadline=update.step_deadline, version=_x.c.version + 1))
            query = sa.select(_x.c.id).where(_x.c.id.in_(ids), _x.c.cancel_requested)
            asked = set((await c.execute(query)).scalars())
        return [execution_id in asked for execution_id in ids]

    # -- reading

    async def get(self, execution_id: str) -> ExecutionRecord | None:
        found = await self._records(sa.select(_x).where(_x.c.id == execution_id))
        return found[0] if found else None

    async def find(self, workflow_id: str, idempotency_key: str) -> ExecutionRecord | None:
        query = sa.select(_x).where(_x.c.workflow_id == workflow_id, _x.c.idempotency_key == idempotency_key)
        found = await self._records(query)
        return found[0] if found else None

    async def executions(
        self, *, workflow_id: str | None = None, status: Status | None = None, limit: int = 100
    ) -> list[ExecutionRecord]:
        query = sa.select(_x).order_by(_x.c.created_at.desc(), _x.c.id).limit(limit)
        if workflow_id is not None:
            query = query.where(_x.c.workflow_id == workflow_id)
        if status is not None:
            query = query.where(_x.c.status == status)
        return await self._records(query)

    async def known(self, ids: Collection[str]) -> set[str]:
        async with self._reading() as c:
            return set((await c.execute(sa.select(_x.c.id).where(_x.c.id.in_(list(ids))))).scalars())

    async def active(self) -> list[ExecutionRecord]:
        return await self._records(sa.select(_x).where(_x.c.finished_at.is_(None)).order_by(_x.c.created_at))

    async def _records(self, query: Any) -> list[ExecutionRecord]:
        async with self._reading() as c:
            return [rows.record(row) for row in await c.execute(query)]

    async def next_due(self) -> datetime | None:
        query = sa.select(sa.func.min(_x.c.due_at)).where(
            _x.c.engine == Engine.V2, _x.c.due_at.is_not(None), _x.c.finished_at.is_(None)
        )
        async with self._reading() as c:
            due: datetime | None = await c.scalar(query)
            return due

    # -- status writing

    async def dirty(self, now: datetime, limit: int, every: timedelta) -> list[ExecutionRecord]:
        urgent = sa.or_(_x.c.written_status.is_(None), _x.c.written_status != _x.c.status)
        query = (
            sa.select(_x)
            .where(
                _x.c.version > _x.c.written_version,
                _x.c.name != "",
                sa.or_(urgent, _x.c.written_at <= now - every),
            )
            .order_by(_x.c.written_at.is_not(None), _x.c.written_at)
            .limit(limit)
        )
        return await self._records(query)

    async def written(self, versions: Mapping[str, tuple[int, Status]], now: datetime) -> None:
        if not versions:
            return
        update = (
            sa.update(_x)
            .where(_x.c.id == sa.bindparam("b_id"))
            .values(written_version=sa.bindparam("b_version"), written_status=sa.bindparam("b_status"), written_at=now)
        )
        values = [{"b_id": i, "b_version": v, "b_status": s.value} for i, (v, s) in versions.items()]
        async with self._writing() as c:
            await c.execute(update, values)

    # -- logs

    async def log_edge(self, messages: Sequence[str], now: datetime) -> None:
        async with self._writing() as c:
            await self._log(c, messages, now)

    async def _log(self, c: AsyncConnection, messages: Sequence[str], now: datetime) -> None:
        if self._edge_function is None:
            await c.execute(self._insert(t.edge_functions).values(name=_EDGE_FUNCTION).on_conflict_do_nothing())
            query = sa.select(t.edge_functions.c.id).where(t.edge_functions.c.name == _EDGE_FUNCTION)
            function = await c.scalar(query)
        else:
            function = self._edge_function
        values = [{"function_id": function, "event_message": message, "timestamp": now} for message in messages]
        await c.execute(sa.insert(t.edge_logs), values)

    async def edge_logs(self, since: datetime, contains: str = "", limit: int = 1000) -> list[tuple[datetime, str]]:
        query = (
            sa.select(t.edge_logs.c.timestamp, t.edge_logs.c.event_message)
            .where(t.edge_logs.c.timestamp >= since, t.edge_logs.c.event_message.contains(contains, autoescape=True))
            .order_by(t.edge_logs.c.timestamp.desc(), t.edge_logs.c.id.desc())
            .limit(limit)
        )
        async with self._reading() as c:
            return [(row.timestamp, row.event_message) for row in await c.execute(query)]

    # -- evidence

    async def count_cohorts(self, now: datetime, limit: int = 1000) -> int:
        async with self._writing() as c:
            return await evidence.count(c, self._insert, self.workflow, now, limit)

    async def cohort_counts(self, attempt: str | None = None) -> list[CohortCount]:
        query = sa.select(t.cohorts)
        if attempt is not None:
            query = query.where(t.cohorts.c.attempt == attempt)
        async with self._reading() as c:
            return [rows.cohort_count(row) for row in await c.execute(query)]

    async def save_totals(self, attempt: str, totals: Totals) -> None:
        values = {"attempt": attempt, "restart": totals.index, "at": totals.at, "totals": totals.totals}
        async with self._writing() as c:
            await c.execute(self._insert(t.totals).values(**values).on_conflict_do_nothing())

    async def totals(self, attempt: str) -> list[Totals]:
        query = sa.select(t.totals).where(t.totals.c.attempt == attempt).order_by(t.totals.c.restart)
        async with self._reading() as c:
            return [rows.totals(row) for row in await c.execute(query)]

    async def in_flight(self, engine: Engine) -> int:
        query = (
            sa.select(sa.func.count())
            .select_from(_x)
            .where(_x.c.engine == engine, _x.c.finished_at.is_(None), _x.c.status != Status.SUSPENDED)
        )
        async with self._reading() as c:
            return int(await c.scalar(query) or 0)

    async def gauges(self, now: datetime, poll: timedelta) -> Gauges:
        async with self._reading() as c:
            return await evidence.gauges(c, now, poll)


def _held(held: Mapping[str, int]) -> Any:
    """Rows that are still ours: the fencing token is compared under the row's lock."""
    return sa.or_(sa.false(), *(sa.and_(_x.c.id == i, _x.c.fence == fence) for i, fence in held.items()))


@contextmanager
def translated() -> Iterator[None]:
    """The driver's errors as ours: what a later try may mend is StoreUnavailable."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout, OSError) as error:
        raise StoreUnavailable(f"the database did not answer: {getattr(error, 'orig', None) or error}") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise StoreUnavailable(f"the connection was lost: {error.orig}") from error
        raise


def projection_columns(projection: Projection) -> dict[str, Any]:
    """A projection as the columns of `workflow_executions`."""
    return {
        "status": projection.status.value,
        "current_node_id": projection.current_node,
        "done": projection.done,
        "total": projection.total,
        "retries": projection.retries,
        "started_at": projection.started_at,
        "finished_at": projection.finished_at,
        "output": projection.output,
        "error": codec.dump_failure(projection.failure),
    }


def event_row(
    execution_id: str,
    seq: int,
    event: e.Event,
    *,
    append_seq: int,
    timed_append: int | None = None,
    timed_ms: float | None = None,
) -> dict[str, Any]:
    """An event as a row of `workflow_events`."""
    return {
        "execution_id": execution_id,
        "seq": seq,
        "type": codec.type_name(event),
        "schema_version": e.SCHEMA_VERSION,
        "node_id": getattr(event, "node", None),
        "node_type": getattr(event, "node_type", None),
        "attempt": getattr(event, "attempt", None),
        "data": codec.dump_data(event),
        "created_at": event.at,
        "append_seq": append_seq,
        "timed_append": timed_append,
        "timed_ms": timed_ms,
    }


def event_rows(append: Append) -> list[dict[str, Any]]:
    """An append's events as rows; the first also tells what the append before it took."""
    rows = [
        event_row(append.execution_id, seq, event, append_seq=append.first_seq)
        for seq, event in enumerate(append.events, append.first_seq)
    ]
    rows[0]["timed_append"], rows[0]["timed_ms"] = append.timed_append, append.timed_ms
    return rows


def _new_row(s: Submission, now: datetime) -> dict[str, Any]:
    codec.dump_json(s.input, "spec.input")
    status = Status.SUSPENDED if s.suspended is not None else Status.PENDING
    v2 = s.engine is Engine.V2
    counted = bool(s.attempt and s.ages)
    return {
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
        "status": status.value,
        "current_node_id": "",
        "done": 0,
        "total": len(s.workflow.nodes),
        "retries": 0,
        "message": s.suspended or "",
        "input": None if v2 else s.input,
        "output": None,
        "error": None,
        "created_at": now,
        "fence": 0,
        "seq": len(_first_events(s, now)) if v2 else 0,
        "last_append": "",
        "due_at": now if v2 and s.suspended is None else None,
        "longest_timeout": max(node.timeout.total_seconds() for node in s.workflow.nodes),
        "cancel_requested": False,
        "suspend_requested": s.suspended is not None,
        "version": 1,
        "written_version": 0,
        "ages": list(s.ages) if counted else None,
        "next_age": 0,
        "next_age_at": now + timedelta(seconds=s.ages[0]) if counted else None,
    }


def _first_events(s: Submission, now: datetime) -> list[dict[str, Any]]:
    first: list[e.Event] = [e.ExecutionSubmitted(now, s.workflow.id, s.workflow.revision, s.input)]
    if s.suspended is not None:
        first.append(e.ExecutionSuspended(now, s.suspended))
    return [event_row(s.id, seq, event, append_seq=1) for seq, event in enumerate(first, 1)]

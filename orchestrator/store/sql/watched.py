"""V1 executions that run elsewhere: a worker starts them over there and watches how they end.

A watch is a lease, as V2's claims are: when its worker dies, another one goes on watching. The fencing token guards
who posts an execution, so that two never do. It does not guard the end: an outcome is what the other engine says,
whoever heard it, and the first one written is final.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import sqlalchemy as sa

from orchestrator.faults import Boundary
from orchestrator.model import Engine, Status
from orchestrator.store import codec, rows
from orchestrator.store import tables as t
from orchestrator.store.port import Store
from orchestrator.store.sql.connections import Connections
from orchestrator.store.sql.locks import lock
from orchestrator.store.sql.steering import READ

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from orchestrator.model import Failure
    from orchestrator.store.messages import Claim

_x = t.executions


@dataclass(frozen=True, slots=True)
class Watch:
    """An execution that this worker starts, or goes on watching."""

    claim: Claim
    started_at: datetime
    deadline: datetime  # without an outcome by then it has failed
    posted: bool  # a worker was about to post it, or has: never post it again
    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class Note:
    """Where an execution stands over there."""

    execution_id: str
    fence: int
    node: str


@dataclass(frozen=True, slots=True)
class Noted:
    """What became of a note."""

    held: bool  # False: another worker watches it now, or it is over; nothing was written
    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class End:
    """How an execution ended."""

    execution_id: str
    status: Status
    at: datetime
    output: Any
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of an end: `ours` if it is the one that counts. `status` is None for one that is not there."""

    ours: bool
    status: Status | None
    started_at: datetime | None


class WatchStore(Store, Protocol):
    """A store that keeps watches, too. Every method commits before it returns, and may be called again with the same
    arguments when nobody knows whether it did.
    """

    async def watch(self, owner: str, limit: int, lease: timedelta, timeout: timedelta, now: datetime) -> list[Watch]:
        """Take pending V1 executions, and running ones whose watch ended; oldest first. New ones have until
        `now + timeout` to end, the others keep their deadline.
        """

    async def watch_on(self, held: Mapping[str, int], lease: timedelta, now: datetime) -> dict[str, bool]:
        """Extend watches {id: fence}; returns {id: was a cancel asked for} of those that are still ours and open."""

    async def watch_note(self, batch: Sequence[Note]) -> list[Noted]:
        """Write where executions stand, each if its watch is still ours."""

    async def watch_end(self, batch: Sequence[End]) -> list[Ended]:
        """End running V1 executions; one that is over stays as it is. Raises InvalidPayload."""

    async def watch_off(self, held: Mapping[str, int], now: datetime) -> None:
        """Let go of watches {id: fence} that are still ours: the next worker takes them at once."""


class Watched(Connections):
    """Watches on `workflow_executions`. Only watched V1 rows have a `due_at`; those of the built-in V1 never do."""

    async def watch(self, owner: str, limit: int, lease: timedelta, timeout: timedelta, now: datetime) -> list[Watch]:
        pending = _x.c.status == Status.PENDING
        left = sa.and_(_x.c.status == Status.RUNNING, _x.c.due_at <= now)
        chosen = (
            sa.select(_x.c.id, _x.c.status)
            .where(_x.c.engine == Engine.V1, _x.c.finished_at.is_(None), sa.or_(pending, left))
            .order_by(_x.c.created_at)
            .limit(limit)
        )
        async with self._reading() as c:  # an idle poll must not take SQLite's one write lock
            if (await c.execute(chosen.limit(1))).first() is None:
                return []

        def take(c: sa.Connection) -> list[Watch]:
            picked = c.execute(chosen.with_for_update(skip_locked=True)).all()
            begun = {row.id for row in picked if row.status == Status.PENDING}
            update = (
                sa.update(_x)
                .where(_x.c.id.in_([row.id for row in picked]))
                .values(
                    owner=owner,
                    fence=_x.c.fence + 1,
                    due_at=now + lease,
                    status=Status.RUNNING.value,
                    started_at=sa.case((pending, sa.literal(now, t.Moment())), else_=_x.c.started_at),
                    step_deadline=sa.case((pending, sa.literal(now + timeout, t.Moment())), else_=_x.c.step_deadline),
                    version=sa.case((pending, READ["version"]), else_=_x.c.version),
                    dirty=sa.case((pending, READ["dirty"]), else_=_x.c.dirty),
                )
                .returning(_x)
            )
            claimed = c.execute(update).all() if picked else []
            return [_watch(row, begun=row.id in begun) for row in sorted(claimed, key=lambda row: row.created_at)]

        return await self._writing(Boundary.WATCH, take)

    async def watch_on(self, held: Mapping[str, int], lease: timedelta, now: datetime) -> dict[str, bool]:
        update = (
            sa.update(_x)
            .where(_ours(held), _x.c.owner.is_not(None))
            .values(due_at=now + lease)
            .returning(_x.c.id, _x.c.cancel_requested)
        )

        def extend(c: sa.Connection) -> dict[str, bool]:
            lock(c, held)
            return {row.id: row.cancel_requested for row in c.execute(update)}

        return await self._writing(Boundary.WATCH_ON, extend)

    async def watch_note(self, batch: Sequence[Note]) -> list[Noted]:
        ids = [note.execution_id for note in batch]
        update = (
            sa.update(_x)
            .where(_x.c.id == sa.bindparam("b_id"), _x.c.fence == sa.bindparam("b_fence"), _x.c.finished_at.is_(None))
            .values(current_node_id=sa.bindparam("b_node"), **READ)
        )
        values = [{"b_id": note.execution_id, "b_fence": note.fence, "b_node": note.node} for note in batch]
        query = sa.select(_x.c.id, _x.c.fence, _x.c.finished_at, _x.c.cancel_requested).where(_x.c.id.in_(ids))

        def write(c: sa.Connection) -> dict[str, Any]:
            lock(c, ids)
            c.execute(update, values)
            return {row.id: row for row in c.execute(query)}

        found = await self._writing(Boundary.WATCH_NOTE, write)
        return [_noted(note, found.get(note.execution_id)) for note in batch]

    async def watch_end(self, batch: Sequence[End]) -> list[Ended]:
        ids = [end.execution_id for end in batch]
        update = (
            sa.update(_x)
            .where(
                _x.c.id == sa.bindparam("b_id"),
                _x.c.engine == Engine.V1,
                _x.c.status == Status.RUNNING,
                _x.c.finished_at.is_(None),
            )
            .values(
                status=sa.bindparam("b_status"),
                done=sa.case((sa.bindparam("b_success", type_=sa.Boolean), _x.c.total), else_=_x.c.done),
                finished_at=sa.bindparam("b_at", type_=t.Moment()),
                output=sa.bindparam("b_output", type_=t.JSON),
                error=sa.bindparam("b_error", type_=t.JSON),
                due_at=None,
                step_deadline=None,
                **READ,
            )
        )
        values = [_end_values(end) for end in batch]
        query = sa.select(_x.c.id, _x.c.status, _x.c.started_at, _x.c.finished_at).where(_x.c.id.in_(ids))

        def write(c: sa.Connection) -> dict[str, Any]:
            lock(c, ids)
            c.execute(update, values)
            return {row.id: row for row in c.execute(query)}

        found = await self._writing(Boundary.WATCH_END, write)
        return [_ended(end, found.get(end.execution_id)) for end in batch]

    async def watch_off(self, held: Mapping[str, int], now: datetime) -> None:
        if not held:
            return

        def let_go(c: sa.Connection) -> None:
            lock(c, held)
            c.execute(sa.update(_x).where(_ours(held)).values(owner=None, due_at=now))

        await self._writing(Boundary.WATCH_OFF, let_go)


def _ours(held: Mapping[str, int]) -> Any:
    """Open rows that are still ours: the fencing token is compared under the row's lock."""
    return sa.and_(sa.tuple_(_x.c.id, _x.c.fence).in_(list(held.items())), _x.c.finished_at.is_(None))


def _watch(row: Any, *, begun: bool) -> Watch:
    return Watch(
        claim=rows.claim(
            Engine.V1,
            (row.id, row.workflow_id, row.revision, row.fence, row.seq, row.status, begun),
            row.created_at,
            row.input,
        ),
        started_at=row.started_at,
        deadline=row.step_deadline,
        posted=row.current_node_id != "",  # the first note is written right before the post
        cancel_requested=row.cancel_requested,
    )


def _noted(note: Note, row: Any) -> Noted:
    held = row is not None and row.fence == note.fence and row.finished_at is None
    return Noted(held, held and row.cancel_requested)


def _end_values(end: End) -> dict[str, Any]:
    codec.dump_json(end.output, "the output")  # here, and not in the middle of somebody else's transaction
    return {
        "b_id": end.execution_id,
        "b_status": end.status.value,
        "b_success": end.status is Status.SUCCESS,
        "b_at": end.at,
        "b_output": end.output,
        "b_error": codec.dump_failure(end.failure),
    }


def _ended(end: End, row: Any) -> Ended:
    """A repeated end, after an answer that was lost, is recognised by its moment."""
    if row is None:
        return Ended(ours=False, status=None, started_at=None)
    ours = row.finished_at == end.at and row.status == end.status
    return Ended(ours, Status(row.status), row.started_at)

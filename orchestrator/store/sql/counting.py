"""Cohort counters: executions are read at fixed ages, each once for each age."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from orchestrator import cohorts
from orchestrator.model import Assignment, Engine, Status
from orchestrator.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from orchestrator.model import Workflow

_x = t.executions
_GRACE = timedelta(seconds=2)  # two polls of a worker
_KEY = ("attempt", "engine", "criterion", "outcome", "assignment", "percent", "age")


def count(
    c: sa.Connection,
    insert: Callable[[sa.Table], Any],
    workflow: Callable[[sa.Connection, str, str], Workflow],
    now: datetime,
    limit: int,
) -> int:
    """Read the executions that reached an age: raise their counters and mark them as counted, in one commit."""
    chosen = (
        sa.select(_x)
        .where(_x.c.next_age_at <= now)
        .order_by(_x.c.next_age_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    picked = c.execute(chosen).all()
    if not picked:
        return 0
    histories = _histories(c, [row.id for row in picked if row.engine == Engine.V2])
    baselines = _baselines(c, picked)
    counts: Counter[cohorts.Labels] = Counter()
    marks = []
    for row in picked:
        facts = cohorts.Facts(
            engine=Engine(row.engine),
            status=Status(row.status),
            created_at=row.created_at,
            finished_at=row.finished_at,
            step_deadline=row.step_deadline,
            waits=_waits(c, row, workflow),
            baseline=baselines.get((row.attempt, row.workflow_id)),
            history=histories.get(row.id, ()),
        )
        reading = _reading(row)
        counts.update(cohorts.raised(facts, reading, _GRACE))
        following = None if reading.last else row.created_at + timedelta(seconds=row.ages[row.next_age + 1])
        marks.append({"b_id": row.id, "b_next": row.next_age + 1, "b_at": following})
    _raise_counters(c, insert, counts)
    mark = (
        sa.update(_x)
        .where(_x.c.id == sa.bindparam("b_id"))
        .values(next_age=sa.bindparam("b_next"), next_age_at=sa.bindparam("b_at", type_=t.Moment()))
    )
    c.execute(mark, marks)
    return len(picked)


def _reading(row: Any) -> cohorts.Reading:
    return cohorts.Reading(
        execution_id=row.id,
        attempt=row.attempt,
        assignment=Assignment(row.assignment),
        percent=row.percent,
        descended=row.parent is not None or row.origin is not None,
        age=timedelta(seconds=row.ages[row.next_age]),
        index=row.next_age,
        ages=len(row.ages),
        cutoff=row.next_age_at,
    )


def _baselines(c: sa.Connection, picked: Sequence[Any]) -> Mapping[tuple[str, str], timedelta]:
    """V1's 95th percentile by attempt and workflow, where there is history enough."""
    attempts, workflows = {row.attempt for row in picked}, {row.workflow_id for row in picked}
    b = t.baselines.c
    query = sa.select(b.attempt, b.workflow_id, b.p95_seconds).where(
        b.attempt.in_(attempts), b.workflow_id.in_(workflows), b.executions >= cohorts.ENOUGH_HISTORY
    )
    return {(row.attempt, row.workflow_id): timedelta(seconds=row.p95_seconds) for row in c.execute(query)}


def _waits(c: sa.Connection, row: Any, workflow: Callable[[sa.Connection, str, str], Workflow]) -> bool:
    if row.engine == Engine.V2 or row.status != Status.RUNNING:
        return bool(row.status == Status.WAITING)
    node = workflow(c, row.workflow_id, row.revision).by_id.get(row.current_node_id)
    return node is not None and node.type == "wait"


def _histories(c: sa.Connection, ids: list[str]) -> Mapping[str, list[cohorts.Moment]]:
    histories: dict[str, list[cohorts.Moment]] = defaultdict(list)
    if ids:
        v = t.events.c
        query = sa.select(v.execution_id, v.created_at, v.type, v.attempt, v.timed_ms).where(v.execution_id.in_(ids))
        for row in c.execute(query.order_by(v.execution_id, v.seq)):
            moment = cohorts.Moment(row.created_at, row.type, row.attempt, row.timed_ms)
            histories[row.execution_id].append(moment)
    return histories


def _raise_counters(c: sa.Connection, insert: Callable[[sa.Table], Any], counts: Mapping[cohorts.Labels, int]) -> None:
    if not counts:
        return
    # Sorted, so that two counters that raise the same rows lock them in the same order.
    values = [{**dict(zip(_KEY, key, strict=True)), "value": n} for key, n in sorted(counts.items())]
    new = insert(t.cohorts).values(values)
    raised = {"value": t.cohorts.c.value + new.excluded.value}
    c.execute(new.on_conflict_do_update(index_elements=list(_KEY), set_=raised))

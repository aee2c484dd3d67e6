"""Cohort counters, what is kept at each restart of the evidence, and gauges."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from orchestrator import cohorts
from orchestrator.model import Assignment, Engine, Status
from orchestrator.store import codec
from orchestrator.store.evidence import CohortCount, Totals
from orchestrator.store.records import Gauges
from orchestrator.testing.memory import baselines
from orchestrator.testing.memory.reading import stalled, workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from orchestrator.testing.memory.data import Data, Row

_LONG: Final = timedelta(minutes=10)
_GRACE: Final = timedelta(seconds=2)  # two polls of a worker


def count_cohorts(d: Data, now: datetime, limit: int) -> int:
    reached = [row for row in d.rows.values() if row.next_age_at is not None and row.next_age_at <= now]
    picked = sorted(reached, key=lambda row: (row.next_age_at, row.number))[:limit]
    for row in picked:
        _count(d, row)
    return len(picked)


def _count(d: Data, row: Row) -> None:
    if row.next_age_at is None:
        return
    facts = cohorts.Facts(
        engine=row.engine,
        status=row.status,
        created_at=row.created_at,
        finished_at=row.finished_at,
        step_deadline=row.step_deadline,
        waits=_waits(d, row),
        baseline=baselines.p95(d, row.attempt, row.workflow_id),
        history=[cohorts.Moment(v.at, v.kind, v.attempt, v.timed_ms) for v in d.history(row)],
    )
    reading = cohorts.Reading(
        execution_id=row.id,
        attempt=row.attempt,
        assignment=row.assignment,
        percent=row.percent,
        descended=row.parent is not None or row.origin is not None,
        age=timedelta(seconds=row.ages[row.next_age]),
        index=row.next_age,
        ages=len(row.ages),
        cutoff=row.next_age_at,
    )
    for labels in cohorts.raised(facts, reading, _GRACE):
        d.cohorts = d.cohorts.insert(labels, d.cohorts.get(labels, 0) + 1)
    following = None if reading.last else row.created_at + timedelta(seconds=row.ages[row.next_age + 1])
    d.put(replace(row, next_age=row.next_age + 1, next_age_at=following))


def _waits(d: Data, row: Row) -> bool:
    if row.engine is Engine.V2 or row.status is not Status.RUNNING:
        return row.status is Status.WAITING
    node = workflow(d, row.workflow_id, row.revision).by_id.get(row.current_node)
    return node is not None and node.type == "wait"


def cohort_counts(d: Data, wanted: str | None) -> list[CohortCount]:
    return [
        CohortCount(Engine(engine), criterion, outcome, Assignment(assignment), percent, age, attempt, value)
        for (attempt, engine, criterion, outcome, assignment, percent, age), value in sorted(d.cohorts.items())
        if wanted in (None, attempt)
    ]


def save_totals(d: Data, attempt: str, totals: Totals) -> None:
    key = (attempt, totals.index)
    if key not in d.totals:
        d.totals = d.totals.insert(key, (totals.at, codec.dump_json(totals.totals, "totals")))


def totals(d: Data, attempt: str) -> list[Totals]:
    found = sorted((index, value) for (name, index), value in d.totals.items() if name == attempt)
    return [Totals(index, at, json.loads(text)) for index, (at, text) in found]


def gauges(d: Data, now: datetime, poll: timedelta) -> Gauges:
    late = now - 2 * poll
    running = [row for row in d.unfinished() if row.status is Status.RUNNING]

    def by_engine(condition: Callable[[Row], bool]) -> Mapping[Engine, int]:
        return {engine: sum(row.engine is engine and condition(row) for row in running) for engine in Engine}

    def before(moment: datetime | None, limit: datetime) -> bool:
        return moment is not None and moment < limit

    waits = [since for row in d.unfinished() if (since := _queued_since(row)) is not None and since <= now]
    return Gauges(
        running=by_engine(lambda _: True),
        long_running=by_engine(lambda row: before(row.started_at, now - _LONG)),
        stalled=by_engine(lambda row: stalled(row, late)),
        queue_oldest_seconds=max(0.0, (now - min(waits)).total_seconds()) if waits else 0.0,
    )


def _queued_since(row: Row) -> datetime | None:
    return row.due_at if row.owner is None else None

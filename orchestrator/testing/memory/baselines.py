"""How an engine does by workflow, and the bins of a user's own counters."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator.cohorts import ENOUGH_HISTORY
from orchestrator.model import Assignment, Engine, Status
from orchestrator.store.evidence import ALL_WORKFLOWS, Baseline, Ended

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from orchestrator.store.evidence import KeptBin
    from orchestrator.testing.memory.data import Data, Row


def take(d: Data, attempt: str, since: datetime, until: datetime) -> None:
    if (attempt, ALL_WORKFLOWS) in d.baselines:
        return
    measured = [Baseline(ALL_WORKFLOWS, 0, 0, 0.0)]
    for workflow_id, rows in _ended(d, Engine.V1, since, until).items():
        lasted = sorted(_seconds(row) for row in rows)
        p95 = next(value for place, value in enumerate(lasted, 1) if place * 100 >= len(lasted) * 95)
        measured.append(Baseline(workflow_id, len(rows), _failed(rows), p95))
    for one in measured:
        d.baselines = d.baselines.insert((attempt, one.workflow_id), one)


def baselines(d: Data, attempt: str) -> list[Baseline] | None:
    if (attempt, ALL_WORKFLOWS) not in d.baselines:
        return None
    kept = sorted((key, one) for key, one in d.baselines.items() if key[0] == attempt and key[1] != ALL_WORKFLOWS)
    return [one for _, one in kept]


def p95(d: Data, attempt: str, workflow_id: str) -> timedelta | None:
    """None where there is too little history."""
    kept = d.baselines.get((attempt, workflow_id))
    return timedelta(seconds=kept.p95_seconds) if kept is not None and kept.executions >= ENOUGH_HISTORY else None


def ended(d: Data, engine: Engine, since: datetime) -> list[Ended]:
    found = _ended(d, engine, since, None)
    return [Ended(workflow_id, len(rows), _failed(rows)) for workflow_id, rows in sorted(found.items())]


def routed_since(d: Data, engine: Engine, since: datetime) -> int:
    return sum(row.engine is engine and row.created_at >= since and _routed(row) for row in d.rows.values())


def save_bins(d: Data, attempt: str, criterion: str, bins: Sequence[KeptBin]) -> None:
    if (attempt, criterion, bins[0].number) in d.bins:
        return
    for one in bins:
        d.bins = d.bins.insert((attempt, criterion, one.number), one)


def bins(d: Data, attempt: str, criterion: str, first: int) -> list[KeptBin]:
    found = (one for key, one in d.bins.items() if key[:2] == (attempt, criterion) and one.number >= first)
    return sorted(found, key=lambda one: one.number)


def drop_evidence(d: Data, attempts: str) -> int:
    before = len(d.totals) + len(d.baselines) + len(d.bins)
    for total in [key for key in d.totals if key[0].startswith(attempts)]:
        d.totals = d.totals.remove(total)
    for baseline in [key for key in d.baselines if key[0].startswith(attempts)]:
        d.baselines = d.baselines.remove(baseline)
    for one in [key for key in d.bins if key[0].startswith(attempts)]:
        d.bins = d.bins.remove(one)
    return before - len(d.totals) - len(d.baselines) - len(d.bins)


def _ended(d: Data, engine: Engine, since: datetime, until: datetime | None) -> Mapping[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in d.rows.values():
        if row.engine is not engine or not _routed(row) or row.status not in (Status.SUCCESS, Status.FAILED):
            continue
        if row.finished_at is not None and row.finished_at >= since and (until is None or row.finished_at < until):
            found[row.workflow_id].append(row)
    return found


def _routed(row: Row) -> bool:
    return row.assignment is not Assignment.EXPLICIT and row.parent is None and row.origin is None


def _failed(rows: Iterable[Row]) -> int:
    return sum(row.status is Status.FAILED for row in rows)


def _seconds(row: Row) -> float:
    if row.finished_at is None:
        raise AssertionError("only what has ended is measured")
    return (row.finished_at - row.created_at).total_seconds()

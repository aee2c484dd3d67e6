"""What lasted, what was seen and what began afresh: everything that is drawn but stands in no row by itself. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from orchestrator_operator.report.model import Stretch, criteria_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime, timedelta
    from decimal import Decimal

    from orchestrator_operator.report.model import Moment, Report
    from orchestrator_operator.rollout.statistics.evidence import Cell, Cells
    from orchestrator_operator.specs.rollout_status import CriterionStatus

_SLICES = 60  # of the whole time, in each of which the share on V2 is seen once
_ALL = 100  # per cent
_ENOUGH = 30  # executions that say something about a share


@dataclass(frozen=True, slots=True)
class Seen:
    """The share of the executions that went to V2, in per cent, out of so many up to this moment."""

    at: datetime
    share: float
    executions: int


def phases(report: Report) -> tuple[Stretch, ...]:
    """Each phase with its time, without gaps."""
    return _stretches(report, lambda moment: moment.phase)


def stages(report: Report) -> tuple[Stretch, ...]:
    """Each stage with its time and percent; where V2 gets nothing there is none."""
    return tuple(
        item for item in _stretches(report, lambda m: (m.stage, m.percent) if m.percent > 0 else None) if item.name
    )


def blindness(report: Report) -> tuple[Stretch, ...]:
    """The times in which a criterion could not be read."""
    return tuple(item for item in _stretches(report, lambda m: "blind" if m.blind else None) if item.name)


def verdicts(report: Report, name: str) -> tuple[Stretch, ...]:
    """What one criterion said, and how long; nothing while it was not judged."""

    def verdict(moment: Moment) -> str | None:
        found = moment.criterion(name)
        return found.verdict.value if found else None

    return tuple(item for item in _stretches(report, verdict) if item.name)


def restarts(report: Report) -> tuple[datetime, ...]:
    """When the evidence started afresh, as recorded; where no row says so, as the spec has it.

    Only what lies within the report's time, and not the beginning itself.
    """
    recorded = tuple(later.at for earlier, later in pairwise(report.moments) if later.restarts > earlier.restarts)
    if recorded or report.restart is None or report.status.started_at is None:
        return recorded
    last = next((m.at for m in reversed(report.moments) if m.percent > 0), report.start)
    return tuple(_every(report.status.started_at, report.restart, last))


def seen(report: Report) -> tuple[Seen, ...]:
    """The share that really went to V2, from what the counters grew by, in slices of the whole time."""
    least = (report.end - report.start) / _SLICES
    found: list[Seen] = []
    since: Moment | None = None
    for moment in report.moments:
        if not _arms(moment):
            continue
        if since is None or moment.percent != since.percent or _shrunk(since, moment):
            since = moment
            continue
        grown = _grown(since, moment)
        if moment.at - since.at >= least and sum(grown) >= _ENOUGH:
            found.append(Seen(moment.at, 100 * grown[1] / sum(grown), sum(grown)))
            since = moment
    return tuple(found)


def latest_cells(report: Report) -> tuple[tuple[str, str, Cell], ...]:
    """(what, age, cell): the newest counts, percent by percent, in the order in which they were recorded.

    Without those of before and after the rollout, when everything ran on V1.
    """
    newest = next((moment.cells for moment in reversed(report.moments) if moment.cells), {})
    return tuple(
        (what, age, cell) for (what, age), cells in newest.items() for cell in cells if cell.percent or cell.n2
    )


def own_counts(report: Report) -> tuple[CriterionStatus, ...]:
    """The newest counts of the criteria by counters of a user's own, which have neither ages nor shares."""
    own = [str(item.get("name")) for item in criteria_of(report.spec) if item.get("bad")]
    judged = [[found for m in reversed(report.moments) if (found := m.criterion(name))] for name in own]
    newest = (next((item for item in found if item.n1 is not None), None) for found in judged)
    return tuple(item for item in newest if item is not None)


def _stretches(report: Report, key: Callable[[Moment], str | tuple[str, float] | None]) -> tuple[Stretch, ...]:
    """Runs of moments with the same key, each until the next begins; the name of a run without a key is empty."""
    runs = [(found, next(run).at) for found, run in groupby(report.moments, key)]
    ends = [at for _, at in runs[1:]] + [report.end]
    return tuple(
        Stretch(at, end, *(found if isinstance(found, tuple) else (found or "",)))
        for (found, at), end in zip(runs, ends, strict=True)
    )


def _every(start: datetime, step: timedelta, end: datetime) -> Iterator[datetime]:
    at = start + step
    while at <= end:
        yield at
        at += step


def _arms(moment: Moment) -> dict[Decimal, tuple[int, int]]:
    """Executions on V1 and V2 by percent: those that started, else those that have been read once."""
    cells: Cells = moment.starts or next(iter(moment.cells.values()), ())
    found: defaultdict[Decimal, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for cell in cells:
        found[cell.percent] = (cell.n1, cell.n2)
    return dict(found)


def _grown(before: Moment, after: Moment) -> tuple[int, int]:
    """Executions of this percent on V1 and V2 between two moments."""
    then, now = _arms(before), _arms(after)
    arms = [(now[percent], then.get(percent, (0, 0))) for percent in now if _near(float(percent), after.percent)]
    return sum(n[0] - t[0] for n, t in arms), sum(n[1] - t[1] for n, t in arms)


def _near(percent: float, asked: float) -> bool:
    """Whether these are the executions of that stage: at 100 % a holdback makes the coin's share smaller."""
    return percent == asked or (asked == _ALL and percent > _ALL / 2)


def _shrunk(before: Moment, after: Moment) -> bool:
    """Whether counters went down: they were reset, and say nothing across that moment."""
    return min(_grown(before, after)) < 0

"""A recorded history judged as the controller would have judged it: row by row, to the last one. Pure.

What is cumulative, exactly:

- A row's executions belong to the totals from the end of its interval on. The controller looks at every such end, and
  whenever it would have woken by itself in between (a stage's end, a restart of the evidence).
- The rollout starts at the start of the first row, with no executions.
- Restart s = 1, 2, … of the evidence begins at that start + s · `analysis.restart`, with the totals as they then stand.
- A row's evidence is that of its criterion at its age, over the totals of all percents, itself included.
- Evidence and verdicts go on after a rollback, and after the end, as if nothing had been decided.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from orchestrator_operator.rollout.judging.comparisons import planned_restarts
from orchestrator_operator.rollout.model import Bin, Unreadable
from orchestrator_operator.rollout.simulation.history import interval
from orchestrator_operator.rollout.simulation.levels import log_threshold
from orchestrator_operator.rollout.simulation.rehearsal import Rehearsal
from orchestrator_operator.rollout.statistics import evidence
from orchestrator_operator.rollout.statistics.evidence import Cell
from orchestrator_operator.rollout.statistics.mixture import EVEN
from orchestrator_operator.specs.rollout_words import Preset

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime, timedelta
    from decimal import Decimal

    from orchestrator_operator.rollout.model import CohortKey, Judged
    from orchestrator_operator.rollout.simulation.history import Counts, Row
    from orchestrator_operator.rollout.simulation.rehearsal import Look
    from orchestrator_operator.rollout.statistics.evidence import Cells
    from orchestrator_operator.specs.rollout import RolloutSpec
    from orchestrator_operator.specs.rollout_status import Decision, RolloutStatus

_NOT_READ = Unreadable("NotRead", "the row has no counts")
_UNITS = 30  # executions of both arms that close a bin of a user's own counters


@dataclass(frozen=True, slots=True)
class Numbers:
    """The evidence against V2 of one criterion at one age, ln E. None where a user's own counter has no coins."""

    bad_alone: float | None  # bad executions, no restarts
    bad: float | None  # the same with restarts
    full: float | None  # with restarts, and with the good executions where ψ₀ = 1
    judged: float | None  # the same with the weights that decide; the three above weigh all alternatives alike
    threshold: float  # where `judged` convicts: ln 1/(w·alpha)


@dataclass(frozen=True, slots=True)
class Replayed:
    """One row and what the controller makes of it."""

    row: Row
    end: datetime
    cells: Cells  # totals of the row's criterion and age, itself included
    numbers: Numbers
    judged: Judged  # the verdict on the row's criterion, which looks at all its ages
    status: RolloutStatus  # afterwards
    decisions: tuple[Decision, ...]  # since the rows before


def replay(
    spec: RolloutSpec, rows: Sequence[Row], *, length: timedelta | None = None, approve: bool = False
) -> Iterator[Replayed]:
    """Each row in turn. `length` is that of a row's interval; by default as `history.interval` finds it."""
    told = _Told(comparisons_only(spec), rows[0].start, approve=approve)
    length = length or interval(rows, spec.analysis.interval)
    for start, together in groupby(rows, key=lambda row: row.start):
        yield from told.rows(tuple(together), start + length)


def comparisons_only(spec: RolloutSpec) -> RolloutSpec:
    """The spec without its guardrails and pauses: a file of counts has nothing that they look at."""
    return spec.model_copy(update={"criteria": spec.comparisons, "paused": False})


class _Told:
    """What has been told of the history so far."""

    def __init__(self, spec: RolloutSpec, start: datetime, *, approve: bool) -> None:
        self._spec = spec
        self._rehearsal = Rehearsal(spec, approve=approve)
        self._totals: dict[CohortKey, dict[Decimal, Cell]] = defaultdict(dict)
        self._bins: dict[str, list[Bin]] = {item.name: [] for item in spec.comparisons if item.preset is None}
        self._open: dict[str, tuple[Decimal, datetime, Bin]] = {}
        self._keys: tuple[CohortKey, ...] = tuple(
            (str(item.preset), age) for item in spec.comparisons if item.preset for age in spec.analysis.ages
        )
        self._last = self._look(start)
        self._pending = self._last.decisions

    def rows(self, rows: Sequence[Row], end: datetime) -> Iterator[Replayed]:
        """The rows whose interval ends at `end`."""
        while (due := self._last.wake_at) is not None and self._last.now < due < end:
            self._last = self._look(due)
            self._pending += self._last.decisions
        for row in rows:
            if row.counts is not None:
                self._count(row, row.counts, end)
        unread = frozenset((row.preset, row.age) for row in rows if row.counts is None)
        self._last = self._look(end, unread)
        decisions, self._pending = self._pending + self._last.decisions, ()
        verdicts = {judged.criterion.name: judged for judged in self._last.judgement.criteria}
        for row in rows:
            cells = self._cells(row.preset, row.age)
            judged = verdicts[row.criterion.name]
            yield Replayed(row, end, cells, self._numbers(row, cells, judged), judged, self._last.status, decisions)

    def _look(self, now: datetime, unread: frozenset[tuple[str, timedelta | None]] = frozenset()) -> Look:
        cohorts: dict[CohortKey, Cells | Unreadable] = {
            key: _NOT_READ if key in unread else self._cells(*key) for key in self._keys
        }
        own: dict[str, tuple[Bin, ...] | Unreadable] = {
            name: _NOT_READ if (name, None) in unread else tuple(bins) for name, bins in self._bins.items()
        }
        return self._rehearsal.look(now, cohorts, own=own, starts=self._starts())

    def _starts(self) -> Cells:
        """How many executions the coin sent where, as far as the data say: all that reached the first age counted."""
        everything = [key for key in self._keys if key[0] != Preset.SLOWER_THAN_BASELINE and self._totals[key]]
        cells = self._cells(*min(everything, key=lambda key: key[1])) if everything else ()
        return tuple(Cell(cell.percent, 0, cell.n1, 0, cell.n2) for cell in cells)

    def _cells(self, preset: str, age: timedelta | None) -> Cells:
        if age is None:
            return ()
        return tuple(cell for _, cell in sorted(self._totals[preset, age].items()))

    def _count(self, row: Row, counts: Counts, end: datetime) -> None:
        n1, k1, n2, k2 = counts
        if row.age is None:
            self._own(row, Bin(k1, n1, k2, n2), end)
            return
        cells = self._totals[row.preset, row.age]
        before = cells.get(row.percent, Cell(row.percent))
        cells[row.percent] = Cell(
            row.percent, before.bad_v1 + k1, before.good_v1 + n1 - k1, before.bad_v2 + k2, before.good_v2 + n2 - k2
        )

    def _own(self, row: Row, more: Bin, end: datetime) -> None:
        """Bins close at thirty units or after `analysis.interval`, and at a change of the percent."""
        name = row.criterion.name
        percent, since, grown = self._open.pop(name, (row.percent, row.start, Bin(0, 0, 0, 0)))
        if percent != row.percent:
            self._bins[name].append(grown)
            since, grown = row.start, Bin(0, 0, 0, 0)
        grown = Bin(grown.k1 + more.k1, grown.n1 + more.n1, grown.k2 + more.k2, grown.n2 + more.n2, end)
        if grown.n1 + grown.n2 >= _UNITS or end - since >= self._spec.analysis.interval:
            self._bins[name].append(grown)
        else:
            self._open[name] = (row.percent, since, grown)

    def _numbers(self, row: Row, cells: Cells, judged: Judged) -> Numbers:
        if row.age is None:
            threshold = log_threshold(self._spec, row.criterion, None)
            return Numbers(None, None, judged.log_evidence, judged.log_evidence, threshold)
        key, analysis = (row.preset, row.age), self._spec.analysis
        restarts = {item.index: item.cohorts.get(key, ()) for item in self._rehearsal.restarts}
        planned = planned_restarts(self._spec)
        bad_restarts = {index: bad_only(at) for index, at in restarts.items()}
        return Numbers(
            bad_alone=evidence.log_fail(bad_only(cells), analysis.tolerate, EVEN),
            bad=evidence.log_fail_with_restarts(bad_only(cells), bad_restarts, planned, analysis.tolerate, EVEN),
            full=evidence.log_fail_with_restarts(cells, restarts, planned, analysis.tolerate, EVEN),
            judged=evidence.log_fail_with_restarts(cells, restarts, planned, analysis.tolerate),
            threshold=log_threshold(self._spec, row.criterion, row.age),
        )


def bad_only(cells: Cells) -> Cells:
    """The same without the good executions: what the coin test makes of the bad ones alone."""
    return tuple(replace(cell, good_v1=0, good_v2=0) for cell in cells)

"""A comparison's verdict by the coin test: executions at fixed ages, V2's against V1's. Pure."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator import durations
from orchestrator_operator.rollout.judging.passing import Words, towards_pass
from orchestrator_operator.rollout.model import Judged, Unreadable
from orchestrator_operator.rollout.statistics import evidence
from orchestrator_operator.rollout.statistics.evidence import Cell
from orchestrator_operator.rollout.wording import show_counts, show_evidence
from orchestrator_operator.specs.rollout_status import Verdict
from orchestrator_operator.specs.rollout_words import Preset

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

    from orchestrator_operator.rollout.model import Gathered
    from orchestrator_operator.rollout.statistics.evidence import Cells
    from orchestrator_operator.specs.rollout import Criterion, RolloutSpec, Stage

NO_SERIES = Unreadable("NoSeries", "Prometheus has no such series; is the operator scraped?")
Test = tuple[str, "timedelta | None"]  # a criterion's name and an age; a user's own counters have none


def levels(spec: RolloutSpec) -> dict[Test, float]:
    """The part of analysis.falseRollback that each comparison may spend at each age; they sum to 1.

    `failures` at the middle age (index ⌊n/2⌋) has half, the others share the rest equally; without it all are equal.
    """
    ages = spec.analysis.ages
    tests: list[Test] = []
    for criterion in spec.comparisons:
        tests += [(criterion.name, age) for age in (ages if criterion.preset else (None,))]
    favourite = next(
        ((item.name, spec.analysis.middle_age) for item in spec.comparisons if item.preset is Preset.FAILURES), None
    )
    return evidence.shares(tests, favourite)


def division(spec: RolloutSpec) -> str:
    """A hash of all that the promise of falseRollback was divided by: if it changes, the level is divided anew."""
    analysis = spec.analysis
    compared = [(item.name, item.preset, item.bad, item.total) for item in spec.comparisons]
    ages = [durations.show(age) for age in analysis.ages]
    restarts = durations.show(analysis.restart), planned_restarts(spec)
    what = json.dumps([compared, ages, analysis.false_rollback, analysis.tolerate, *restarts])
    return hashlib.sha256(what.encode()).hexdigest()[:12]


def planned_restarts(spec: RolloutSpec) -> int:
    """D: how many restarts of the evidence the plan has, the start included."""
    return max(1, math.ceil(spec.planned / spec.analysis.restart))


def pass_age(spec: RolloutSpec, stage: Stage) -> timedelta:
    """The last age that the stage is long enough for: where its Pass is read."""
    return max((age for age in spec.analysis.ages if age <= stage.duration), default=spec.analysis.ages[0])


def stage_cell(cells: Cells, stage: Stage) -> Cell:
    """The stage's own coins: shares ascend, so each is one stage's."""
    return next((cell for cell in cells if cell.percent == stage.share), Cell(stage.share))


def comparison(
    gathered: Gathered, spec: RolloutSpec, stage: Stage, criterion: Criterion, share: Mapping[Test, float]
) -> Judged:
    """Fail if any age convicts; else Blind if any age cannot be read, or the store is away, which keeps a part of the
    evidence; else what the age for Pass says.
    """
    readings = {age: gathered.cohorts.get((str(criterion.preset), age), NO_SERIES) for age in spec.analysis.ages}
    readable = {age: cells for age, cells in readings.items() if not isinstance(cells, Unreadable)}
    suspicions = [
        _suspicion(gathered, spec, criterion, _Reading(age, cells, share[criterion.name, age]))
        for age, cells in readable.items()
    ]
    suspicion = max(suspicions, key=lambda found: found.margin, default=None)
    if suspicion is not None and suspicion.margin >= 0:
        return _convicted(criterion, suspicion)
    if unread := _unread(criterion, readings.items()):
        return unread
    if gathered.away is not None:
        sentence = f"cannot be read in full: {gathered.away.message}"
        return Judged(criterion, Verdict.BLIND, sentence, gathered.away.reason)
    age = pass_age(spec, stage)
    judged = _towards_pass(criterion, spec, stage, age, readable[age])
    if suspicion is None:  # pragma: no cover - every age was readable, so there is one
        return judged
    return replace(judged, log_evidence=suspicion.log_evidence, log_threshold=suspicion.log_threshold)


@dataclass(frozen=True, slots=True)
class _Reading:
    """The counts of one age, and the part of the error level that it may spend."""

    age: timedelta
    cells: Cells
    share: float


@dataclass(frozen=True, slots=True)
class _Suspicion:
    """What one age says against V2."""

    age: timedelta
    cells: Cells
    log_evidence: float
    log_threshold: float

    @property
    def margin(self) -> float:
        """How far beyond its threshold it is; 0 or more convicts."""
        return self.log_evidence - self.log_threshold


def _suspicion(gathered: Gathered, spec: RolloutSpec, criterion: Criterion, reading: _Reading) -> _Suspicion:
    key = str(criterion.preset), reading.age
    restarts = {item.index: item.cohorts[key] for item in gathered.restarts if key in item.cohorts}
    analysis = spec.analysis
    log_e = evidence.log_fail_with_restarts(
        reading.cells, restarts, planned_restarts(spec), analysis.tolerate, complete=gathered.away is None
    )
    threshold = evidence.log_threshold(analysis.false_rollback, reading.share)
    return _Suspicion(reading.age, reading.cells, log_e, threshold)


def _unread(criterion: Criterion, readings: Iterable[tuple[timedelta, Cells | Unreadable]]) -> Judged | None:
    """Blind, by the first age that cannot be read; NotApplicable, if all that is wrong is that there is no baseline."""
    unread = [(age, reading) for age, reading in readings if isinstance(reading, Unreadable)]
    for age, reading in unread:
        if not reading.nothing_to_compare:
            sentence = f"cannot be read at {durations.show(age)}: {reading.message}"
            return Judged(criterion, Verdict.BLIND, sentence, reading.reason, age)
    return Judged(criterion, Verdict.NOT_APPLICABLE, unread[0][1].message) if unread else None


def _convicted(criterion: Criterion, found: _Suspicion) -> Judged:
    counts = evidence.totals(found.cells)
    sentence = (
        f"V2 is worse than V1: read {durations.show(found.age)} after their start, {show_counts(counts)} were bad; "
        f"evidence {show_evidence(found.log_evidence)}, needed {show_evidence(found.log_threshold)}"
    )
    return Judged(
        criterion,
        Verdict.FAIL,
        sentence,
        age=found.age,
        counts=counts,
        log_evidence=found.log_evidence,
        log_threshold=found.log_threshold,
    )


def _towards_pass(criterion: Criterion, spec: RolloutSpec, stage: Stage, age: timedelta, cells: Cells) -> Judged:
    """Whether this stage's own executions show V2 to be better than the margin."""
    judged = Judged(criterion, Verdict.INCONCLUSIVE, "", age=age, counts=evidence.totals(cells))
    cell = stage_cell(cells, stage)

    def lacking(arm: str) -> str:
        return f"no execution of {stage.name} on {arm} has reached the age of {durations.show(age)} yet"

    words = Words(lacking, "no bad execution")
    counts = evidence.totals((cell,))
    return towards_pass(judged, spec, stage, counts, lambda margin: evidence.log_pass((cell,), margin), words)

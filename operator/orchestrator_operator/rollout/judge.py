"""One verdict for each criterion, with its numbers and a sentence. Pure. Missing data is never success nor failure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator import durations
from orchestrator_operator.rollout import evidence
from orchestrator_operator.rollout.anchor import anchored
from orchestrator_operator.rollout.evidence import Cell
from orchestrator_operator.rollout.model import Judged, Judgement, Unreadable
from orchestrator_operator.rollout.phases import IN_A_STAGE
from orchestrator_operator.specs.rollout import CriterionType, Preset
from orchestrator_operator.specs.rollout_status import Phase, Verdict

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from orchestrator_operator.rollout.evidence import Cells
    from orchestrator_operator.rollout.model import Gathered
    from orchestrator_operator.specs.rollout import Criterion, RolloutSpec, Stage

_NO_SERIES = Unreadable("NoSeries", "Prometheus has no such series; is the operator scraped?")
_LARGE = 1e6  # evidence above this is shown as a power of ten


def judge(gathered: Gathered) -> Judgement:
    """The verdicts now; none where nothing is judged (a spec that cannot be read, a rollout that is over)."""
    gathered = anchored(gathered)
    spec, status = gathered.spec, gathered.status
    if spec is None or status.phase not in IN_A_STAGE | {Phase.PENDING}:
        return Judgement()
    stage = current_stage(spec, status.stage_index)
    judged = tuple(
        _comparison(gathered, spec, stage, criterion)
        if criterion.type is CriterionType.COMPARISON
        else _guardrail(gathered, criterion)
        for criterion in spec.criteria
    )
    return Judgement(judged, _arms(gathered, spec, stage))


def current_stage(spec: RolloutSpec, index: int) -> Stage:
    """The stage at `index`; the last one where the spec has become shorter."""
    return spec.stages[min(index, len(spec.stages) - 1)]


def pass_age(spec: RolloutSpec, stage: Stage) -> timedelta:
    """The last age that the stage is long enough for: where its Pass is read."""
    return max((age for age in spec.analysis.ages if age <= stage.duration), default=spec.analysis.ages[0])


def show_evidence(log_e: float) -> str:
    """E as people read it: `0.82`, `213`, `1e12`."""
    if log_e > math.log(_LARGE):
        return f"1e{log_e / math.log(10):.0f}"
    return f"{math.exp(log_e):.3g}"


def show_counts(counts: tuple[int, int, int, int]) -> str:
    """`V2 14 of 120 (11.7 %), V1 30 of 2380 (1.26 %)`: bad executions of all."""
    k1, n1, k2, n2 = counts
    return f"V2 {k2} of {n2}{_share(k2, n2)}, V1 {k1} of {n1}{_share(k1, n1)}"


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


def _comparison(gathered: Gathered, spec: RolloutSpec, stage: Stage, criterion: Criterion) -> Judged:
    """Fail if any age convicts; else Blind if any age cannot be read; else what the age for Pass says."""
    readings = {age: gathered.cohorts.get((str(criterion.preset), age), _NO_SERIES) for age in spec.analysis.ages}
    readable = {age: cells for age, cells in readings.items() if not isinstance(cells, Unreadable)}
    suspicion = max(
        (_suspicion(gathered, spec, criterion, age, cells) for age, cells in readable.items()),
        key=lambda found: found.margin,
        default=None,
    )
    if suspicion is not None and suspicion.margin >= 0:
        return _convicted(criterion, suspicion)
    for age, reading in readings.items():
        if isinstance(reading, Unreadable):
            sentence = f"cannot be read at {durations.show(age)}: {reading.message}"
            return Judged(criterion, Verdict.BLIND, sentence, reading.reason, age)
    age = pass_age(spec, stage)
    judged = _towards_pass(criterion, spec, stage, age, readable[age])
    if suspicion is None:  # pragma: no cover - every age was readable, so there is one
        return judged
    return replace(judged, log_evidence=suspicion.log_evidence, log_threshold=suspicion.log_threshold)


def _suspicion(gathered: Gathered, spec: RolloutSpec, criterion: Criterion, age: timedelta, cells: Cells) -> _Suspicion:
    analysis, preset = spec.analysis, str(criterion.preset)
    presets = [str(comparison.preset) for comparison in spec.comparisons]
    shares = evidence.shares(presets, len(analysis.ages), favourite=Preset.FAILURES)
    restarts = {item.index: item.cohorts[preset, age] for item in gathered.restarts if (preset, age) in item.cohorts}
    planned = max(1, math.ceil(spec.planned / analysis.restart))
    log_e = evidence.log_fail_with_restarts(cells, restarts, planned, analysis.tolerate)
    threshold = evidence.log_threshold(analysis.false_rollback, shares[preset, analysis.ages.index(age)])
    return _Suspicion(age, cells, log_e, threshold)


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
    cell = _stage_cell(cells, stage)
    k1, n1, k2, n2 = counts = evidence.totals((cell,))
    if stage.percent == 100:  # noqa: PLR2004 - per cent: no coin is tossed
        sentence = "everything runs on V2: nothing to compare with"
        return replace(judged, verdict=Verdict.NOT_APPLICABLE, sentence=sentence)
    if not n1 or not n2:
        arm = "V2" if n1 else "V1" if n2 else "either engine"
        sentence = f"no execution of {stage.name} on {arm} has reached the age of {durations.show(age)} yet"
        return replace(judged, sentence=sentence)
    analysis = spec.analysis
    wanted = evidence.log_threshold(analysis.false_pass)
    if not k1 and not k2:
        passed = evidence.enough_without_failures(n2, analysis.pass_margin.absolute, analysis.false_pass)
        rest = "" if passed else ": too few to rule the margin out"
        sentence = f"no bad execution yet among {n2} on V2 and {n1} on V1{rest}"
        return replace(judged, verdict=_pass_if(passed), sentence=sentence)
    margin = evidence.pass_margin(k1, n1, analysis.pass_margin.relative, analysis.pass_margin.absolute)
    log_e = evidence.log_pass((cell,), margin)
    passed = log_e >= wanted
    claim = "V2 is better than" if passed else "not yet shown that V2 is better than"
    return replace(
        judged,
        verdict=_pass_if(passed),
        sentence=f"{claim} {margin:.3g} times V1: in {stage.name}, {show_counts(counts)} were bad; "
        f"evidence {show_evidence(log_e)}, needed {show_evidence(wanted)}",
        log_pass_evidence=log_e,
        log_pass_threshold=wanted,
    )


def _guardrail(gathered: Gathered, criterion: Criterion) -> Judged:
    """Fail when the limit has been exceeded for long enough. An unreadable moment ends the run: it is no evidence."""
    reading = gathered.guardrails.get(criterion.name, _NO_SERIES)
    if isinstance(reading, Unreadable):
        return Judged(criterion, Verdict.BLIND, f"cannot be read: {reading.message}", reading.reason)
    limit = criterion.max if criterion.max is not None else math.inf
    if reading <= limit:
        return Judged(criterion, Verdict.PASS, f"{reading:g}, at most {limit:g} allowed", value=reading)
    since = _breached_since(gathered, criterion) or gathered.now
    broken = gathered.now - since >= criterion.for_
    lasted, allowed = durations.show(_whole_seconds(gathered.now - since)), durations.show(criterion.for_)
    sentence = f"{reading:g} is above {limit:g} for {lasted}" + (f" (allowed: {allowed})" if criterion.for_ else "")
    verdict = Verdict.FAIL if broken else Verdict.INCONCLUSIVE
    return Judged(criterion, verdict, sentence, value=reading, breached_since=since)


def _arms(gathered: Gathered, spec: RolloutSpec, stage: Stage) -> tuple[int, int] | None:
    """The stage's executions on V1 and V2, of the comparison that has counted the fewest on V2."""
    age = pass_age(spec, stage)
    readings = [gathered.cohorts.get((str(criterion.preset), age)) for criterion in spec.comparisons]
    cells = [_stage_cell(reading, stage) for reading in readings if isinstance(reading, tuple)]
    if len(cells) < len(readings):
        return None
    return min(cell.n1 for cell in cells), min(cell.n2 for cell in cells)


def _stage_cell(cells: Cells, stage: Stage) -> Cell:
    """The stage's own coins: percents ascend strictly, so each is one stage's."""
    return next((cell for cell in cells if cell.percent == stage.percent), Cell(stage.percent))


def _breached_since(gathered: Gathered, criterion: Criterion) -> datetime | None:
    return next((item.breached_since for item in gathered.status.criteria if item.name == criterion.name), None)


def _pass_if(passed: bool) -> Verdict:
    return Verdict.PASS if passed else Verdict.INCONCLUSIVE


def _share(bad: int, total: int) -> str:
    return f" ({100 * bad / total:.3g} %)" if total else ""


def _whole_seconds(lasted: timedelta) -> timedelta:
    return lasted - (lasted % type(lasted)(seconds=1))

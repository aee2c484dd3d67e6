"""One verdict for each criterion, what is wrong with the experiment itself, and what it can show. Pure.

Missing data is never success nor failure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator_operator.rollout.judging import calibration, degradation, sample_ratio
from orchestrator_operator.rollout.judging.anchor import anchored
from orchestrator_operator.rollout.judging.comparisons import NO_SERIES, comparison, levels, pass_age, stage_cell
from orchestrator_operator.rollout.judging.guardrails import guardrail
from orchestrator_operator.rollout.judging.own_comparisons import own_comparison
from orchestrator_operator.rollout.judging.power import power
from orchestrator_operator.rollout.model import Alarm, Judgement, Unreadable
from orchestrator_operator.rollout.phases import IN_A_STAGE
from orchestrator_operator.rollout.statistics import evidence
from orchestrator_operator.specs.rollout_status import Phase
from orchestrator_operator.specs.rollout_words import CriterionType, Preset

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator_operator.rollout.judging.comparisons import Test
    from orchestrator_operator.rollout.model import Gathered, Judged, Power
    from orchestrator_operator.specs.rollout import Criterion, RolloutSpec, Stage

# Which judge and plan these are. It is raised with every change that lets them come to other figures, verdicts or
# actions from the same inputs; rows of the log bear it, so that nobody takes an earlier judge's for forged ones.
#   1  the coin test's evidence weighed all its alternatives alike
#   2  mixture.DECIDING weighs them
#   3  the last spec that could be read is judged by; a guardrail above its limit keeps a rollout from starting; an
#      approval covers what was awaited when it was given; restarts that the store does not tell count 0
JUDGE = 3


def judge(gathered: Gathered) -> Judgement:
    """The verdicts now; none where nothing is judged (no spec could ever be read, a rollout that is over)."""
    gathered = anchored(gathered)
    spec, status = gathered.spec, gathered.status
    if spec is None or status.phase not in IN_A_STAGE | {Phase.PENDING}:
        return Judgement()
    stage, shares = current_stage(spec, status.stage_index), levels(spec)
    return Judgement(
        criteria=tuple(_judged(gathered, spec, stage, criterion, shares) for criterion in spec.criteria),
        arms=_arms(gathered, spec, stage),
        alarms=tuple(_alarms(gathered, spec)),
        sticky=_sticky(gathered, stage),
        power=_power(gathered, spec, stage, shares),
    )


def current_stage(spec: RolloutSpec, index: int) -> Stage:
    """The stage at `index`; the last one where the spec has become shorter."""
    return spec.stages[min(index, len(spec.stages) - 1)]


def _judged(
    gathered: Gathered, spec: RolloutSpec, stage: Stage, criterion: Criterion, shares: Mapping[Test, float]
) -> Judged:
    if criterion.type is CriterionType.GUARDRAIL:
        return guardrail(gathered, criterion)
    if criterion.preset is None:
        return own_comparison(gathered, spec, stage, criterion, shares[criterion.name, None])
    return comparison(gathered, spec, stage, criterion, shares)


def _arms(gathered: Gathered, spec: RolloutSpec, stage: Stage) -> tuple[int, int] | None:
    """The stage's executions on V1 and V2, of the comparison that has counted the fewest on V2.

    `slower-than-baseline` counts only some workflows: how many executions there were is the others' to say. Where no
    comparison counts all executions, the starts do.
    """
    age = pass_age(spec, stage)
    presets = [item.preset for item in spec.comparisons if item.preset not in (None, Preset.SLOWER_THAN_BASELINE)]
    readings = [gathered.cohorts.get((str(preset), age), NO_SERIES) for preset in presets] or [gathered.starts]
    cells = [stage_cell(reading, stage) for reading in readings if not isinstance(reading, Unreadable)]
    if len(cells) < len(readings):
        return None
    return min(cell.n1 for cell in cells), min(cell.n2 for cell in cells)


def _alarms(gathered: Gathered, spec: RolloutSpec) -> Iterator[Alarm]:
    """What is wrong with the experiment. What could not be read raises no alarm: the comparisons are blind then. But
    where these can be read, and what the alarms look at was reset, nobody else says so.
    """
    shares = [stage.share for stage in spec.stages]
    found = (
        None if isinstance(gathered.starts, Unreadable) else sample_ratio.alarm(gathered.starts, shares),
        None if isinstance(gathered.calibration, Unreadable) else calibration.alarm(gathered.calibration),
        None if isinstance(gathered.health, Unreadable) else degradation.alarm(gathered.health),
    )
    yield from (alarm for alarm in found if alarm is not None)
    read = (gathered.starts, gathered.calibration)
    lower = [item for item in read if isinstance(item, Unreadable) and item.reason == "CounterReset"]
    if lower and not any(isinstance(cells, Unreadable) for cells in gathered.cohorts.values()):
        yield Alarm("CounterReset", "; ".join(item.message for item in lower))


def _sticky(gathered: Gathered, stage: Stage) -> float | None:
    """The share of the stage's executions that a routing key sent; None while there are none, or nobody knows."""
    if gathered.keyed is None or isinstance(gathered.starts, Unreadable):
        return None
    tossed = stage_cell(gathered.starts, stage)
    total = gathered.keyed + tossed.n1 + tossed.n2
    return gathered.keyed / total if total else None


def _power(gathered: Gathered, spec: RolloutSpec, stage: Stage, shares: Mapping[Test, float]) -> Power | None:
    """By the comparison of executions with the largest share of the error level."""
    test = max((test for test in shares if test[1] is not None), key=lambda test: shares[test], default=None)
    if test is None:
        return None
    name, age = test
    preset = next(str(item.preset) for item in spec.comparisons if item.name == name)
    cells = gathered.cohorts.get((preset, age), NO_SERIES) if age is not None else NO_SERIES
    if isinstance(cells, Unreadable):
        return None
    threshold = evidence.log_threshold(spec.analysis.false_rollback, shares[test])
    return power(gathered, spec, stage, cells, threshold)

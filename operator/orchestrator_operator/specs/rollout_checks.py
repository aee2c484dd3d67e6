"""What can be wrong with an EngineRollout beyond its shape: one small rule each, all findings reported."""

from __future__ import annotations

import math
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

from orchestrator import durations
from orchestrator.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator_operator.specs.rollout import Criterion, RolloutSpec

_ALL = Decimal(100)
_SHORTEST_DEADMAN = timedelta(seconds=10)
_PLACES = Decimal("0.01")
_COMPARED = ("failures", "first-attempt-failures", "slower-than-baseline")
_GUARDED = ("slow-checkpoints",)


def check(spec: RolloutSpec) -> Iterator[Problem]:
    """Every problem of a well-shaped spec, in the order of its fields."""
    yield from _attempt(spec)
    yield from _stages(spec)
    yield from _analysis(spec)
    yield from _criteria(spec)
    yield from _deadman(spec)


def _attempt(spec: RolloutSpec) -> Iterator[Problem]:
    if spec.attempt < 1:
        yield Problem("spec.attempt", f"{spec.attempt} is not 1 or more")


def _stages(spec: RolloutSpec) -> Iterator[Problem]:
    if not spec.stages:
        yield Problem("spec.stages", "at least one stage is needed")
        return
    yield from _unique("spec.stages", (stage.name for stage in spec.stages))
    for index, stage in enumerate(spec.stages):
        path = f"spec.stages[{index}]"
        if not stage.percent.is_finite() or not 0 < stage.percent <= _ALL:
            yield Problem(f"{path}.percent", f"{stage.percent} is not above 0 and at most 100")
        elif stage.percent != stage.percent.quantize(_PLACES):
            yield Problem(f"{path}.percent", f"{stage.percent} has more than two places")
        if stage.duration <= timedelta(0):
            yield Problem(f"{path}.duration", "a stage lasts longer than nothing")
        elif spec.analysis.ages and stage.duration < spec.analysis.ages[0]:
            first = durations.show(spec.analysis.ages[0])
            yield Problem(
                f"{path}.duration", f"shorter than the first of spec.analysis.ages ({first}): nothing is judged"
            )
    for index, (before, after) in enumerate(pairwise(spec.stages), start=1):
        if after.percent <= before.percent:
            yield Problem(f"spec.stages[{index}].percent", f"{after.percent} does not ascend after {before.percent}")
    if spec.stages[-1].percent != _ALL:
        yield Problem(f"spec.stages[{len(spec.stages) - 1}].percent", "the last stage must have 100")


def _analysis(spec: RolloutSpec) -> Iterator[Problem]:
    analysis, path = spec.analysis, "spec.analysis"
    if analysis.restart <= timedelta(0):
        yield Problem(f"{path}.restart", "must be longer than nothing")
    yield from _ages(analysis.ages)
    for name, value in (("falseRollback", analysis.false_rollback), ("falsePass", analysis.false_pass)):
        if not 0 < value < 1:
            yield Problem(f"{path}.{name}", f"{value} is not a chance between 0 and 1")
    if not (math.isfinite(analysis.tolerate) and analysis.tolerate > 0):
        yield Problem(f"{path}.tolerate", f"{analysis.tolerate} is not a relative risk above 0")
    if not (math.isfinite(analysis.pass_margin.relative) and analysis.pass_margin.relative > max(1, analysis.tolerate)):
        yield Problem(f"{path}.passMargin.relative", "must be above 1 and above spec.analysis.tolerate")
    if not 0 <= analysis.pass_margin.absolute < 1:
        yield Problem(
            f"{path}.passMargin.absolute", f"{analysis.pass_margin.absolute} is not a share from 0 to below 1"
        )
    if analysis.minimum_executions < 0:
        yield Problem(f"{path}.minimumExecutions", f"{analysis.minimum_executions} is not 0 or more")


def _ages(ages: tuple[timedelta, ...]) -> Iterator[Problem]:
    if not ages:
        yield Problem("spec.analysis.ages", "at least one age is needed")
    elif ages[0] <= timedelta(0):
        yield Problem("spec.analysis.ages[0]", "an age is longer than nothing")
    for index, (before, after) in enumerate(pairwise(ages), start=1):
        if after <= before:
            yield Problem(
                f"spec.analysis.ages[{index}]",
                f"{durations.show(after)} does not ascend after {durations.show(before)}",
            )


def _criteria(spec: RolloutSpec) -> Iterator[Problem]:
    yield from _unique("spec.criteria", (criterion.name for criterion in spec.criteria))
    for index, criterion in enumerate(spec.criteria):
        path = f"spec.criteria[{index}]"
        yield from (_comparison if criterion.type == "comparison" else _guardrail)(criterion, path)
    presets = Counter(criterion.preset for criterion in spec.comparisons if criterion.preset)
    for index, criterion in enumerate(spec.criteria):
        if criterion in spec.comparisons and criterion.preset and presets[criterion.preset] > 1:
            yield Problem(f"spec.criteria[{index}].preset", f"{criterion.preset} is compared more than once")
    if not any(criterion.required for criterion in spec.comparisons):
        yield Problem("spec.criteria", "at least one required comparison is needed: guardrails do not tell V2 from V1")


def _comparison(criterion: Criterion, path: str) -> Iterator[Problem]:
    if criterion.preset is None:
        if criterion.bad is None and criterion.total is None:
            yield Problem(f"{path}.preset", f"a comparison needs a preset: {' or '.join(_COMPARED)}")
    elif criterion.preset in _GUARDED:
        yield Problem(f"{path}.preset", f"{criterion.preset} exists on V2 only: make it a guardrail")
    for name, field in (("query", "query"), ("max", "max"), ("for_", "for"), ("on_breach", "onBreach")):
        if name in criterion.model_fields_set:
            yield Problem(f"{path}.{field}", "belongs to guardrails: a comparison has none")


def _guardrail(criterion: Criterion, path: str) -> Iterator[Problem]:
    if (criterion.preset is None) == (criterion.query is None):
        yield Problem(f"{path}.query", f"a guardrail needs either a query or the preset {_GUARDED[0]}")
    elif criterion.preset is not None and criterion.preset in _COMPARED:
        yield Problem(f"{path}.preset", f"{criterion.preset} is a comparison: it needs both engines")
    if criterion.query is not None and not criterion.query.strip():
        yield Problem(f"{path}.query", "is empty")
    if criterion.max is None or not math.isfinite(criterion.max):
        yield Problem(f"{path}.max", "a guardrail needs the largest value that it allows")


def _deadman(spec: RolloutSpec) -> Iterator[Problem]:
    if spec.deadman and spec.deadman < _SHORTEST_DEADMAN:
        yield Problem(
            "spec.deadman", f"shorter than {durations.show(_SHORTEST_DEADMAN)}: it could not be renewed in time"
        )


def _unique(path: str, names: Iterable[str]) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if not name:
            yield Problem(f"{path}[{index}].name", "is empty")
        elif name in seen:
            yield Problem(f"{path}[{index}].name", f"{name!r} is used twice")
        seen.add(name)

"""What can be wrong with an EngineRollout beyond its shape: one small rule each, all findings reported."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

from orchestrator import durations
from orchestrator.errors import Problem
from orchestrator_operator.specs.calendars import parse_freeze, parse_hours, parse_zone
from orchestrator_operator.specs.rollout_criteria_checks import check_criteria
from orchestrator_operator.specs.unique import unique

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator_operator.specs.rollout import RolloutSpec, Stage

_ALL = Decimal(100)
_SHORTEST_DEADMAN = timedelta(seconds=10)
_MOST_RESTARTS = 1000  # of the evidence, in the planned time
_PLACES = Decimal("0.01")
_WORDS = ("true", "force")  # of annotations that let a rollout go on
_SECRET = re.compile(r"^(?=.{1,253}$)[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")  # as the API server wants them
_SECRET_KEY = re.compile(r"^[-._a-zA-Z0-9]{1,253}$")


def check(spec: RolloutSpec) -> Iterator[Problem]:
    """Every problem of a well-shaped spec, in the order of its fields."""
    yield from _attempt(spec)
    yield from _stages(spec)
    yield from _analysis(spec)
    yield from check_criteria(spec)
    yield from _windows(spec)
    yield from _deadman(spec)
    yield from _notify(spec)


def _attempt(spec: RolloutSpec) -> Iterator[Problem]:
    if spec.attempt < 1:
        yield Problem("spec.attempt", f"{spec.attempt} is not 1 or more")


def _stages(spec: RolloutSpec) -> Iterator[Problem]:
    if not spec.stages:
        yield Problem("spec.stages", "at least one stage is needed")
        return
    yield from unique("spec.stages", (stage.name for stage in spec.stages))
    for index, stage in enumerate(spec.stages):
        path = f"spec.stages[{index}]"
        if stage.name in _WORDS or stage.name.startswith("force:"):
            yield Problem(f"{path}.name", f"{stage.name!r} means something else where people name a stage")
        yield from _percent(stage, path)
        yield from _holdback(stage, path)
        if stage.duration <= timedelta(0):
            yield Problem(f"{path}.duration", "a stage lasts longer than nothing")
        elif spec.analysis.ages and stage.duration < spec.analysis.ages[0]:
            first = durations.show(spec.analysis.ages[0])
            yield Problem(
                f"{path}.duration", f"shorter than the first of spec.analysis.ages ({first}): nothing is judged"
            )
    yield from _ascending(spec)
    if spec.stages[-1].percent != _ALL:
        yield Problem(f"spec.stages[{len(spec.stages) - 1}].percent", "the last stage must have 100")


def _percent(stage: Stage, path: str) -> Iterator[Problem]:
    if not stage.percent.is_finite() or not 0 < stage.percent <= _ALL:
        yield Problem(f"{path}.percent", f"{stage.percent} is not above 0 and at most 100")
    elif stage.percent != stage.percent.quantize(_PLACES):
        yield Problem(f"{path}.percent", f"{stage.percent} has more than two places")


def _holdback(stage: Stage, path: str) -> Iterator[Problem]:
    if not stage.holdback.is_finite() or not 0 <= stage.holdback < _ALL:
        yield Problem(f"{path}.holdback", f"{stage.holdback} is not 0 or more and below 100")
    elif stage.holdback != stage.holdback.quantize(_PLACES):
        yield Problem(f"{path}.holdback", f"{stage.holdback} has more than two places")
    elif stage.holdback and stage.percent != _ALL:
        yield Problem(f"{path}.holdback", "belongs to the stage of 100 %: below it V1 has its share anyway")


def _ascending(spec: RolloutSpec) -> Iterator[Problem]:
    """Percents, and what V2 really gets: the counts of a stage are told from another's by that share."""
    for index, (before, after) in enumerate(pairwise(spec.stages), start=1):
        path = f"spec.stages[{index}]"
        if not all(value.is_finite() for value in (before.percent, after.percent, after.holdback)):
            continue  # said already
        if after.percent <= before.percent:
            yield Problem(f"{path}.percent", f"{after.percent} does not ascend after {before.percent}")
        elif after.share <= before.share:
            yield Problem(
                f"{path}.holdback",
                f"with {after.holdback} held back V2 gets {after.share}, which does not ascend after {before.share}",
            )


def _analysis(spec: RolloutSpec) -> Iterator[Problem]:
    analysis, path = spec.analysis, "spec.analysis"
    for name, lasting in (("restart", analysis.restart), ("interval", analysis.interval)):
        if lasting <= timedelta(0):
            yield Problem(f"{path}.{name}", "must be longer than nothing")
    yield from _restarts(spec)
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


def _restarts(spec: RolloutSpec) -> Iterator[Problem]:
    """Each restart keeps its totals, and is a part of every look from then on."""
    restart = spec.analysis.restart
    if restart > timedelta(0) and spec.planned > _MOST_RESTARTS * restart:
        unit = timedelta(minutes=1) if spec.planned >= timedelta(days=1) else timedelta(milliseconds=1)
        shortest = durations.show(-(-spec.planned // (_MOST_RESTARTS * unit)) * unit)
        yield Problem(
            "spec.analysis.restart",
            f"{durations.show(restart)} makes {math.ceil(spec.planned / restart)} restarts of the evidence in the "
            f"{durations.show(spec.planned)} of spec.stages; at most {_MOST_RESTARTS} are kept: at least {shortest}",
        )


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


def _windows(spec: RolloutSpec) -> Iterator[Problem]:
    windows, path = spec.windows, "spec.windows"
    yield from _readable(parse_zone, windows.time_zone, f"{path}.timeZone")
    for index, text in enumerate(windows.promote):
        yield from _readable(parse_hours, text, f"{path}.promote[{index}]")
    for index, text in enumerate(windows.freeze):
        yield from _readable(parse_freeze, text, f"{path}.freeze[{index}]")


def _readable(parse: Callable[[str], object], text: str, path: str) -> Iterator[Problem]:
    try:
        parse(text)
    except ValueError as error:
        yield Problem(path, str(error))


def _deadman(spec: RolloutSpec) -> Iterator[Problem]:
    if spec.deadman and spec.deadman < _SHORTEST_DEADMAN:
        yield Problem(
            "spec.deadman", f"shorter than {durations.show(_SHORTEST_DEADMAN)}: it could not be renewed in time"
        )


def _notify(spec: RolloutSpec) -> Iterator[Problem]:
    if spec.notify is None:
        return
    webhook, path = spec.notify.webhook, "spec.notify.webhook"
    if not _SECRET.match(webhook.secret):
        yield Problem(f"{path}.secret", f"{webhook.secret!r} is no Secret's name: lower case letters, digits, - and .")
    if not _SECRET_KEY.match(webhook.key):
        yield Problem(f"{path}.key", f"{webhook.key!r} is no Secret's key: letters, digits, -, _ and .")

"""From the samples of the cohort counters to the counts that are judged. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from orchestrator import durations
from orchestrator.cohorts import CALIBRATION, ENOUGH_HISTORY, SLOWER, STARTS
from orchestrator_operator.rollout.model import Unreadable
from orchestrator_operator.rollout.statistics.evidence import Cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from orchestrator_operator.rollout.model import CohortKey
    from orchestrator_operator.rollout.reading.promql import Sample
    from orchestrator_operator.rollout.statistics.evidence import Cells
    from orchestrator_operator.specs.rollout import RolloutSpec

Group = tuple[str, str, str]  # assignment, criterion, age, as the labels spell them

METRIC = "orchestrator_cohort_outcomes_total"
_ALL = 100  # per cent
_SHOWN = 300  # characters of what somebody else has written
_EXACT = 2**53  # beyond it a double skips whole numbers
_FIELDS = {("v1", "bad"): 0, ("v1", "good"): 1, ("v2", "bad"): 2, ("v2", "good"): 3}


@dataclass(frozen=True, slots=True)
class Counters:
    """The counters of an attempt, put in order; what cannot be understood spoils its own group only."""

    found: Mapping[Group, Mapping[Decimal, Sequence[int]]]
    spoiled: Mapping[Group, Unreadable]

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> Counters:
        """From the answer to `counters_query`."""
        found: defaultdict[Group, defaultdict[Decimal, list[int]]] = defaultdict(
            lambda: defaultdict(lambda: [0, 0, 0, 0])
        )
        spoiled: dict[Group, Unreadable] = {}
        for sample in samples:
            assignment, criterion, age = (sample.labels.get(name, "") for name in ("assignment", "criterion", "age"))
            group = (assignment, criterion, age)
            try:
                place = _FIELDS[sample.labels["engine"], sample.labels["outcome"]]
                counts = found[group][_percent(sample.labels["percent"])]
                counts[place] = max(counts[place], _whole(sample.value))  # two jobs may scrape the same operator
            except (KeyError, ValueError) as error:
                labels = f"{dict(sample.labels)}"[:_SHOWN]
                spoiled[group] = Unreadable("NotANumber", f"{labels} = {sample.value}: {error}"[: 2 * _SHOWN])
        return cls(found, spoiled)

    def cohorts(self, spec: RolloutSpec) -> dict[CohortKey, Cells | Unreadable]:
        """Each preset's counts at each age. A pair without any series is Unreadable: the operator exports zeros."""
        return {key: self._cells(key[0], key[1]) for key in cohort_keys(spec)}

    def starts(self, spec: RolloutSpec) -> Cells | Unreadable:
        """Executions that the coin sent to V1 and V2, as good ones, each from its first age on."""
        return self._cells(STARTS, spec.analysis.ages[0])

    def keyed(self, spec: RolloutSpec, share: Decimal) -> int:
        """Executions that a routing key sent while V2's share was `share`."""
        group = ("key", STARTS, durations.show(spec.analysis.ages[0]))
        return sum(self.found.get(group, {}).get(share, ()))

    def calibration(self, spec: RolloutSpec) -> Cells | Unreadable:
        """V1's failures at the middle age: its first arm as if it were V1, its second as if it were V2."""
        age = spec.analysis.middle_age
        first, second = (self._cells(arm, age) for arm in CALIBRATION)
        if isinstance(first, Unreadable):
            return first
        if isinstance(second, Unreadable):
            return second
        as_v1, as_v2 = ({cell.percent: cell for cell in cells} for cells in (first, second))
        return tuple(
            Cell(percent, one.bad_v1, one.good_v1, other.bad_v1, other.good_v1)
            for percent in sorted(as_v1.keys() | as_v2.keys())
            for one, other in [(as_v1.get(percent, Cell(percent)), as_v2.get(percent, Cell(percent)))]
        )

    def _cells(self, criterion: str, age: timedelta) -> Cells | Unreadable:
        group = ("execution", criterion, durations.show(age))
        return self.spoiled.get(group) or _cells(self.found.get(group), group)


def ages_beside(spec: RolloutSpec) -> tuple[str, str]:
    """At which ages the starts and V1 against V1 are read."""
    return durations.show(spec.analysis.ages[0]), durations.show(spec.analysis.middle_age)


def cohort_keys(spec: RolloutSpec) -> list[CohortKey]:
    """What is compared: each preset at each age. A counter of a user's own is read in another way."""
    presets = [str(criterion.preset) for criterion in spec.comparisons if criterion.preset is not None]
    return [(preset, age) for preset in presets for age in spec.analysis.ages]


def without_history(
    readings: Mapping[CohortKey, Cells | Unreadable], executions: Iterable[int]
) -> dict[CohortKey, Cells | Unreadable]:
    """The readings, but where no workflow has a baseline nothing can be slower than it: that is no blindness.

    `executions` are those that each workflow had on V1 in the week before the attempt.
    """
    if any(count >= ENOUGH_HISTORY for count in executions):
        return dict(readings)
    why = Unreadable(
        "NoBaseline",
        f"no workflow had {ENOUGH_HISTORY} executions on V1 in the seven days before this attempt: "
        "there is no duration to compare with",
    )
    return {key: why if key[0] == SLOWER else cells for key, cells in readings.items()}


def _percent(text: str) -> Decimal:
    try:
        percent = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is no percent") from None
    if not percent.is_finite() or not 0 <= percent <= _ALL:
        raise ValueError(f"{text!r} is no percent")
    return percent


def _whole(number: float) -> int:
    if not math.isfinite(number) or not 0 <= number <= _EXACT:
        raise ValueError("not a count")
    return round(number)


def _cells(found: Mapping[Decimal, Sequence[int]] | None, group: Group) -> Cells | Unreadable:
    if not found:
        _, name, age = group
        return Unreadable("NoSeries", f"Prometheus has no {METRIC} of {name} at {age}; does it scrape the operator?")
    return tuple(Cell(percent, *counts) for percent, counts in sorted(found.items()))

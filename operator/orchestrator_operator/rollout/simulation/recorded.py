"""From the recorded history of the cohort counters to the rows of a replay. Pure; adapters/prometheus_history asks.

The counters begin at zero with their attempt. So a series that appears counts from zero on, one that stood there when
the history begins counts from what it then was, and one that is gone, or lower than it was, could not be read: what it
grew by meanwhile comes with the next interval that can be.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from orchestrator import durations
from orchestrator.errors import InvalidInput, Problem
from orchestrator_operator.rollout.reading.promql import selector
from orchestrator_operator.rollout.simulation.history import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from orchestrator_operator.specs.rollout import Criterion, RolloutSpec

_METRIC = "orchestrator_cohort_outcomes_total"
_FIELDS = {("v1", "bad"): 0, ("v1", "good"): 1, ("v2", "bad"): 2, ("v2", "good"): 3}

Values = list[float | None]  # one for each moment; None: no sample
_Place = tuple[Decimal, int]  # the percent, and which of the four counts


@dataclass(frozen=True, slots=True)
class Recorded:
    """One series at the moments of the history."""

    labels: Mapping[str, str]
    values: Values


@dataclass(slots=True)
class _Pair:
    """A criterion at an age: its counters, and what has been told of them."""

    criterion: Criterion
    age: timedelta
    counters: dict[_Place, Values] = field(default_factory=dict)
    told: dict[_Place, float] = field(default_factory=dict)


def query(attempt: str | None) -> str:
    """All counters of judged executions, each once however many pods export it."""
    labels = {"assignment": "execution"} | ({"attempt": attempt} if attempt else {})
    return f"max without (pod, instance) ({selector(_METRIC, labels)})"


def one_attempt(series: Sequence[Recorded]) -> None:
    """Raise InvalidInput unless all series are of the same attempt: two rollouts are not one experiment."""
    attempts = sorted({item.labels.get("attempt", "") for item in series})
    if not attempts:
        message = f"Prometheus has no {_METRIC} in that time; was the operator scraped, and did a rollout run?"
        raise InvalidInput([Problem("--prometheus", message)])
    if len(attempts) > 1:
        raise InvalidInput([Problem("--attempt", f"there are several in that time, name one: {', '.join(attempts)}")])


def rows(series: Iterable[Recorded], spec: RolloutSpec, moments: Sequence[datetime]) -> tuple[Row, ...]:
    """What was counted between two moments, for each pair of a criterion and an age that the spec compares."""
    pairs = _pairs(series, spec)
    for pair in pairs:
        pair.told = {place: values[0] or 0.0 for place, values in pair.counters.items()}
    return tuple(
        row for index in range(1, len(moments)) for pair in pairs for row in _between(pair, index, moments[index - 1])
    )


def _pairs(series: Iterable[Recorded], spec: RolloutSpec) -> list[_Pair]:
    found = {
        (str(criterion.preset), durations.show(age)): _Pair(criterion, age)
        for criterion in spec.comparisons
        if criterion.preset
        for age in spec.analysis.ages
    }
    for item in series:
        pair = found.get((item.labels.get("criterion", ""), item.labels.get("age", "")))
        place = _place(item.labels)
        if pair is None or place is None:
            continue
        before = pair.counters.get(place)
        pair.counters[place] = item.values if before is None else _larger(before, item.values)
    return [pair for pair in found.values() if pair.counters]


def _between(pair: _Pair, index: int, start: datetime) -> Iterator[Row]:
    """The rows of one interval: one for each percent at which something was counted, at least one in all."""
    now = {place: values[index] for place, values in pair.counters.items()}
    lost = any(
        value is None and any(earlier is not None for earlier in pair.counters[place][:index])
        for place, value in now.items()
    )
    lower = any(value is not None and value < pair.told[place] for place, value in now.items())
    latest = max((percent for (percent, _), told in pair.told.items() if told), default=min(p for p, _ in now))
    if lost or lower:
        yield Row(0, start, pair.criterion, pair.age, latest, None)
        return
    grown: defaultdict[Decimal, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for place, value in now.items():
        if value is not None:
            percent, which = place
            grown[percent][which] += round(value - pair.told[place])
            pair.told[place] = value
    spoken = [percent for percent, counts in sorted(grown.items()) if any(counts)] or [latest]
    for percent in spoken:
        bad1, good1, bad2, good2 = grown[percent]
        yield Row(0, start, pair.criterion, pair.age, percent, (bad1 + good1, bad1, bad2 + good2, bad2))


def _place(labels: Mapping[str, str]) -> _Place | None:
    try:
        return Decimal(labels["percent"]), _FIELDS[labels["engine"], labels["outcome"]]
    except (KeyError, InvalidOperation):
        return None


def _larger(one: Values, other: Values) -> Values:
    """Two jobs may scrape the same operator: each count is the larger one."""
    return [
        max((value for value in both if value is not None and math.isfinite(value)), default=None)
        for both in zip(one, other, strict=True)
    ]

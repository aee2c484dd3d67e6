"""What is asked of Prometheus, and what its answers may not be. Pure; what cannot be understood is Unreadable."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from orchestrator import durations
from orchestrator.cohorts import STARTS
from orchestrator_operator.rollout.model import Restart, Unreadable
from orchestrator_operator.rollout.reading.counters import METRIC, cohort_keys
from orchestrator_operator.rollout.reading.promql import selector
from orchestrator_operator.rollout.statistics import evidence
from orchestrator_operator.specs.rollout_words import Preset

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from typing import Any

    from orchestrator_operator.rollout.model import CohortKey
    from orchestrator_operator.rollout.reading.promql import Sample
    from orchestrator_operator.rollout.statistics.evidence import Cells
    from orchestrator_operator.specs.rollout import Criterion, RolloutSpec
    from orchestrator_operator.specs.rollout_status import RolloutStatus

_WINDOW = "[5m:5s]"  # over which a guardrail's own share is taken


def counters_query(attempt: str) -> str:
    """All counters that are judged of an attempt, and the starts by key: each once however many pods export it."""
    by_key = {"attempt": attempt, "assignment": "key", "criterion": STARTS}
    return f"max without (pod, instance) ({_of_attempt(attempt)} or {selector(METRIC, by_key)})"


def age_query(attempt: str) -> str:
    """How old, in seconds of Prometheus' own clock, the oldest of these counters is."""
    return f"time() - min(max without (pod, instance) (timestamp({_of_attempt(attempt)})))"


def guardrail_query(criterion: Criterion, spec: RolloutSpec, attempt: str) -> str:
    """What a guardrail asks. A person's own expression is taken whole, but for `$engine`.

    The preset is the share of V2's executions of the last minutes that had a slow checkpoint; 0 without any.
    """
    if criterion.query is not None:
        return criterion.query.replace("$engine", "v2")
    labels = {"criterion": Preset.SLOW_CHECKPOINTS.value, "engine": "v2", "attempt": attempt}
    labels["age"] = durations.show(spec.analysis.ages[0])

    def grown(more: dict[str, str]) -> str:
        return f"sum(increase((max without (pod, instance) ({selector(METRIC, labels | more)})){_WINDOW}))"

    return f"{grown({'outcome': 'bad'})} / clamp_min({grown({})}, 1)"


def own_selector(expression: str, engine: str) -> str:
    """A user's own counter, of one engine. What else stands in it was checked when the spec was read."""
    return expression.replace("$engine", engine)


def value(samples: Sequence[Sample]) -> float | Unreadable:
    """A guardrail's value: the largest of its samples."""
    if not samples:
        return Unreadable("NoSeries", "the query gives no series")
    largest = max(sample.value for sample in samples) if all(math.isfinite(s.value) for s in samples) else math.nan
    if math.isnan(largest):
        return Unreadable("NotANumber", f"the query gives {[sample.value for sample in samples][:3]}, not a number")
    return largest


def unread(spec: RolloutSpec, why: Unreadable) -> dict[CohortKey, Cells | Unreadable]:
    """Nothing could be read at all."""
    return dict.fromkeys(cohort_keys(spec), why)


def without_resets(
    readings: Mapping[CohortKey, Cells | Unreadable],
    restarts: Iterable[Restart],
    status: RolloutStatus,
    spec: RolloutSpec,
) -> dict[CohortKey, Cells | Unreadable]:
    """The readings, but what has gone down since it was last seen is Unreadable: it would be false evidence.

    "Seen" are the totals kept at each restart and those in the status, which outlives a database that was restored.
    """
    kept = tuple(restarts)
    return {
        key: cells if isinstance(cells, Unreadable) else _unless_reset(key, cells, kept, status, spec)
        for key, cells in readings.items()
    }


def unless_lower(what: str, cells: Cells | Unreadable, before: Sequence[int] | None) -> Cells | Unreadable:
    """The reading of something that is no comparison, but Unreadable where it is lower than it was `before`: as
    `evidence.totals` has it, out of the status.
    """
    if isinstance(cells, Unreadable) or before is None:
        return cells
    now = evidence.totals(cells)
    if all(new >= old for new, old in zip(now, before, strict=True)):
        return cells
    return _reset(f"{what} went down from {tuple(before)} to {now} (k1, n1, k2, n2)")


def dump(restart: Restart) -> dict[str, Any]:
    """The totals of a restart as JSON, by `preset@age`."""
    return {f"{preset}@{durations.show(age)}": evidence.dump(cells) for (preset, age), cells in restart.cohorts.items()}


def load(index: int, at: datetime, raw: Mapping[str, Any]) -> Restart:
    """What `dump` made; raises ValueError if it is something else."""
    found: dict[CohortKey, Cells] = {}
    for key, cells in raw.items():
        preset, _, age = key.rpartition("@")
        found[preset, durations.parse(age)] = evidence.load(cells)
    return Restart(index, at, found)


def _of_attempt(attempt: str) -> str:
    return selector(METRIC, {"attempt": attempt, "assignment": "execution"})


def _unless_reset(
    key: CohortKey, cells: Cells, restarts: Sequence[Restart], status: RolloutStatus, spec: RolloutSpec
) -> Cells | Unreadable:
    try:
        for restart in restarts:
            evidence.since(cells, restart.cohorts.get(key, ()))
        _since_status(key, cells, status, spec)
    except ValueError as error:
        return _reset(str(error))
    return cells


def _reset(what: str) -> Unreadable:
    more = "was the database restored? To begin with fresh counters, abort and raise spec.attempt"
    return Unreadable("CounterReset", f"{what}; {more}")


def _since_status(key: CohortKey, cells: Cells, status: RolloutStatus, spec: RolloutSpec) -> None:
    preset, age = key
    names = {criterion.name for criterion in spec.comparisons if criterion.preset == preset}
    for seen in status.criteria:
        if seen.name not in names or seen.age != durations.show(age) or seen.k1 is None:
            continue
        before = (seen.k1, seen.n1 or 0, seen.k2 or 0, seen.n2 or 0)
        now = evidence.totals(cells)
        if any(new < old for new, old in zip(now, before, strict=True)):
            raise ValueError(f"{preset} at {seen.age} went down from {before} to {now} (k1, n1, k2, n2)")

"""Is V1 itself worse than before the rollout? V2 may be eating what both share, which no ratio can see. Pure.

A heuristic, and it says so: bad executions come in clusters, and weeks differ. The share of the last hour against that
of the week before the rollout, workflow by workflow, and over all of them with each expected at its own share (indirect
standardisation: a different mix of workflows is no degradation). More than twice, with at least 20 bad ones, and more
than chance gives once in a million hours even if they came one by one: of ten bad ones an hour, twenty come by chance
about once in four weeks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import bdtrc

from orchestrator_operator.rollout.model import Alarm
from orchestrator_operator.rollout.wording import show_share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from orchestrator_operator.rollout.model import Health

    Mask = NDArray[np.bool_]

_TIMES = 2.0
_LEAST = 20
_CHANCE = 1e-6


def degraded(bad: ArrayLike, expected: ArrayLike, known_by: ArrayLike) -> Mask:
    """Whether an hour with so many bad ones is worse than `expected`, which rests on `known_by` bad ones; any shape.

    The chance is that of so many or more if the share is still the old one: given how many there were in the week and
    in the hour together, the hour's are binomial (Przyborowski & Wilenski 1940).
    """
    found, usual, known = (np.asarray(given, dtype=np.float64) for given in (bad, expected, known_by))
    chance = bdtrc(found - 1, (found + known).astype(np.int64), usual / (usual + known))
    return np.asarray((found >= _LEAST) & (found > _TIMES * usual) & (chance < _CHANCE), dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class _Hour:
    """Bad executions of the last hour, and how many the week before lets one expect."""

    name: str
    bad: int
    executions: int
    expected: float
    known_by: int  # the bad executions that the expectation rests on, at least 1

    @property
    def degraded(self) -> bool:
        return bool(degraded(self.bad, self.expected, self.known_by))


def alarm(health: tuple[Health, ...]) -> Alarm | None:
    """SharedDegradation, if one workflow or all together are; a workflow without a week of history is not counted."""
    worse = next((hour for hour in _hours(health) if hour.degraded), None)
    if worse is None:
        return None
    return Alarm(
        "SharedDegradation",
        f"V1 itself is worse than before the rollout: in the last hour {worse.bad} of {worse.executions}"
        f"{show_share(worse.bad, worse.executions)} of {worse.name} were bad, where the week before lets one expect "
        f"{worse.expected:.3g}; V2 may be taking what both need. A heuristic: look at what they share",
    )


def _hours(health: tuple[Health, ...]) -> Iterator[_Hour]:
    """All together first, then each by itself."""
    each = [
        _Hour(item.workflow_id, item.bad_now, item.all_now, item.all_now * before / item.all_before, before)
        for item in health
        if item.all_before
        for before in [max(item.bad_before, 1)]
    ]
    if len(each) > 1:
        yield _Hour(
            "all workflows",
            sum(hour.bad for hour in each),
            sum(hour.executions for hour in each),
            sum(hour.expected for hour in each),
            sum(hour.known_by for hour in each),
        )
    yield from each

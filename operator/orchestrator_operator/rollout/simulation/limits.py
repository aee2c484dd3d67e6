"""How soon any rule can know: the information limit. Pure.

A V2 that fails r times as often at the share p shows that, per failure which V1 alone would have had, by
p·(r ln r - r + 1): the divergence of the failures' coin and that of the extra failures together. A rule that rolls a
healthy V2 back with probability alpha needs ln(1/alpha) of it on average (Wald 1945; for tests of power one Farrell
1964). It may know everything: V1's share of failures, r, and when V2 became worse.

The coin alone, which trusts no hour to be like the last one, has less: (1 - p + pr)·KL(q || p), q = pr/(pr + 1 - p).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from orchestrator_operator.rollout.simulation.world import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from orchestrator_operator.rollout.simulation.traffic import Traffic
    from orchestrator_operator.specs.rollout import RolloutSpec

    Floats = NDArray[np.float64]

_HOUR = 3600.0  # seconds


def limit_hours(load: float, base: float, percent: float, factor: float, alpha: float, share: float = 1.0) -> float:
    """The limit in a world that is always the same: hours until V2 is seen to fail `factor` times as often.

    `load` executions an hour, of which V1 fails the share `base`; `share` is the part w of the error level `alpha`.
    """
    return -math.log(share * alpha) / (load * base * information(percent, factor))


def information(percent: float, factor: float) -> float:
    """Nats for each failure that V1 alone would have had: of the coin and of the extra failures."""
    return percent / 100 * (factor * math.log(factor) - factor + 1)


def coin_information(percent: float, factor: float) -> float:
    """The same of the coin alone; `percent` lies between 0 and 100."""
    p = percent / 100
    bad = 1 - p + p * factor
    q = p * factor / bad
    return bad * (q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p)))


def own_limit_hours(traffic: Traffic, spec: RolloutSpec, factor: float, log_needed: float) -> Floats:
    """The limit in each run's own traffic, which comes and fails more at some hours than at others: (runs,).

    From the onset on, of the failures that the middle age sees, at the planned percents. Infinite where the planned
    time does not suffice.
    """
    ends = np.cumsum([stage.duration.total_seconds() for stage in spec.stages])
    onset = traffic.world.harm.onset.total_seconds() if traffic.world.harm else 0.0
    seconds = traffic.seconds
    found: Floats = np.zeros(traffic.runs)
    reached: Floats = np.full(traffic.runs, math.inf)
    for step in range(math.ceil(onset / seconds), math.ceil(float(ends[-1]) / seconds)):
        stage = min(int(np.searchsorted(ends, step * seconds, side="right")), len(ends) - 1)
        v1, _ = traffic.rates(step)
        failing = v1[:, [Kind.FAILS_AT_ONCE, Kind.FAILS_SOON]].sum(axis=1)
        more = traffic.expected(step) * failing * information(float(spec.stages[stage].share), factor)
        part = np.divide(log_needed - found, more, out=np.full_like(more, math.inf), where=more > 0)
        now = np.isinf(reached) & (part <= 1)
        reached[now] = ((step + part[now]) * seconds - onset) / _HOUR
        found += more
        if np.isfinite(reached).all():
            break
    return reached

"""What anybody else's rule would have seen: the same worlds on the plan's own schedule, whatever is decided. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from orchestrator_operator.rollout.simulation.counting import Counting
from orchestrator_operator.rollout.simulation.traffic import Traffic

if TYPE_CHECKING:
    from datetime import timedelta

    from numpy.typing import NDArray

    from orchestrator_operator.rollout.model import CohortKey
    from orchestrator_operator.rollout.simulation.world import World
    from orchestrator_operator.specs.rollout import RolloutSpec

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Followed:
    """The counts of one criterion at one age, (runs, intervals) each: n executions, k bad ones; 1 is V1, 2 is V2."""

    step: timedelta
    percent: Floats  # (intervals,): V2's share of what began then
    n1: Ints
    k1: Ints
    n2: Ints
    k2: Ints
    blind: Mask  # Prometheus is away


def follow(
    world: World, spec: RolloutSpec, key: CohortKey, *, runs: int, step: timedelta, seed: int, until: timedelta
) -> Followed:
    """`runs` copies of a world from the start `until` a moment, on the planned stages without extensions."""
    steps = int(until / step)
    traffic = Traffic(world, runs, steps, step, np.random.default_rng([seed, 1]))
    counting = Counting(spec, runs, step)
    pair = counting.keys.index(key)
    stages = np.repeat(np.arange(len(spec.stages)), [int(stage.duration / step) for stage in spec.stages])[:steps]
    percents = np.array([float(stage.share) for stage in spec.stages])[stages]
    columns = np.zeros((4, runs, len(stages)), dtype=np.int64)
    for index, stage in enumerate(stages):
        begun = traffic.draw(index, np.full(runs, percents[index] / 100))
        grown = counting.count(index, np.full(runs, stage), begun)
        found = (grown.bad_v1, grown.good_v1, grown.bad_v2, grown.good_v2)
        columns[:, :, index] = [counts[:, pair] for counts in found]
    bad1, good1, bad2, good2 = columns
    return Followed(step, percents, bad1 + good1, bad1, bad2 + good2, bad2, np.asarray(traffic.blind[:, : len(stages)]))

"""What a rival sees of a simulated world: the failures of both engines, bin by bin, on the plan of the spec.

The same world as the controller is scored in, other copies of it: a rival's trace follows the plan, while the
controller's own percent follows its decisions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from orchestrator_operator.rollout.simulation.counting import Counting
from orchestrator_operator.rollout.simulation.score import factor_of
from orchestrator_operator.rollout.simulation.traffic import Traffic
from orchestrator_operator.specs.rollout_words import Preset

from tests.benchmarks.rollout.trace import Trace, plan

if TYPE_CHECKING:
    from datetime import timedelta

    from orchestrator_operator.rollout.simulation.world import World
    from orchestrator_operator.specs.rollout import RolloutSpec


def seen(world: World, spec: RolloutSpec, *, runs: int, step: timedelta, seed: int) -> Trace:
    """The criterion `failures` at the middle age, as the controller counts it: no late success is missed by it."""
    seconds = step.total_seconds()
    percent = plan([(float(stage.share), stage.duration.total_seconds()) for stage in spec.stages], seconds)
    lengths = [round(stage.duration / step) for stage in spec.stages]
    stages = np.repeat(np.arange(len(lengths)), lengths)
    traffic = Traffic(world, runs, len(percent), step, np.random.default_rng([seed, 1]))
    counting = Counting(spec, runs, step)
    pair = counting.keys.index((str(Preset.FAILURES), spec.analysis.middle_age))
    counts = np.zeros((4, runs, len(percent)), dtype=np.int64)
    for place, (stage, share) in enumerate(zip(stages, percent / 100, strict=True)):
        grown = counting.count(place, np.full(runs, stage), traffic.draw(place, np.full(runs, share)))
        both = (grown.bad_v1, grown.good_v1, grown.bad_v2, grown.good_v2)
        counts[:, :, place] = [counted[:, pair] for counted in both]
    bad_v1, good_v1, bad_v2, good_v2 = counts
    return Trace(
        world.name,
        seconds,
        percent,
        n1=bad_v1 + good_v1,
        k1=bad_v1,
        n2=bad_v2 + good_v2,
        k2=bad_v2,
        outage=traffic.blind if traffic.blind.any() else None,
        onset=world.harm.onset.total_seconds() if world.harm else None,
        effect=factor_of(world),
    )

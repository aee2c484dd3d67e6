"""What a rival sees of a simulated world: the failures of both engines, bin by bin, on the plan of the spec.

`Ensemble` with `on_plan`, the same runs, step and seed is given the very same executions, by all of its criteria.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
from orchestrator_operator.rollout.simulation.counting import V1, V2, Counting
from orchestrator_operator.rollout.simulation.traffic import Traffic
from orchestrator_operator.rollout.simulation.world import Kind
from orchestrator_operator.specs.rollout_words import Preset

from tests.benchmarks.rollout.trace import Trace, plan

if TYPE_CHECKING:
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
        effect=_effect(world),
    )


def _effect(world: World) -> float:
    """How many times as often V2 fails, by the middle age, as V1 did before the harm; 1 without a harm."""
    if world.harm is None:
        return 1.0
    calm = replace(world, incidents=0.0, tenant_incidents=0.0, batches=0.0, odds=0.0, daily=0.0)
    harmed = replace(calm, harm=replace(world.harm, onset=timedelta(0)))
    shares = []
    for engine, one in ((V1, replace(calm, harm=None)), (V2, harmed)):
        rates = Traffic(one, 1, 1, timedelta(hours=1), np.random.default_rng(0)).rates(0)[engine][0]
        bad = [Kind.FAILS_AT_ONCE, Kind.FAILS_SOON, *([Kind.TRANSIENT] if engine == V1 else [])]
        shares.append(float(rates[bad].sum()))
    return shares[V2] / shares[V1]

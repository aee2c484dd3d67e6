from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from orchestrator_operator.rollout.simulation.world import World, worse

from tests.benchmarks.rollout import our_worlds
from tests.benchmarks.rollout.seen import seen

QUIET = World("quiet", load=20_000.0, odds=0.0, incidents=0, tenant_incidents=0, batches=0)
STEP = timedelta(hours=2)


def test_a_rival_sees_the_worlds_failures_on_the_plan() -> None:
    world = replace(QUIET, harm=worse(3, timedelta(days=14)))
    found = seen(world, our_worlds.spec(), runs=4, step=STEP, seed=1)
    assert [stage.percent for stage in found.stages] == [5, 25, 50, 99]
    half = found.bins // 2
    # The middle age sees what fails at once or soon: 0.85 of all failures.
    before, after = (found.k2[:, part].sum() / found.n2[:, part].sum() for part in (slice(half), slice(half + 1, None)))
    assert (before, after) == (pytest.approx(0.0085, rel=0.1), pytest.approx(0.0255, rel=0.1))
    assert (found.onset, found.effect) == (14 * 86_400.0, 3.0)


def test_a_rival_sees_the_outages_of_the_world() -> None:
    found = seen(replace(QUIET, outages=timedelta(hours=6)), our_worlds.spec(), runs=3, step=STEP, seed=1)
    assert found.outage is not None
    assert found.outage.sum(axis=1).tolist() == [4 * 3] * 3


def test_a_world_without_outages_has_none() -> None:
    found = seen(QUIET, our_worlds.spec(), runs=2, step=STEP, seed=1)
    assert found.outage is None
    assert found.null
    assert np.array_equal(found.percent, np.repeat([5.0, 25.0, 50.0, 99.0], 84))

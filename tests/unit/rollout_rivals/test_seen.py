from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from orchestrator_operator.rollout.simulation.ensemble import Ensemble
from orchestrator_operator.rollout.simulation.world import Harm, World, worse

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


WORLDS = {
    "healthy": World("w", load=300.0, stalls=5),
    "with outages": World("w", load=300.0, outages=timedelta(hours=6), missed=0.1),
    "where most runs are rolled back early": World("w", load=300.0, harm=worse(20)),
    "with both arms harmed": World("w", load=300.0, harm=Harm(both=3.0)),
}


@pytest.mark.parametrize("name", WORLDS)
def test_a_rival_and_the_controller_are_given_the_very_same_executions(name: str) -> None:
    spec, runs = our_worlds.spec(), 5
    ensemble = Ensemble(WORLDS[name], spec, runs=runs, step=STEP, seed=3, on_plan=True)
    found = seen(WORLDS[name], spec, runs=runs, step=STEP, seed=3)
    pair = ensemble.counting.keys.index(("failures", timedelta(minutes=10)))
    done = 0
    while ensemble.look_at < ensemble.steps and ensemble.running.any():
        ensemble.advance()
        done += 1
    totals = ensemble.counting.totals[:, :, pair].sum(axis=1)  # b1, g1, b2, g2
    theirs = (found.k1, found.n1 - found.k1, found.k2, found.n2 - found.k2)
    assert totals.T.tolist() == [part[:, :done].sum(axis=1).tolist() for part in theirs]
    away = ensemble.traffic.blind if found.outage is None else found.outage
    assert np.array_equal(ensemble.traffic.blind, away)


def test_what_a_harm_adds_is_measured_by_the_metric_that_the_rivals_look_at() -> None:
    effects = {
        "x3": (worse(3.0), 3.0),
        "a bad host": (Harm(fails=0.025), 1 + 0.025 * (1 / 0.0085 - 1)),
        "both arms": (Harm(both=3.0), 3.0),
    }
    for harm, effect in effects.values():
        found = seen(replace(QUIET, harm=harm), our_worlds.spec(), runs=1, step=STEP, seed=1)
        assert found.effect == pytest.approx(effect)


def test_a_world_without_outages_has_none() -> None:
    found = seen(QUIET, our_worlds.spec(), runs=2, step=STEP, seed=1)
    assert found.outage is None
    assert found.null
    assert np.array_equal(found.percent, np.repeat([5.0, 25.0, 50.0, 99.0], 84))

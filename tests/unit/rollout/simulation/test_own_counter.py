"""The bins of many runs are judged as the controller judges a user's own counter."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
from orchestrator_operator.rollout.judging.comparisons import levels, planned_restarts
from orchestrator_operator.rollout.model import Bin
from orchestrator_operator.rollout.simulation.ensemble import Ensemble
from orchestrator_operator.rollout.simulation.outcomes import NEVER, nothing_yet
from orchestrator_operator.rollout.simulation.own_counter import OwnCounter
from orchestrator_operator.rollout.simulation.world import Kind, World, worse
from orchestrator_operator.rollout.statistics import normal_mixture

from tests.benchmarks.rollout import our_worlds

SPEC = our_worlds.spec(own=True)
ORDERS = SPEC.comparisons[-1]
STEP = timedelta(minutes=30)


def begun(rng: np.random.Generator, runs: int, risk: float) -> Any:
    """A quarter on V2, some intervals empty."""
    found = np.zeros((runs, 2, len(Kind)), dtype=np.int64)
    for engine, n, bad in ((0, 18, 0.2), (1, 6, 0.2 * risk)):
        found[:, engine, Kind.FINE] = rng.poisson(n * (1 - bad), runs) * (rng.random(runs) > 0.1)
        found[:, engine, Kind.FAILS_AT_ONCE] = rng.poisson(n * bad, runs)
    return found


def test_it_convicts_at_the_look_at_which_the_controller_would() -> None:
    rng, runs, looks = np.random.default_rng(3), 3, 250
    counter, bins = OwnCounter(SPEC, ORDERS, runs, looks, STEP), [[] for _ in range(runs)]
    for look in range(looks):
        now = begun(rng, runs, 3.0 if look > 120 else 1.0)
        counter.count(now)
        for run in range(runs):
            (n1, n2), (k1, k2) = now[run].sum(axis=1), now[run][:, Kind.FAILS_AT_ONCE]
            bins[run].append(Bin(int(k1), int(n1), int(k2), int(n2)))
    found = counter.convicted(np.zeros((runs, looks), dtype=np.bool_))
    level = levels(SPEC)[ORDERS.name, None] * SPEC.analysis.false_rollback
    day = round(timedelta(days=1) / STEP)
    for run in range(runs):
        logs = [
            normal_mixture.log_fail(
                bins[run][:end], {s: s * day for s in range(1, -(-end // day))}, planned_restarts(SPEC), 1.0, level
            )
            for end in range(1, looks + 1)
        ]
        first = next(end for end, log_e in enumerate(logs, start=1) if log_e >= math.log(1 / level))
        assert first > 120
        assert found[run] == first * STEP.total_seconds()


def test_a_look_that_is_missed_convicts_nobody() -> None:
    counter = OwnCounter(SPEC, ORDERS, 1, 100, STEP)
    rng = np.random.default_rng(1)
    for _ in range(100):
        counter.count(begun(rng, 1, 4.0))
    seen = counter.convicted(np.zeros((1, 100), dtype=np.bool_))[0]
    missed = np.arange(100)[None, :] < seen / STEP.total_seconds()
    assert counter.convicted(missed)[0] == seen + STEP.total_seconds()


def test_it_ends_the_runs_that_had_not_ended_before() -> None:
    out = nothing_yet(3, 1800.0, (("failures", STEP),), np.zeros((3, 2), dtype=np.bool_))
    out.rolled_back[:], out.completed[:] = [7200, NEVER, NEVER], [NEVER, 9000, 3600]
    out.convicted_by[0] = 0
    out.convicted_as_well("orders", np.array([9000.0, 5400.0, 5400.0]))
    assert out.rolled_back.tolist() == [7200, 5400, NEVER]
    assert out.completed.tolist() == [NEVER, NEVER, 3600]
    assert out.convicted_by.tolist() == [0, 1, NEVER]


def test_with_a_counter_of_ones_own_a_worse_v2_is_convicted_no_later_and_a_healthy_one_not_at_all() -> None:
    world = World("x8", load=50, base=0.05, batches=0, harm=worse(8))
    found = Ensemble(world, SPEC, runs=30, step=STEP, seed=1, own=True).run()
    assert (found.rolled_back != NEVER).all()
    without = Ensemble(world, SPEC, runs=30, step=STEP, seed=1).run()
    assert (found.rolled_back <= without.rolled_back).all()
    healthy = Ensemble(replace(world, harm=None), SPEC, runs=30, step=STEP, seed=1, own=True).run()
    assert (healthy.rolled_back == NEVER).all()

"""Score the controller in every world, and let its own judge and plan check a few runs of each."""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from orchestrator_operator.rollout.simulation.agreement import rehearsed
from orchestrator_operator.rollout.simulation.ensemble import Ensemble
from orchestrator_operator.rollout.simulation.handful import executions_to_convict
from orchestrator_operator.rollout.simulation.levels import log_threshold, share
from orchestrator_operator.rollout.simulation.limits import coin_information, information, limit_hours, own_limit_hours
from orchestrator_operator.rollout.simulation.outcomes import NEVER
from orchestrator_operator.rollout.simulation.score import factor_of, quantile, score
from orchestrator_operator.rollout.simulation.world import MIX, Kind

from tests.benchmarks import machine
from tests.benchmarks.rollout import our_worlds

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator_operator.specs.rollout import RolloutSpec

    from tests.benchmarks.rollout.our_worlds import Setting

NULL_RUNS, HARM_RUNS = 2_000, 400
OUTAGE_RUNS = 5  # times as many of a total outage: its 99 % are of runs in which V1 has hardly any executions
CHECKED = (
    "1,000/h, 1 %",
    "Prometheus away 6 h a week",
    "a slow disk, ten times a week",
    "the operator restarts all the time",
    "long steps: a third take hours, 2 % over a day",
    "stands still for good, one in 200",
    "1,000/h x2",
    "x5 from day 10",
)
_SEEN = MIX[Kind.FAILS_AT_ONCE] + MIX[Kind.FAILS_SOON]  # of the failures, at the middle age
_PERCENTS = (5, 25, 50, 99)
_HOUR = 3600.0


def run(tell: Callable[[str], None], scale: float = 1.0, seed: int = 1, processes: int = 0) -> dict[str, Any]:
    """All worlds, so many at a time (0: one on each core); `scale` makes the runs fewer. Rows of JSON, one a world."""
    healthy, harmful = (max(20, round(runs * scale)) for runs in (NULL_RUNS, HARM_RUNS))
    works = [(setting, healthy, seed) for setting in our_worlds.healthy()]
    works += [(setting, harmful, seed) for setting in our_worlds.harmful()]
    rows = []
    processes = processes or len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for row in pool.map(_scored, works):
            rows.append(row)
            tell(f"{row['name']}: {_told(row)}")
    return {
        "machine": machine.describe(),
        "seed": seed,
        "rows": rows,
        "handful": handful(our_worlds.spec(), OUTAGE_RUNS * max(200, healthy), seed),
    }


def _scored(work: tuple[Setting, int, int]) -> dict[str, Any]:
    """In a process of its own."""
    setting, runs, seed = work
    row = one(setting.spec, setting, runs, seed)
    if setting.world.name in CHECKED:
        row["differences"] = disagreements(our_worlds.spec(), setting, seed)
    return row


def one(spec: RolloutSpec, setting: Setting, runs: int, seed: int) -> dict[str, Any]:
    """One world's row."""
    world, began = setting.world, time.perf_counter()
    ensemble = Ensemble(world, spec, runs=runs, step=setting.step, seed=seed, own=setting.own)
    found = score(world, ensemble.run())
    row = {
        "name": world.name,
        "group": setting.group,
        "load": world.load,
        "base": world.base,
        "stepMinutes": setting.step.total_seconds() / 60,
        **found.described(),
        "seconds": time.perf_counter() - began,
    }
    factor = factor_of(world)
    if setting.group in {"effect", "onset"}:
        row |= _limit(spec, setting, factor, found.hours.median)
        row["ratioOfOwn"] = _ratio_of_own(ensemble, factor)
    return row


def disagreements(spec: RolloutSpec, setting: Setting, seed: int, runs: int = 1) -> list[str]:
    """What judge() and plan() themselves decide otherwise on the same counts, look by look; none is expected."""
    ensemble = Ensemble(setting.world, spec, runs=runs, step=setting.step, seed=seed)
    return list(rehearsed(ensemble, range(runs), every=setting.step))


def handful(spec: RolloutSpec, runs: int, seed: int) -> list[dict[str, Any]]:
    """How many of V2's executions a total outage takes, by the percent, at the middle age of `failures`."""
    threshold = log_threshold(spec, spec.comparisons[0], spec.analysis.middle_age)
    rows = []
    for percent in _PERCENTS:
        needed = executions_to_convict(
            Decimal(percent), base=0.01, threshold=threshold, planned=28, runs=runs, most=1200, seed=seed
        )
        quantiles = (int(quantile(needed, part)) for part in (0.5, 0.99))
        rows.append({"percent": percent, "runs": runs, **dict(zip(("median", "p99"), quantiles, strict=True))})
    return rows


def _limit(spec: RolloutSpec, setting: Setting, factor: float, median: float) -> dict[str, Any]:
    """The information limit at the percent of the onset, of the failures that the middle age sees, at its level."""
    world = setting.world
    onset = world.harm.onset if world.harm else None
    weeks = 0 if onset is None else min(int(onset.days // 7), len(spec.stages) - 1)
    criterion, age = spec.comparisons[0], spec.analysis.middle_age
    limit = limit_hours(
        world.load,
        world.base * _SEEN,
        float(spec.stages[weeks].share),
        factor,
        spec.analysis.false_rollback,
        share(spec, criterion, age),
    )
    percent = float(spec.stages[weeks].share)
    return {
        "limitHours": limit,
        "ratio": median / limit if np.isfinite(median) else None,
        "ageMinutes": age.total_seconds() / 60,
        "coinLimitHours": limit * information(percent, factor) / coin_information(percent, factor),
    }


def _ratio_of_own(ensemble: Ensemble, factor: float) -> float | None:
    """The median of each run's delay over the limit in its own traffic; None where most never came to it."""
    spec, harm = ensemble.spec, ensemble.world.harm
    onset = harm.onset.total_seconds() if harm else 0.0
    needed = log_threshold(spec, spec.comparisons[0], spec.analysis.middle_age)
    limits = own_limit_hours(ensemble.traffic, spec, factor, needed)
    rolled_back = ensemble.outcomes.rolled_back
    counted = (rolled_back == NEVER) | (rolled_back > onset)
    delays = np.where(rolled_back == NEVER, np.inf, (rolled_back - onset) / _HOUR)
    ratios = np.divide(delays, limits, out=np.full_like(limits, np.inf), where=np.isfinite(limits))
    found = quantile(ratios[counted], 0.5)
    return found if np.isfinite(found) else None


def _told(row: dict[str, Any]) -> str:
    back, hours = row["rolledBack"], row["hoursToRollBack"]["median"]
    after = "" if hours is None else f", median {hours:.1f} h"
    return f"rolled back {back['count']} of {back['runs']}{after} ({row['seconds']:.0f} s)"

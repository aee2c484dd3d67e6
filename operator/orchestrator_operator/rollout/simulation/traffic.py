"""What happens in many copies of a world, interval by interval. Pure: all chance comes from the generator handed in.

Executions arrive by a Poisson process whose rate follows the time of day, so the number of each kind on each engine is
a Poisson number of its own rate: tenants, incidents and harms only move these rates. Exact, and no execution is drawn
one by one. Batches are drawn whole, and split by the coin.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from orchestrator_operator.rollout.simulation.world import FAILING, MIX, Kind

if TYPE_CHECKING:
    from datetime import timedelta

    from numpy.typing import NDArray

    from orchestrator_operator.rollout.simulation.world import World

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

_HOUR, _DAY, _WEEK = 3600.0, 86_400.0, 604_800.0  # seconds
_SHARED, _TENANT, _STALL = 3600.0, 7200.0, 180.0  # seconds that an incident lasts on average
_HALF = 0.5  # of the tenant's executions fail in its incident
_MOST = 0.9  # of all executions fail in the worst of worlds
_STEADY = [Kind.SLOW, Kind.LONG, Kind.LONG_SLOW]  # not for tenants, hours and incidents to change


class Traffic:
    """The accidents of `runs` copies of a world over `steps` intervals, and the counts that follow."""

    def __init__(self, world: World, runs: int, steps: int, step: timedelta, rng: np.random.Generator) -> None:
        self.world, self.runs, self._rng = world, runs, rng
        self.seconds, self._steps = step.total_seconds(), steps
        self._onset = world.harm.onset.total_seconds() if world.harm else math.inf
        popularity = 1.0 / np.arange(1, world.tenants + 1) ** world.zipf
        self.popularity = popularity / popularity.sum()
        self._kinds, self._mix = self._base_rates(), self._mixes()
        self._worse = np.ones((runs, steps), dtype=np.float32)  # how many times as often everything fails
        self._extra = np.zeros((runs, steps), dtype=np.float32)  # share of all that fails on top
        self._batch = np.zeros((runs, steps), dtype=np.int32)  # executions that come at once, all failing
        self.stalled = np.zeros((runs, steps), dtype=np.bool_)
        self._accidents()
        phase = rng.random(runs) * _DAY
        self._phase = phase if world.daily else np.zeros(runs)
        self.blind = self._outages()
        self.missed = rng.random((runs, steps)) < world.missed

    def rates(self, step: int) -> tuple[Floats, Floats]:
        """How likely each kind is in this interval, on V1 and V2: (runs, kinds) each, rows sum to 1."""
        v1 = self._on_v1(step)
        v2 = v1.copy()
        harm = self.world.harm
        if harm is not None and step * self.seconds >= self._onset:
            for arm in (v1, v2):
                arm[:, FAILING] *= harm.both
            for kind, times in harm.times.items():
                v2[:, kind] *= times
            v2 *= 1 - harm.fails - harm.stops
            v2[:, Kind.FAILS_AT_ONCE] += harm.fails
            v2[:, Kind.STOPS] += harm.stops
        for arm in (v1, v2):
            arm[:, Kind.FINE] = 0.0
            total = arm.sum(axis=1, keepdims=True)
            most = 1.0 if harm is not None and harm.fails else _MOST
            np.divide(arm, np.maximum(total / most, 1.0), out=arm)
            arm[:, Kind.FINE] = 1.0 - arm.sum(axis=1)
        return v1, v2

    def _on_v1(self, step: int) -> Floats:
        """How likely each kind is without a harm: (runs, kinds), an array of the caller's own."""
        hour = int(step * self.seconds // _HOUR) % 24
        found: Floats = self._kinds * (self._mix[:, hour] * self._worse[:, step])[:, None]
        found[:, _STEADY] = self._kinds[:, _STEADY]
        found[:, Kind.FAILS_AT_ONCE] += self._extra[:, step]
        return found

    def expected(self, step: int) -> Floats:
        """How many executions an interval has on average, without batches: (runs,)."""
        time = step * self.seconds + self._phase
        swing: Floats = 1 + self.world.daily * np.sin(2 * math.pi * time / _DAY)
        return self.world.load * self.seconds / _HOUR * swing

    def trouble(self, step: int) -> Floats:
        """How many times as many of V1's fail in this interval as usual, by accidents and V2's harm alone: (runs,).

        A batch counts against all that come in the interval. The hours of tenants are no accident: the same every day.
        """
        usual = self._kinds[:, list(FAILING)].sum(axis=1) + self._kinds[:, Kind.TRANSIENT]
        more = self._extra[:, step] + self._batch[:, step] / np.maximum(self.expected(step), 1e-9)
        harm = self.world.harm
        both = harm.both if harm is not None and step * self.seconds >= self._onset else 1.0
        found: Floats = self._worse[:, step] * both + more / np.maximum(usual, 1e-12)
        return found

    @property
    def undisturbed(self) -> Floats:
        """How likely each kind is on V1 while nothing happens, as in the week before: (runs, kinds)."""
        return self._kinds

    def draw(self, step: int, share: Floats) -> Ints:
        """Executions that begin in this interval: (runs, 2 engines, kinds); `share` is V2's probability, (runs,).

        Without those that a key sends: see keyed.py.
        """
        load = self.expected(step) * (1 - self.world.keyed)
        v1, v2 = self.rates(step)
        expected = np.stack((v1 * (1 - share)[:, None], v2 * share[:, None]), axis=1) * load[:, None, None]
        counts: Ints = self._rng.poisson(expected).astype(np.int64)
        batch = self._batch[:, step]
        if batch.any():
            on_v2 = self._rng.binomial(batch, share)
            counts[:, 0, Kind.FAILS_AT_ONCE] += batch - on_v2
            counts[:, 1, Kind.FAILS_AT_ONCE] += on_v2
        return counts

    def _base_rates(self) -> Floats:
        world, kinds = self.world, np.zeros((self.runs, len(Kind)))
        for kind, part in MIX.items():
            kinds[:, kind] = world.base * part * (1 if kind is Kind.ENDLESS else 1 - world.long)
        kinds[:, Kind.FAILS_LATE] += world.base * world.long * (1 - MIX[Kind.ENDLESS])
        kinds[:, Kind.TRANSIENT] = world.transient
        kinds[:, Kind.SLOW] = world.slow * (1 - world.long)
        kinds[:, Kind.LONG] = world.long * (1 - world.slow)
        kinds[:, Kind.LONG_SLOW] = world.long * world.slow
        kinds[:, Kind.OVER_A_DAY] = world.over_a_day
        return kinds

    def _mixes(self) -> Floats:
        """How many times as often everything fails by the hour of the day, (runs, 24), on average once.

        Tenants have odds of their own and come at hours of their own, so who comes at an hour decides what fails then.
        """
        shape = (self.runs, self.world.tenants, 1)
        odds = np.exp(self._rng.normal(0.0, self.world.odds, shape))
        peaks = self._rng.random(shape) * 24
        comes = self.popularity[:, None] * (1 + np.sin(2 * math.pi * (np.arange(24) + peaks) / 24))
        mixes: Floats = (odds * comes).sum(axis=1) / comes.sum(axis=1)
        mixes /= mixes.mean(axis=1, keepdims=True)
        return mixes

    def _accidents(self) -> None:
        world, rng = self.world, self._rng
        for run, first, last in self._times(world.incidents, _SHARED):
            self._worse[run, first:last] *= rng.lognormal(1.2, 0.5)  # 3.3 times as often, seldom ten times
        for run, first, last in self._times(world.tenant_incidents, _TENANT):
            self._extra[run, first:last] += _HALF * rng.choice(self.popularity)
        for run, first, _ in self._times(world.batches, 0.0):
            self._batch[run, first] += world.batch
        for run, first, last in self._times(world.stalls, _STALL):
            self.stalled[run, first:last] = True

    def _times(self, weekly: float, lasting: float) -> list[tuple[int, int, int]]:
        """(run, first interval, interval after the last) of accidents that come at any time."""
        weeks = self._steps * self.seconds / _WEEK
        runs = np.repeat(np.arange(self.runs), self._rng.poisson(weekly * weeks, self.runs))
        first = self._rng.integers(0, self._steps, len(runs))
        lasted = np.ceil(self._rng.exponential(lasting, len(runs)) / self.seconds).astype(np.int64)
        return list(zip(runs.tolist(), first.tolist(), (first + np.maximum(lasted, 1)).tolist(), strict=True))

    def _outages(self) -> Mask:
        """Once a week, at a moment of each run's own."""
        away = math.ceil(self.world.outages.total_seconds() / self.seconds)
        week = round(_WEEK / self.seconds)
        if not away:
            return np.zeros((self.runs, self._steps), dtype=np.bool_)
        begins = self._rng.integers(0, week, self.runs)
        return np.asarray((np.arange(self._steps)[None, :] - begins[:, None]) % week < away, dtype=np.bool_)

"""What watches the experiment rather than V2, in many rollouts at once: sample ratio, A/A, shared degradation. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator_operator.rollout.judging import calibration, degradation, sample_ratio
from orchestrator_operator.rollout.model import Health
from orchestrator_operator.rollout.planning.onward import STICKY_LIMIT
from orchestrator_operator.rollout.simulation.counting import V1, V2
from orchestrator_operator.rollout.simulation.keyed import Keyed
from orchestrator_operator.rollout.simulation.world import FAILING, Kind
from orchestrator_operator.rollout.statistics.coins import Counts
from orchestrator_operator.rollout.statistics.evidence import Cell
from orchestrator_operator.specs.rollout_words import Preset

if TYPE_CHECKING:
    from datetime import timedelta

    from numpy.typing import NDArray

    from orchestrator_operator.rollout.simulation.counting import Grown
    from orchestrator_operator.rollout.simulation.traffic import Traffic
    from orchestrator_operator.specs.rollout import RolloutSpec

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

_HOUR = 3600.0  # seconds
_WEEK_HOURS = 168
_BAD = [*FAILING, Kind.TRANSIENT]  # of V1's: it does not retry
# Times as many failures of V1 as usual. Tenants come at hours of their own, so a quarter more can make twice the week's
# average at the hour of those who fail most.
TROUBLE, DOUBLED = 1.25, 2.0


class Experiment:
    """Counts what the three detectors look at, and says where each is an alarm."""

    def __init__(
        self, spec: RolloutSpec, traffic: Traffic, runs: int, step: timedelta, *, rng: np.random.Generator
    ) -> None:
        shares = [stage.share for stage in spec.stages]
        self._traffic, self._rng = traffic, rng
        self._shares, self._percents = shares, np.array([float(share) for share in shares])
        self.starts: Ints = np.zeros((runs, len(shares), 2), dtype=np.int64)
        key = (Preset.FAILURES.value, spec.analysis.middle_age)
        keys = [(str(item.preset), age) for item in spec.comparisons if item.preset for age in spec.analysis.ages]
        self._pair = keys.index(key) if key in keys else 0
        self._window = max(1, round(_HOUR / step.total_seconds()))
        self._recent = np.zeros((self._window, runs, 2), dtype=np.int64)  # V1's bad ones and all, by interval
        self._trouble = np.zeros(
            (self._window, runs, 2)
        )  # how much worse than usual, and that of how many, by interval
        self._all_before = round(traffic.world.load * _WEEK_HOURS)
        self._bad_before = rng.binomial(self._all_before, traffic.undisturbed[:, _BAD].sum(axis=1))
        self.keyed = Keyed(traffic, shares, np.random.default_rng(rng.integers(2**63))) if traffic.world.keyed else None
        self._split: Ints = np.zeros((runs, len(shares), 4), dtype=np.int64)

    def count(self, step: int, stage: Ints, begun: Ints, grown: Grown) -> None:
        """One interval more."""
        rows = np.arange(len(stage))
        self.starts[rows, stage, V1] += begun[:, V1].sum(axis=1)
        self.starts[rows, stage, V2] += begun[:, V2].sum(axis=1)
        recent = np.stack((begun[:, V1][:, _BAD].sum(axis=1), begun[:, V1].sum(axis=1)), axis=1)
        if self.keyed is not None:
            v1, _ = self._traffic.rates(step)
            recent += np.stack(self.keyed.count(step, stage, v1[:, _BAD].sum(axis=1)), axis=1)
        self._recent[step % self._window] = recent
        expected = self._traffic.expected(step)
        self._trouble[step % self._window] = np.stack((expected * self._traffic.trouble(step), expected), axis=1)
        at = grown.stage[:, self._pair]
        bad, good = grown.bad_v1[:, self._pair], grown.good_v1[:, self._pair]
        chance = self._percents[at] / 100
        bad_b, good_b = self._rng.binomial(bad, chance), self._rng.binomial(good, chance)
        self._split[rows, at] += np.stack((bad - bad_b, good - good_b, bad_b, good_b), axis=1)

    def alarms(self, step: int, going: Mask) -> dict[str, Mask]:
        """Where each detector fires now, among the runs that go."""
        coins = sample_ratio.log_evidence(self._percents / 100, self.starts[..., V1], self.starts[..., V2])
        ratio = sample_ratio.log_mean(coins, len(self._shares))
        halves = calibration.log_either(self._percents / 100, Counts(*np.moveaxis(self._split.astype(float), -1, 0)))
        degraded = np.zeros_like(going)
        if step + 1 >= self._window:
            bad, everything = (self._recent[..., place].sum(axis=0) for place in range(2))
            before = np.maximum(self._bad_before, 1)
            degraded = degradation.degraded(bad, everything * before / self._all_before, before)
        return {
            "NotCalibrated": (halves >= calibration.THRESHOLD) & going,
            "SampleRatioMismatch": (ratio >= sample_ratio.THRESHOLD) & going,
            "SharedDegradation": degraded & going,
        }

    def gathered(self, step: int, run: int, stage: int) -> dict[str, Any]:
        """What the controller would have read for these detectors in one run: fields of Gathered."""
        health: tuple[Health, ...] = ()
        if step + 1 >= self._window:
            bad, everything = (int(self._recent[:, run, place].sum()) for place in range(2))
            health = (Health("world/orders", bad, everything, int(self._bad_before[run]), self._all_before),)
        starts = zip(self._shares, self.starts[run].tolist(), strict=True)
        split = zip(self._shares, self._split[run].tolist(), strict=True)
        return {
            "starts": tuple(Cell(share, 0, v1, 0, v2) for share, (v1, v2) in starts if v1 or v2),
            "calibration": tuple(Cell(share, *counts) for share, counts in split if any(counts)),
            "health": health,
            "keyed": 0 if self.keyed is None else int(self.keyed.counts[run, stage]),
        }

    def sticky(self, stage: Ints) -> Mask:
        """Where a key sent so many of the stage's executions that a person must say yes to what comes next."""
        if self.keyed is None:
            return np.zeros(len(stage), dtype=np.bool_)
        rows = np.arange(len(stage))
        by_key, tossed = self.keyed.counts[rows, stage], self.starts[rows, stage].sum(axis=1)
        return np.asarray(by_key > STICKY_LIMIT * (by_key + tossed), dtype=np.bool_)

    def troubled(self, times: float = TROUBLE) -> Mask:
        """Where V1 really was so much worse than usual over the last hour, by what happened in it alone."""
        worse, expected = self._trouble.sum(axis=0).T
        return np.asarray((expected > 0) & (worse >= times * expected), dtype=np.bool_)

"""What a rollout saw: the counts of both engines in bins of time, in many runs of one world.

Every rule is given the same trace. The percent follows the plan of the rollout, whatever a rule decides: what happens
after its decision no longer matters, and a rule that would have waited longer is told when it would have gone on.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]
    Flags = NDArray[np.bool_]

HOUR = 3600.0  # seconds
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Stage:
    """A time with one percent, in seconds since the start of the rollout."""

    percent: float
    start: float
    end: float


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One criterion of one world: `runs` independent rollouts on the same plan, in bins of equal length.

    Counts are integers of shape (runs, bins): the executions that were counted within the bin and the bad ones of
    them, on V1 and on V2.
    """

    name: str
    bin_seconds: float
    percent: Floats  # (bins,): the share of the executions that V2 gets, 0 to 100
    n1: Counts
    k1: Counts
    n2: Counts
    k2: Counts
    outage: Flags | None = None  # (runs, bins): Prometheus neither scrapes nor answers; None: never
    onset: float | None = None  # seconds, when V2 became worse; None: it never is, a null world
    effect: float = 1.0  # the relative risk from there on

    def __post_init__(self) -> None:
        shape = (self.runs, self.bins)
        for field in ("n1", "k1", "n2", "k2"):
            if getattr(self, field).shape != shape:
                raise ValueError(f"{field} has shape {getattr(self, field).shape}, and not (runs, bins) = {shape}")
        if (self.k1 > self.n1).any() or (self.k2 > self.n2).any():
            raise ValueError("more bad executions than executions: n counts all of them, k the bad ones")
        if self.outage is not None and self.outage.shape != shape:
            raise ValueError(f"outage has shape {self.outage.shape}, and not (runs, bins) = {shape}")

    @property
    def runs(self) -> int:
        return len(self.n1)

    @property
    def bins(self) -> int:
        return len(self.percent)

    @property
    def seconds(self) -> float:
        """How long the plan takes."""
        return self.bins * self.bin_seconds

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The plan, read off the percent."""
        changes = np.flatnonzero(np.diff(self.percent)) + 1
        edges = [0, *changes.tolist(), self.bins]
        return tuple(
            Stage(float(self.percent[first]), first * self.bin_seconds, last * self.bin_seconds)
            for first, last in pairwise(edges)
        )

    @property
    def null(self) -> bool:
        """Whether V2 does no harm, so that every rollback is a false one."""
        return self.onset is None

    def some(self, runs: slice) -> Trace:
        """The same world with some of its runs: to work in pieces that fit into memory."""
        outage = None if self.outage is None else self.outage[runs]
        counts: dict[str, Any] = {name: getattr(self, name)[runs] for name in ("n1", "k1", "n2", "k2")}
        return Trace(
            self.name, self.bin_seconds, self.percent, **counts, outage=outage, onset=self.onset, effect=self.effect
        )


def plan(stages: Sequence[tuple[float, float]], bin_seconds: float) -> Floats:
    """The percent in each bin of a plan of (percent, seconds); each stage is a whole number of bins."""
    bins = [round(seconds / bin_seconds) for _, seconds in stages]
    if any(count * bin_seconds != seconds for count, (_, seconds) in zip(bins, stages, strict=True)):
        raise ValueError(f"a stage is no whole number of bins of {bin_seconds:g} s")
    return np.repeat([percent for percent, _ in stages], bins).astype(np.float64)


FOUR_WEEKS = ((5.0, 7 * DAY), (25.0, 7 * DAY), (50.0, 7 * DAY), (99.0, 7 * DAY))  # the default plan, 1 % held back


def coins(
    percent: Floats,
    bin_seconds: float,
    *,
    runs: int,
    per_hour: float,
    base: float,
    effect: float = 1.0,
    onset: float | None = None,
    outage: Flags | None = None,
    seed: int = 0,
) -> Trace:
    """The plainest world: executions come as a Poisson process, and each is bad by a coin of its own.

    `base` is V1's share of bad executions and V2's until `onset`, from where V2's is `effect` times as large, at most
    1. No tenants, no incidents, no delays: what a rule does wrong here, it does wrong everywhere.
    """
    dice = np.random.default_rng(seed)
    share = percent / 100
    starts = np.arange(len(percent)) * bin_seconds
    harmed = np.zeros(len(percent), dtype=bool) if onset is None else starts >= onset
    risk = np.where(harmed, min(1.0, base * effect), base)
    arrivals = per_hour * bin_seconds / HOUR
    n1 = dice.poisson(arrivals * (1 - share), (runs, len(percent)))
    n2 = dice.poisson(arrivals * share, (runs, len(percent)))
    worse = "no effect" if onset is None else f"{effect:g} times as bad from hour {onset / HOUR:g}"
    return Trace(
        name=f"{per_hour:g} an hour, {100 * base:g} % bad, {worse}",
        bin_seconds=bin_seconds,
        percent=percent,
        n1=n1,
        k1=dice.binomial(n1, base),
        n2=n2,
        k2=dice.binomial(n2, risk),
        outage=outage,
        onset=onset,
        effect=1.0 if onset is None else effect,
    )

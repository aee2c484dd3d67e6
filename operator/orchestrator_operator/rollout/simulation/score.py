"""How well the rollouts of a world ended, in figures that can be compared. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binomtest

from orchestrator_operator.rollout.simulation.outcomes import NEVER
from orchestrator_operator.rollout.simulation.world import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from orchestrator_operator.rollout.simulation.outcomes import Outcomes
    from orchestrator_operator.rollout.simulation.world import World

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Share:
    """How many of the runs, with the 95 % interval of Wilson 1927."""

    count: int
    runs: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.count / self.runs if self.runs else math.nan

    def described(self) -> dict[str, Any]:
        return {"count": self.count, "runs": self.runs, "share": self.value, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        return show_share(self.value, self.low, self.high)


def show_share(value: float, low: float, high: float) -> str:
    """`1.5 % (1.1-2.1)`: a share with its interval, in per cent, as sentences and tables have it."""
    return f"{100 * value:.3g} % ({100 * low:.3g}-{100 * high:.3g})"


def share_of(which: Mask) -> Share:
    """Of at least one run."""
    found = binomtest(int(which.sum()), len(which))
    interval = found.proportion_ci(confidence_level=0.95, method="wilson")
    return Share(int(which.sum()), len(which), float(interval.low), float(interval.high))


@dataclass(frozen=True, slots=True)
class Hours:
    """A median and a 90th percentile over all runs: infinite where so many never came to it."""

    median: float
    p90: float

    @classmethod
    def of(cls, values: Floats) -> Hours:
        return cls(quantile(values, 0.5), quantile(values, 0.9))

    def described(self) -> dict[str, float | None]:
        """JSON has no infinity: null is "never"."""
        return {"median": _finite(self.median), "p90": _finite(self.p90)}


@dataclass(frozen=True, slots=True)
class Score:
    """Of all runs of one world. Hours from the onset of the harm; of the completion from the start."""

    runs: int
    rolled_back: Share  # of a healthy V2: falsely; of a harmful one: after the onset
    rolled_back_early: Share  # before the onset: falsely too
    falsely_held: Share  # for a reason that nothing in the world gave cause to
    falsely_held_for: dict[str, int]  # by reason: of the runs
    not_doubled: Share  # held for SharedDegradation while nothing had doubled V1's failures by itself
    excused: dict[str, float]  # by reason: share of the time in which the world gave cause to such a hold
    held: dict[str, tuple[Share, float]]  # by reason: of the runs, and hours a run on average
    first_held: dict[str, Hours]  # by reason: from the start
    hours: Hours  # from the onset to the rollback
    excess: float  # bad executions of V2 beyond V1's, until the rollback: median
    executions: float  # of V2 since the onset, until the rollback: median
    to_all: Hours  # to 100 %, or to the end of the last stage
    people: float  # how often a person had to say yes, on average
    moves_per_outage: float  # of the percent, while Prometheus was away
    holds_per_outage: float
    convicted_by: dict[str, int]  # criterion@age → runs

    def described(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "runs": self.runs,
            "rolledBack": self.rolled_back.described(),
            "rolledBackEarly": self.rolled_back_early.described(),
            "falselyHeld": self.falsely_held.described(),
            "falselyHeldFor": self.falsely_held_for,
            "notDoubled": self.not_doubled.described(),
            "excused": self.excused,
            "held": {
                reason: shares.described()
                | {"hoursPerRun": hours, "hoursToTheFirst": self.first_held[reason].described()}
                for reason, (shares, hours) in self.held.items()
            },
            "hoursToRollBack": self.hours.described(),
            "excessFailures": _finite(self.excess),
            "executionsOnV2": _finite(self.executions),
            "hoursToAll": self.to_all.described(),
            "approvals": self.people,
            "movesPerOutage": self.moves_per_outage,
            "holdsPerOutage": self.holds_per_outage,
            "convictedBy": self.convicted_by,
        }


def score(world: World, outcomes: Outcomes) -> Score:
    """The figures of one world."""
    onset = world.harm.onset.total_seconds() if world.harm else 0.0
    ever = outcomes.rolled_back != NEVER
    early = ever & (outcomes.rolled_back <= onset) if world.harm else np.zeros_like(ever)
    caught = ever & ~early
    counted = ~early
    outages = max(int(outcomes.outages.sum()), 1)
    names = [f"{name}@{age.total_seconds():g}s" if age else name for name, age in outcomes.keys]
    by = np.bincount(outcomes.convicted_by[caught], minlength=len(names))
    return Score(
        runs=len(ever),
        rolled_back=share_of(caught[counted]) if counted.any() else share_of(caught),
        rolled_back_early=share_of(early),
        falsely_held=share_of(np.any(list(outcomes.unexplained.values()), axis=0)),
        falsely_held_for={reason: int(which.sum()) for reason, which in outcomes.unexplained.items()},
        not_doubled=share_of(outcomes.not_doubled),
        excused={
            reason: float(seconds.sum() / max(int(outcomes.watched.sum()), 1))
            for reason, seconds in outcomes.excused.items()
        },
        held={
            reason: (share_of(seconds > 0), float(seconds.mean() / _HOUR)) for reason, seconds in outcomes.held.items()
        },
        first_held={
            reason: Hours.of(np.where(first == NEVER, math.inf, first / _HOUR))
            for reason, first in outcomes.first_held.items()
        },
        hours=Hours.of(np.where(caught, (outcomes.rolled_back - onset) / _HOUR, math.inf)[counted]),
        excess=quantile(np.where(caught, outcomes.excess, math.inf)[counted], 0.5),
        executions=quantile(np.where(caught, outcomes.on_v2, math.inf)[counted], 0.5),
        to_all=Hours.of(np.where(outcomes.completed != NEVER, outcomes.completed / _HOUR, math.inf)),
        people=float(outcomes.people.mean()),
        moves_per_outage=float(outcomes.blind_moves.sum() / outages),
        holds_per_outage=float(outcomes.holds["Blind"].sum() / outages),
        convicted_by={name: int(count) for name, count in zip(names, by, strict=True) if count},
    )


def factor_of(world: World) -> float:
    """How many times as often V2 fails at once; 1 where it does not."""
    return world.harm.times.get(Kind.FAILS_AT_ONCE, 1.0) if world.harm else 1.0


def quantile(values: Floats, part: float) -> float:
    """The nearest rank, for an interpolation between a number and infinity is neither; infinite of nothing."""
    return float(np.quantile(values, part, method="inverted_cdf")) if len(values) else math.inf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

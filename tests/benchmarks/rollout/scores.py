"""How good a rule is, from what it did in the runs of a world; and rules compared at the same rate of false rollbacks.

A rule that rolls back at once is fast and useless. So delay is compared only between settings that roll a healthy V2
back equally seldom: each rival is given a whole family of settings, and the best of those that keep the rate counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from orchestrator_operator.rollout.simulation.score import Hours, Share, quantile, share_of

from tests.benchmarks.rollout.trace import HOUR

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from tests.benchmarks.rollout.rivals.outcome import Outcome, Rule
    from tests.benchmarks.rollout.trace import Trace

    Floats = NDArray[np.float64]

_FEW = 200  # runs
_AFTERWARDS = HOUR  # an action so soon after an outage is put down to it


@dataclass(frozen=True, slots=True)
class Score:
    """One rule in one world. Hours count from the onset, over the runs that reached it; infinite for "never".

    In a null world each rollback and each hold is a false one; in any other those before the onset are.
    """

    rule: str
    world: str
    rolled_back_falsely: Share
    held_falsely: Share
    caught: Share | None  # of the runs that reached the onset; None where there are none
    hours: Hours
    excess: float  # the median of the failures that V2 added until the rollback, or in all
    to_all: Hours  # until the last stage was through
    actions_per_outage: float  # rollbacks and holds; NaN without outages

    def described(self) -> dict[str, Any]:
        """As JSON, which has neither infinity nor NaN."""
        return {
            "rule": self.rule,
            "world": self.world,
            "rolledBackFalsely": self.rolled_back_falsely.described(),
            "heldFalsely": self.held_falsely.described(),
            "caught": self.caught.described() if self.caught else None,
            "hoursToRollBack": self.hours.described() if self.caught else None,
            "excessFailures": self.excess if self.caught else None,
            "hoursToAll": self.to_all.described(),
            "actionsPerOutage": None if math.isnan(self.actions_per_outage) else self.actions_per_outage,
        }


def score(rule: Rule, trace: Trace) -> Score:
    """What the rule did with the trace, in figures."""
    return judged(rule.name, trace, rule.decide(trace))


def judged(name: str, trace: Trace, outcome: Outcome) -> Score:
    """The same for an outcome that is there already."""
    stopped = np.minimum(outcome.rolled_back, outcome.held)
    onset = np.inf if trace.onset is None else trace.onset
    reached = stopped >= onset if trace.onset is not None else np.zeros(trace.runs, dtype=bool)
    delay = (outcome.rolled_back[reached] - onset) / HOUR if reached.any() else np.zeros(0)
    return Score(
        rule=name,
        world=trace.name,
        rolled_back_falsely=share_of(outcome.rolled_back < onset),
        held_falsely=share_of(outcome.held < onset),
        caught=share_of(np.isfinite(delay)) if len(delay) else None,
        hours=Hours.of(delay),
        excess=quantile(_excess(trace, outcome)[reached], 0.5),
        to_all=Hours.of(outcome.completed / HOUR),
        actions_per_outage=_actions_per_outage(trace, stopped),
    )


@dataclass(frozen=True, slots=True)
class Setting:
    """One member of a family: its worst rate of false rollbacks over the null worlds, and its score where V2 is bad."""

    rule: Rule
    rolled_back_falsely: Share
    score: Score

    @property
    def order(self) -> tuple[float, float, float]:
        """Which of two settings with an equal rate is the better one: the smaller."""
        hours, caught = self.score.hours, self.score.caught
        return hours.median, hours.p90, -(caught.value if caught else 0.0)

    def described(self) -> dict[str, Any]:
        """As JSON; the rate is that of the null worlds."""
        return self.score.described() | {"rolledBackFalsely": self.rolled_back_falsely.described()}


def false_rollbacks(family: Iterable[Rule], nulls: Sequence[Trace], hopeless: float = 1.0) -> list[tuple[Rule, Share]]:
    """Each member's rate in the null world where it is worst; with a rate above `hopeless` in one it is tried no more.

    So the worlds that deceive most rules belong first. A few runs are enough to say of most that they are hopeless.
    """
    found = []
    for rule in family:
        worst: Share | None = None
        for null in nulls:
            share = _rolled_back(rule, null.some(slice(0, _FEW)))
            if share.low <= hopeless and null.runs > _FEW:
                share = _rolled_back(rule, null)
            worst = share if worst is None or share.value > worst.value else worst
            if worst.value > hopeless:
                break
        if worst is not None:
            found.append((rule, worst))
    return found


def _rolled_back(rule: Rule, null: Trace) -> Share:
    return share_of(np.isfinite(rule.decide(null).rolled_back))


def settings(family: Iterable[tuple[Rule, Share]], world: Trace) -> list[Setting]:
    """Each member in a world where V2 is bad, with the rate that `false_rollbacks` found."""
    return [Setting(rule, share, score(rule, world)) for rule, share in family]


def matched(measured: Iterable[Setting], at_most: float) -> Setting | None:
    """The fastest setting whose rate of false rollbacks is at most this in every null world; None where none is."""
    allowed = [setting for setting in measured if setting.rolled_back_falsely.value <= at_most]
    return min(allowed, key=lambda setting: setting.order, default=None)


def frontier(measured: Iterable[Setting]) -> list[Setting]:
    """The settings that no other beats in both, rate and delay; the rarest false rollbacks first."""
    best: list[Setting] = []
    for setting in sorted(measured, key=lambda setting: (setting.rolled_back_falsely.value, setting.order)):
        if not best or setting.order < best[-1].order:
            best.append(setting)
    return best


def _excess(trace: Trace, outcome: Outcome) -> Floats:
    """The bad executions that V2 had because it is worse, until the rollback: k₂(1 - 1/r) on average."""
    if trace.onset is None:
        return np.zeros(trace.runs)
    ends = (np.arange(trace.bins) + 1) * trace.bin_seconds
    counted = (ends > trace.onset) & (ends <= np.minimum(outcome.rolled_back, trace.seconds)[:, None])
    extra = max(0.0, 1 - 1 / trace.effect)  # what hides a harm from this metric adds nothing to it
    return np.asarray((trace.k2 * counted).sum(axis=1) * extra, dtype=np.float64)


def _actions_per_outage(trace: Trace, stopped: Floats) -> float:
    if trace.outage is None or not trace.outage.any():
        return math.nan
    edges = np.diff(trace.outage.astype(np.int8), axis=1, prepend=0, append=0)
    begins, ends = np.argwhere(edges == 1), np.argwhere(edges == -1)  # both in the same order: by run, then by time
    at = stopped[begins[:, 0]]
    met = at >= begins[:, 1] * trace.bin_seconds  # a run that was stopped before did not meet the outage
    soon = met & (at <= ends[:, 1] * trace.bin_seconds + _AFTERWARDS)
    return float(soon.sum() / met.sum()) if met.any() else math.nan

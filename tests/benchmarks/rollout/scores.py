"""How good a rule is, from what it did in the runs of a world; and rules compared at the same rate of false rollbacks.

A rule that rolls back at once is fast and useless. So delay is compared only between settings that roll a healthy V2
back equally seldom: each rival is given a whole family of settings, and the best of those that keep the rate counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binomtest

from tests.benchmarks.report import number, table
from tests.benchmarks.rollout.trace import HOUR

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from tests.benchmarks.rollout.rivals.outcome import Outcome, Rule
    from tests.benchmarks.rollout.trace import Trace

    Floats = NDArray[np.float64]

_AFTERWARDS = HOUR  # an action so soon after an outage is put down to it


@dataclass(frozen=True, slots=True)
class Share:
    """So many of all runs, with Wilson's interval at 95 % (E. B. Wilson, JASA 22, 1927)."""

    count: int
    runs: int

    @property
    def value(self) -> float:
        return self.count / self.runs if self.runs else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """The lowest and the highest share that go with the count; ValueError without runs."""
        if not self.runs:
            raise ValueError("there is no share of no runs")
        found = binomtest(self.count, self.runs).proportion_ci(confidence_level=0.95, method="wilson")
        return float(found.low), float(found.high)


@dataclass(frozen=True, slots=True)
class Score:
    """One rule in one world. Hours count from the onset; infinite where more than half (a tenth) were never caught.

    In a null world each rollback and each hold is a false one; in any other those before the onset are.
    """

    rule: str
    world: str
    false_rollbacks: Share
    false_holds: Share
    caught: Share  # of the runs that reached the onset
    median_hours: float
    slow_hours: float  # the 90th percentile
    excess_failures: float  # the median of those that V2 added until the rollback, or in all
    hours_to_complete: float  # the median over the runs that got through
    actions_per_outage: float  # NaN without outages


def score(rule: Rule, trace: Trace) -> Score:
    """What the rule did with the trace, in figures."""
    return judged(rule.name, trace, rule.decide(trace))


def judged(name: str, trace: Trace, outcome: Outcome) -> Score:
    """The same for an outcome that is there already."""
    stopped = np.minimum(outcome.rolled_back, outcome.held)
    onset = np.inf if trace.onset is None else trace.onset
    reached = stopped >= onset if trace.onset is not None else np.zeros(trace.runs, dtype=bool)
    delay = (outcome.rolled_back[reached] - onset) / HOUR if reached.any() else np.zeros(0)
    through = outcome.completed[np.isfinite(outcome.completed)]
    return Score(
        rule=name,
        world=trace.name,
        false_rollbacks=Share(int((outcome.rolled_back < onset).sum()), trace.runs),
        false_holds=Share(int((outcome.held < onset).sum()), trace.runs),
        caught=Share(int(np.isfinite(delay).sum()), int(reached.sum())),
        median_hours=_quantile(delay, 0.5),
        slow_hours=_quantile(delay, 0.9),
        excess_failures=_quantile(_excess(trace, outcome)[reached], 0.5),
        hours_to_complete=_quantile(through / HOUR, 0.5),
        actions_per_outage=_actions_per_outage(trace, stopped),
    )


@dataclass(frozen=True, slots=True)
class Setting:
    """One member of a family: its worst rate of false rollbacks over the null worlds, and its score where V2 is bad."""

    rule: Rule
    false_rollbacks: Share
    score: Score

    @property
    def order(self) -> tuple[float, float, float]:
        """Which of two settings with an equal rate is the better one: the smaller."""
        return self.score.median_hours, self.score.slow_hours, -self.score.caught.value


def settings(family: Iterable[Rule], nulls: Sequence[Trace], world: Trace) -> list[Setting]:
    """Every member of a family, measured."""
    found = []
    for rule in family:
        false = [judged(rule.name, null, rule.decide(null)).false_rollbacks for null in nulls]
        found.append(Setting(rule, max(false, key=lambda share: share.value), score(rule, world)))
    return found


def matched(measured: Iterable[Setting], at_most: float) -> Setting | None:
    """The fastest setting whose rate of false rollbacks is at most this in every null world; None where none is."""
    allowed = [setting for setting in measured if setting.false_rollbacks.value <= at_most]
    return min(allowed, key=lambda setting: setting.order, default=None)


def frontier(measured: Iterable[Setting]) -> list[Setting]:
    """The settings that no other beats in both, rate and delay; the rarest false rollbacks first."""
    best: list[Setting] = []
    for setting in sorted(measured, key=lambda setting: (setting.false_rollbacks.value, setting.order)):
        if not best or setting.order < best[-1].order:
            best.append(setting)
    return best


def scores_table(scores: Iterable[Score]) -> str:
    """All figures, for people: Markdown."""
    header = ("rule", "world", "false rollbacks", "false holds", "caught", "hours, median", "hours, 90 %")
    header += ("excess failures", "hours to 100 %", "actions an outage")
    return table(header, [_row(found) for found in scores])


def matched_table(rows: Iterable[tuple[str, Setting | None]], at_most: float) -> str:
    """One family a line: the setting that `matched` found."""
    header = ("family", "setting", "false rollbacks", "caught", "hours, median", "hours, 90 %")
    lines = []
    for family, setting in rows:
        if setting is None:
            lines.append((family, f"no setting keeps {100 * at_most:g} %", "-", "-", "-", "-"))
            continue
        found = setting.score
        delays = _hours(found.median_hours), _hours(found.slow_hours)
        lines.append((family, setting.rule.name, _share(setting.false_rollbacks), _percent(found.caught), *delays))
    return table(header, lines)


def _excess(trace: Trace, outcome: Outcome) -> Floats:
    """The bad executions that V2 had because it is worse, until the rollback: k₂(1 - 1/r) on average."""
    if trace.onset is None:
        return np.zeros(trace.runs)
    ends = (np.arange(trace.bins) + 1) * trace.bin_seconds
    counted = (ends > trace.onset) & (ends <= np.minimum(outcome.rolled_back, trace.seconds)[:, None])
    return np.asarray((trace.k2 * counted).sum(axis=1) * (1 - 1 / trace.effect), dtype=np.float64)


def _actions_per_outage(trace: Trace, stopped: Floats) -> float:
    if trace.outage is None or not trace.outage.any():
        return float("nan")
    edges = np.diff(trace.outage.astype(np.int8), axis=1, prepend=0, append=0)
    begins, ends = np.argwhere(edges == 1), np.argwhere(edges == -1)  # both in the same order: by run, then by time
    at = stopped[begins[:, 0]]
    during = (at >= begins[:, 1] * trace.bin_seconds) & (at <= ends[:, 1] * trace.bin_seconds + _AFTERWARDS)
    met = at >= begins[:, 1] * trace.bin_seconds  # a run that was stopped before did not meet the outage
    return float(during.sum() / met.sum()) if met.any() else float("nan")


def _quantile(values: Floats, share: float) -> float:
    """The nearest rank, so that values which are infinite need no arithmetic; NaN of nothing."""
    return float(np.quantile(values, share, method="inverted_cdf")) if len(values) else float("nan")


def _row(found: Score) -> tuple[str, ...]:
    outages = "-" if np.isnan(found.actions_per_outage) else number(found.actions_per_outage, 2)
    rates = _share(found.false_rollbacks), _share(found.false_holds), _percent(found.caught)
    delays = _hours(found.median_hours), _hours(found.slow_hours), _hours(found.excess_failures, 0)
    return found.rule, found.world, *rates, *delays, _hours(found.hours_to_complete, 0), outages


def _share(share: Share) -> str:
    low, high = share.interval
    return f"{100 * share.value:.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def _percent(share: Share) -> str:
    return f"{100 * share.value:.0f} %" if share.runs else "-"


def _hours(value: float, digits: int = 1) -> str:
    if np.isnan(value):
        return "-"
    return "never" if np.isinf(value) else number(value, digits)

"""What a stage's traffic can show: the smallest relative risk that would be convicted with a chance of 80 %. Pure.

Of `executions` with V2's share p and V1's bad share b, a relative risk ψ makes M = executions·b·(1 - p + pψ) bad ones,
of which V2 has k₂ by the coin q(ψ). A conviction at the stage's end needs the coin test's own ln E at (M - k₂, k₂) to
reach the threshold, so the chance is read off the binomial quantile of k₂. Two approximations: M and the good ones
stand at their expectations; and since one looks all the time, E may have crossed earlier, which is worth about twelve
points of the chance (first passage of a random walk with drift, Siegmund 1985): the quantile is taken at 32 %, not 20.
Only the stage's own executions count, with what restarts leave of the evidence's weight. Simulated, the smallest
relative risk so found was convicted in 79 to 88 % of the runs, and in more where hardly any or very many are bad.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import bdtrik

from orchestrator import durations
from orchestrator.flag import show_percent
from orchestrator_operator.rollout.judging.comparisons import planned_restarts
from orchestrator_operator.rollout.model import Power, Unreadable
from orchestrator_operator.rollout.statistics import coins, evidence
from orchestrator_operator.rollout.statistics.coins import Counts
from orchestrator_operator.rollout.statistics.mixture import DECIDING

if TYPE_CHECKING:
    from orchestrator_operator.rollout.model import Gathered
    from orchestrator_operator.rollout.statistics.evidence import Cells
    from orchestrator_operator.specs.rollout import RolloutSpec, Stage

_RISKS = np.geomspace(1.02, 1000, 350)  # where the smallest relative risk is looked for: steps of 2 %
_QUANTILE = 0.32
_ENOUGH_TO_TELL = 100  # executions from which a rate or a share is taken
_LONG_ENOUGH = 0.05  # or this part of the stage, where fewer say a rate too
_MANY = 10  # executions an hour, from which on nobody wants their fractions
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a stage has to judge by."""

    executions: float  # both engines, over the whole stage
    share: float  # of them on V2: p, between 0 and 1
    base: float  # V1's bad share


def smallest(traffic: Traffic, threshold: float, planned: int, tolerate: float = 1.0) -> float:
    """The smallest relative risk that `traffic` shows with a chance of 80 %; infinite where it can show none.

    `threshold` is ln E to be reached, `planned` how many restarts share a part of the evidence's weight.
    """
    p, risks = traffic.share, _RISKS[_RISKS * traffic.base <= 1]
    if not 0 < p < 1 or not traffic.executions or not len(risks):
        return math.inf
    v1, v2 = traffic.executions * (1 - p), traffic.executions * p
    bad = v1 * traffic.base + v2 * traffic.base * risks
    on_v2 = np.clip(np.nan_to_num(bdtrik(_QUANTILE, bad, v2 * traffic.base * risks / bad)), 0, bad)
    good_v1 = np.full_like(bad, v1 * (1 - traffic.base))
    counts = Counts(
        bad_v1=(bad - on_v2)[:, None],
        good_v1=good_v1[:, None],
        bad_v2=on_v2[:, None],
        good_v2=(v2 * (1 - traffic.base * risks))[:, None],
    )
    found = coins.log_fail(np.array([p]), counts, tolerate)
    weight = DECIDING.whole + (1 - DECIDING.whole) * coins.restart_weight(0, planned)
    shown = np.flatnonzero(found + math.log(weight) >= threshold)
    return float(risks[shown[0]]) if len(shown) else math.inf


def power(gathered: Gathered, spec: RolloutSpec, stage: Stage, cells: Cells, threshold: float) -> Power | None:
    """The running stage's power, by the comparison with these `cells` and this threshold; None while nobody can tell.

    The rate is that of the stage's own starts, the base share V1's in the attempt so far, or in the week before it.
    """
    rate, base = _rate(gathered, spec, stage), _base(gathered, cells)
    if rate is None or base is None or stage.share in (0, 100):
        return None
    hours = stage.duration.total_seconds() / _HOUR
    traffic = Traffic(rate * hours, float(stage.share) / 100, base)
    found = smallest(traffic, threshold, planned_restarts(spec), spec.analysis.tolerate)
    return Power(found, _sentence(found, rate, stage))


def _rate(gathered: Gathered, spec: RolloutSpec, stage: Stage) -> float | None:
    """Executions an hour that the stage's coin has sent; they are counted when they reach the first age.

    No cell of the stage's share is no number; the operator exports a zero where there was nothing to count.
    """
    began = gathered.status.stage_started_at
    tossed = () if isinstance(gathered.starts, Unreadable) else gathered.starts
    n = next((cell.n1 + cell.n2 for cell in tossed if cell.percent == stage.share), None)
    if began is None or n is None:
        return None
    lasted: timedelta = gathered.now - began - spec.analysis.ages[0]
    if lasted <= timedelta(0) or (n < _ENOUGH_TO_TELL and lasted < _LONG_ENOUGH * stage.duration):
        return None
    return n * _HOUR / lasted.total_seconds()


def _base(gathered: Gathered, cells: Cells) -> float | None:
    """V1's bad share, at least one of all; from the week before where the attempt has read too few."""
    k1, n1, _, _ = evidence.totals(cells)
    if n1 < _ENOUGH_TO_TELL and not isinstance(gathered.health, Unreadable):
        k1 = sum(item.bad_before for item in gathered.health)
        n1 = sum(item.all_before for item in gathered.health)
    return max(k1, 1) / n1 if n1 >= _ENOUGH_TO_TELL else None


def _sentence(found: float, rate: float, stage: Stage) -> str:
    shown = f"{rate:.0f}" if rate >= _MANY else f"{rate:.2g}"
    at = f"at {shown} executions/h, {show_percent(stage.share)} % for {durations.show(stage.duration)}"
    if math.isinf(found):
        return f"{at} cannot show any relative risk with a chance of 80 %"
    only = "" if Power(found, "").enough else " only"
    return f"{at} shows{only} a relative risk of about {found:.2g} (with a chance of 80 %)"

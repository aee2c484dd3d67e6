"""Does V2 get the share that was asked for? The coin test stands on it. Pure.

Starts n₁ and n₂ at one percent against the chances (1 - p, p), by the sequential multinomial test with a Dirichlet
prior of weight 100 around them (Lindon & Malek 2022, arXiv 2011.03567):

    E = [B(a₁ + n₁, a₂ + n₂)/B(a₁, a₂)] / ((1-p)^n₁ p^n₂),   (a₁, a₂) = 100·(1-p, p)

which is a martingale of mean 1 while the coin is fair to its percent, however often it is read (Ville 1939). Of
several percents the mean counts, each with the same weight whether it has begun or not.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scipy.special import betaln

from orchestrator.flag import show_percent
from orchestrator_operator.rollout.model import Alarm
from orchestrator_operator.rollout.statistics.evidence import log_threshold
from orchestrator_operator.rollout.wording import show_evidence

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from orchestrator_operator.rollout.statistics.evidence import Cell, Cells

LEVEL = 0.001
_WEIGHT = 100.0  # of the prior, in executions


def log_evidence(p: float, n1: int, n2: int) -> float:
    """The logarithm of E above; infinite where the coin could not have fallen so (p is 0 or 1), 0 without starts."""
    if p <= 0 or p >= 1:
        return math.inf if (n2 if p <= 0 else n1) else 0.0
    prior1, prior2 = _WEIGHT * (1 - p), _WEIGHT * p
    against = n1 * math.log1p(-p) + n2 * math.log(p)
    return float(betaln(prior1 + n1, prior2 + n2) - betaln(prior1, prior2)) - against


def alarm(starts: Cells, percents: Iterable[Decimal]) -> Alarm | None:
    """SampleRatioMismatch, if the starts contradict their percents; `percents` are all that the rollout plans."""
    found = {cell: log_evidence(float(cell.percent) / 100, cell.n1, cell.n2) for cell in starts}
    if not found:
        return None
    worst = max(found, key=lambda cell: found[cell])
    coins = len({cell.percent for cell in starts} | set(percents))
    needed = log_threshold(LEVEL)
    log_mean = _log_mean([*found.values(), *[0.0] * (coins - len(found))])
    if log_mean < needed:
        return None
    return Alarm("SampleRatioMismatch", _sentence(worst, log_mean, needed))


def _sentence(cell: Cell, log_e: float, needed: float) -> str:
    n = cell.n1 + cell.n2
    return (
        f"at {show_percent(cell.percent)} % V2 got {cell.n2} of {n} starts ({100 * cell.n2 / n:.3g} %), where about "
        f"{float(cell.percent) / 100 * n:.0f} were to be expected: the comparisons stand on this coin; "
        f"evidence {show_evidence(log_e)}, needed {show_evidence(needed)}"
    )


def _log_mean(logs: list[float]) -> float:
    top = max(logs)
    if math.isinf(top):
        return top
    return top + math.log(math.fsum(math.exp(log_e - top) for log_e in logs) / len(logs))

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

import numpy as np
from scipy.special import betaln, logsumexp

from orchestrator.flag import show_percent
from orchestrator_operator.rollout.model import Alarm
from orchestrator_operator.rollout.statistics.evidence import log_threshold
from orchestrator_operator.rollout.wording import show_evidence

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from numpy.typing import ArrayLike, NDArray

    from orchestrator_operator.rollout.statistics.evidence import Cell, Cells

    Floats = NDArray[np.float64]

THRESHOLD = log_threshold(0.001)  # ln E at which it is an alarm
_WEIGHT = 100.0  # of the prior, in executions


def log_evidence(p: ArrayLike, n1: ArrayLike, n2: ArrayLike) -> Floats:
    """The logarithm of E above, for one coin or many; all shapes are (...).

    Infinite where the coin could not have fallen so (p is 0 or 1), 0 without starts.
    """
    chance, on_v1, on_v2 = (np.asarray(given, dtype=np.float64) for given in (p, n1, n2))
    tossed = (chance > 0) & (chance < 1)
    safe = np.where(tossed, chance, 0.5)
    prior1, prior2 = _WEIGHT * (1 - safe), _WEIGHT * safe
    logs = betaln(prior1 + on_v1, prior2 + on_v2) - betaln(prior1, prior2) - on_v1 * np.log1p(-safe)
    impossible = np.where(chance <= 0, on_v2, on_v1) > 0
    return np.where(tossed, logs - on_v2 * np.log(safe), np.where(impossible, np.inf, 0.0))


def log_mean(logs: ArrayLike, coins: int) -> Floats:
    """Of several coins, (..., C): the logarithm of the mean of E, each of the `coins` that there are with its weight.

    C may be less: a coin that was not tossed yet has E = 1.
    """
    found = np.asarray(logs, dtype=np.float64)
    waiting = coins - found.shape[-1]
    ones = np.zeros((*found.shape[:-1], 1))
    weights = np.append(np.ones(found.shape[-1]), waiting)
    return np.asarray(logsumexp(np.append(found, ones, axis=-1), axis=-1, b=weights) - math.log(coins))


def alarm(starts: Cells, percents: Iterable[Decimal]) -> Alarm | None:
    """SampleRatioMismatch, if the starts contradict their percents; `percents` are all that the rollout plans."""
    if not starts:
        return None
    tossed = (
        [float(cell.percent) / 100 for cell in starts],
        [cell.n1 for cell in starts],
        [cell.n2 for cell in starts],
    )
    found = log_evidence(*tossed)
    coins = len({cell.percent for cell in starts} | set(percents))
    together = float(log_mean(found, coins))
    if together < THRESHOLD:
        return None
    return Alarm("SampleRatioMismatch", _sentence(starts[int(found.argmax())], together))


def _sentence(cell: Cell, log_e: float) -> str:
    n = cell.n1 + cell.n2
    return (
        f"at {show_percent(cell.percent)} % V2 got {cell.n2} of {n} starts ({100 * cell.n2 / n:.3g} %), where about "
        f"{float(cell.percent) / 100 * n:.0f} were to be expected: the comparisons stand on this coin; "
        f"evidence {show_evidence(log_e)}, needed {show_evidence(THRESHOLD)}"
    )

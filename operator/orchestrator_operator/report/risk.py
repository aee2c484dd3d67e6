"""How much more often a bad execution is V2's: the relative risk, with an interval that holds at every look. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scipy.optimize import brentq
from scipy.special import betaln, xlog1py, xlogy

if TYPE_CHECKING:
    from orchestrator_operator.rollout.statistics.evidence import Cell

_PRIOR = 0.5  # Jeffreys' Beta(½, ½): no share of the bad ones is thought likelier than its odds allow
_EDGE = 1e-12


def relative_risk(cell: Cell) -> float | None:
    """V2's share of bad executions, as a multiple of V1's; infinite where V1 had none, None where nothing is known."""
    if not cell.n1 or not cell.n2 or not (cell.bad_v1 or cell.bad_v2):
        return None
    if not cell.bad_v1:
        return math.inf
    return (cell.bad_v2 / cell.n2) / (cell.bad_v1 / cell.n1)


def interval(cell: Cell, level: float = 0.95) -> tuple[float, float] | None:
    """The relative risks ψ that the bad executions of one percent do not rule out, at every look at once.

    Given that an execution was bad it is V2's with probability q(ψ) = pψ/(pψ + 1 - p), p being the percent. The
    interval holds every ψ against whose q the mixture of all coins under Jeffreys' prior is not yet 1/(1 - level)
    times as likely: a confidence sequence (Robbins 1970; for shares Lindon & Malek 2020, arXiv 2011.03567), so that
    it covers the truth with probability `level` over the whole rollout, and not only at one look. The upper end may
    be infinite. None where no coin was tossed (p is 0 or 1) or no execution was bad.
    """
    p, k1, k2 = float(cell.percent) / 100, cell.bad_v1, cell.bad_v2
    if not 0 < p < 1 or not k1 + k2:
        return None
    mixture = betaln(_PRIOR + k2, _PRIOR + k1) - betaln(_PRIOR, _PRIOR)
    bound = mixture + math.log(1 - level)

    def excess(q: float) -> float:
        """Below 0 where this share is ruled out. Concave, with its top at k₂/k."""
        return float(xlogy(k2, q) + xlog1py(k1, -q) - bound)

    top = k2 / (k1 + k2)
    low = brentq(excess, _EDGE, top) if k2 and excess(_EDGE) < 0 else 0.0
    high = brentq(excess, top, 1 - _EDGE) if k1 and excess(1 - _EDGE) < 0 else 1.0
    return _odds(low, p), _odds(high, p)


def _odds(q: float, p: float) -> float:
    """ψ for a share q: the inverse of q(ψ)."""
    return math.inf if q >= 1 else q * (1 - p) / ((1 - q) * p)

"""Detector B: is V2 worse by a user's own counters, whose unit and assignment nobody knows. Approximate.

Over a bin both engines see the same hour, so d = (n₁k₂ - ψn₂k₁)/(n₁ + n₂) has mean 0 if V2's relative risk is ψ. With
S = Σd and V = Σd², exp(λS - λ²V/2) is nearly a supermartingale for every λ (exactly, if d is symmetric: de la Peña
1999), and mixed over a half-normal λ >= 0 it is

    E = 2·√(r/(V + r))·exp(S²/(2(V + r)))·Φ(S/√(V + r)),   with exp(0) where S < 0, which is less

the one-sided normal mixture of Howard, Ramdas, McAuliffe & Sekhon 2021 (arXiv 1810.08240, proposition 6). The bins are
counts of clustered things, so its level holds asymptotically: a verdict from it says "approximate".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import log_ndtr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from orchestrator_operator.rollout.model import Bin

    Floats = NDArray[np.float64]

_TUNED_AT = 10.0  # v: the variance at which the boundary is tightest
_LEAST_VARIANCE = 5.0  # before it a sum of few bins is nothing like normal


def log_fail(bins: Sequence[Bin], tolerate: float, level: float) -> float:
    """The evidence ln E that V2's relative risk is above `tolerate`, to be held against ln(1/level)."""
    drift, variance = sums(bins, tolerate)
    return float(log_evidence(drift, variance, level))


def log_pass(bins: Sequence[Bin], margin: float, level: float) -> float:
    """The evidence ln E that V2's relative risk is below `margin` (ψ_m): `log_fail` mirrored."""
    drift, variance = sums(bins, margin)
    return float(log_evidence(-drift, variance, level))


def log_evidence(drift: ArrayLike, variance: ArrayLike, level: float) -> Floats:
    """The logarithm of E above from S and V, of any one shape; 0 where V is below 5."""
    s, v = np.asarray(drift, dtype=np.float64), np.asarray(variance, dtype=np.float64)
    rho = _tuning(level)
    spread = v + rho
    ratio = 0.5 * np.log(rho / spread) + np.maximum(s, 0) ** 2 / (2 * spread)
    found: Any = np.log(2) + ratio + log_ndtr(s / np.sqrt(spread))
    return np.asarray(np.where(v < _LEAST_VARIANCE, 0.0, found), dtype=np.float64)


def sums(bins: Sequence[Bin], ratio: float) -> tuple[float, float]:
    """(S, V) of these bins against the relative risk `ratio` (ψ); a bin without anything contributes nothing."""
    table = np.array([(item.k1, item.n1, item.k2, item.n2) for item in bins], dtype=np.float64).reshape(-1, 4)
    k1, n1, k2, n2 = table.T
    d = (n1 * k2 - ratio * n2 * k1) / np.maximum(n1 + n2, np.finfo(np.float64).tiny)
    return float(d.sum()), float(d @ d)


def _tuning(level: float) -> float:
    """The r = v/(2L + ln(1 + 2L)), L = ln(1/(2·level)): tightest at V = v (Howard et al., section 3.5)."""
    doubled = 2 * math.log(1 / (2 * level))
    return _TUNED_AT / (doubled + math.log1p(doubled))

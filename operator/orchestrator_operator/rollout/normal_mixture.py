"""Detector B: is V2 worse by a user's own counters, whose unit and assignment nobody knows. Approximate.

Over a bin both engines see the same time, so d = (n₁k₂ - ψn₂k₁)/(n₁ + n₂) has mean 0 if V2's relative risk is ψ, and
S = Σd is a martingale. With V = (Σd² + 2Σ Var d)/3, exp(λS - λ²V/2) is a supermartingale for every λ, however skewed d
is (Delyon 2009, theorem 4; Howard et al. 2020, arXiv 1808.03204, table 3). Mixed over a half-normal λ >= 0 it is

    E = 2·√(r/(V + r))·exp(S²/(2(V + r)))·Φ(S/√(V + r)),   with exp(0) where S < 0, which is less

the one-sided normal mixture of Howard, Ramdas, McAuliffe & Sekhon 2021 (arXiv 1810.08240, proposition 6).

Var d = g·ψn₁n₂(n₁ + ψn₂)/(n₁ + n₂)², where g is a bad unit's noise, the same on both engines: it is estimated from how
u = (k₁ + k₂/ψ)/(n₁ + n₂) moves from bin to bin (successive differences, von Neumann 1941), so what changes for both in
an hour hardly counts. That estimate is why a verdict from here says "approximate". Everything is measured in events:
a cluster of g/u bad units is one, so that counting in cents or in dollars makes no difference.

Σd² alone will not do: where one arm is small (5 %, or a holdback of 1 %) and bad units come in clusters of five, it
convicted a healthy V2 in up to 29 % of the runs at a level of 0.005, since the rare clusters of the small arm had not
come yet. With V as it stands here it was at most the level in every case, and twice as bad a V2 was seen sooner.
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

_TUNED_AT = 10.0  # v: the variance, in events, at which the boundary is tightest
_LEAST_VARIANCE = 5.0  # before it a sum of few bins is nothing like normal
_TINY = np.finfo(np.float64).tiny


def log_fail(bins: Sequence[Bin], tolerate: float, level: float) -> float:
    """The evidence ln E that V2's relative risk is above `tolerate`, to be held against ln(1/level)."""
    return _last(log_fail_paths(_table(bins), tolerate, level))


def log_pass(bins: Sequence[Bin], margin: float, level: float) -> float:
    """The evidence ln E that V2's relative risk is below `margin` (ψ_m): `log_fail` mirrored."""
    return _last(log_pass_paths(_table(bins), margin, level))


def log_fail_paths(table: Floats, tolerate: float, level: float) -> Floats:
    """`log_fail` after every bin of many runs; `table` has (k₁, n₁, k₂, n₂) in shape (..., bins, 4)."""
    drift, variance = _sums(table, tolerate)
    return log_evidence(drift, variance, level)


def log_pass_paths(table: Floats, margin: float, level: float) -> Floats:
    """`log_pass` after every bin of many runs; shapes as in `log_fail_paths`."""
    drift, variance = _sums(table, margin)
    return log_evidence(-drift, variance, level)


def log_evidence(drift: ArrayLike, variance: ArrayLike, level: float) -> Floats:
    """The logarithm of E above from S and V in events, of any one shape; 0 where V is below 5."""
    s, v = np.asarray(drift, dtype=np.float64), np.asarray(variance, dtype=np.float64)
    tuned = _tuning(level)
    spread = v + tuned
    ratio = 0.5 * np.log(tuned / spread) + np.maximum(s, 0) ** 2 / (2 * spread)
    found: Any = np.log(2) + ratio + log_ndtr(s / np.sqrt(spread))
    return np.asarray(np.where(v < _LEAST_VARIANCE, 0.0, found), dtype=np.float64)


def _sums(table: Floats, ratio: float) -> tuple[Floats, Floats]:
    """(S, V) in events after every bin against the relative risk `ratio`; 0 while no noise shows what an event is."""
    k1, n1, k2, n2 = (table[..., column] for column in range(4))
    n = np.maximum(n1 + n2, _TINY)
    d = (n1 * k2 - ratio * n2 * k1) / n
    spread = ratio * n1 * n2 * (n1 + ratio * n2) / n**2
    bad = k1 + k2 / ratio
    noise = _noise(bad / n, (n1 + n2 / ratio) / n**2, n)
    event = noise * n.cumsum(axis=-1) / np.maximum(bad.cumsum(axis=-1), _TINY)
    known = (noise > 0) & (event > 0) & np.isfinite(event)
    event = np.where(known, event, 1.0)
    variance = ((d * d).cumsum(axis=-1) + 2 * noise * spread.cumsum(axis=-1)) / 3
    return np.where(known, d.cumsum(axis=-1) / event, 0.0), np.where(known, variance / event**2, 0.0)


def _noise(u: Floats, per_noise: Floats, n: Floats) -> Floats:
    """The estimate of g after every bin: Var u = g·`per_noise`. A pair weighs n·n'/(n + n'): small bins say little."""
    squares = np.diff(u, axis=-1) ** 2 / np.maximum(per_noise[..., 1:] + per_noise[..., :-1], _TINY)
    weights = n[..., 1:] * n[..., :-1] / (n[..., 1:] + n[..., :-1])
    found = (weights * squares).cumsum(axis=-1) / np.maximum(weights.cumsum(axis=-1), _TINY)
    return np.concatenate([np.zeros_like(n[..., :1]), found], axis=-1)


def _table(bins: Sequence[Bin]) -> Floats:
    """The bins in which anything was counted: shape (bins, 4)."""
    rows = [(item.k1, item.n1, item.k2, item.n2) for item in bins if item.n1 + item.n2 > 0]
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def _last(path: Floats) -> float:
    return float(path[-1]) if len(path) else 0.0


def _tuning(level: float) -> float:
    """The r = v/(2L + ln(1 + 2L)), L = ln(1/(2·level)): tightest at V = v (Howard et al. 2021, section 3.5)."""
    doubled = 2 * math.log(1 / (2 * level))
    return _TUNED_AT / (doubled + math.log1p(doubled))

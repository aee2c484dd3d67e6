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
convicted a healthy V2 in up to 27 % of the runs at a level of 0.005, since the rare clusters of the small arm had not
come yet. With V as it stands here it was at most the level in every case, and twice as bad a V2 was seen sooner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import log_ndtr

from orchestrator_operator.rollout.statistics import coins

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from orchestrator_operator.rollout.model import Bin

    Floats = NDArray[np.float64]

_TUNED_AT = 10.0  # v: the variance, in events, at which the boundary is tightest
_LEAST_VARIANCE = 5.0  # before it a sum of few bins is nothing like normal
_NOTHING = 1e-9  # units
_TINY = np.finfo(np.float64).tiny


def log_fail(bins: Sequence[Bin], restarts: Mapping[int, int], planned: int, tolerate: float, level: float) -> float:
    """The evidence ln E that V2's relative risk is above `tolerate`, to be held against ln(1/level).

    With late onsets in view, as the coin test: `restarts[s]` is how many of the bins restart s = 1, 2, … leaves out,
    those that did not begin after it; `planned` is how many restarts the plan has, the start included.
    """
    sums = Sums.of(_table(bins), tolerate)
    counted = np.cumsum([0, *(_counted(item) for item in bins)])  # empty bins are not in the table
    fresh = {s: sums.at_the_end(level, since=int(counted[left_out])) for s, left_out in restarts.items()}
    return coins.log_mixture_of_restarts(sums.at_the_end(level), fresh, planned)


def log_pass(bins: Sequence[Bin], margin: float, level: float) -> float:
    """The evidence ln E that V2's relative risk is below `margin` (ψ_m): mirrored, and of these bins as a whole."""
    return Sums.of(_table(bins), margin).mirrored.at_the_end(level)


@dataclass(frozen=True, slots=True)
class Sums:
    """What the evidence is made of, after every bin: arrays of shape (..., bins), of one run or of many at once."""

    drift: Floats  # S
    squares: Floats  # Σd²
    spread: Floats  # Σ Var d / g
    noise: Floats  # the estimate of g; 0 while nothing says how large it is
    event: Floats  # how many bad units come together

    @classmethod
    def of(cls, table: Floats, ratio: float) -> Sums:
        """Against the relative risk `ratio` (ψ); `table` has (k₁, n₁, k₂, n₂) in shape (..., bins, 4), no bin empty."""
        k1, n1, k2, n2 = (table[..., column] for column in range(4))
        n = n1 + n2
        on_v1, on_v2 = n1 / n, n2 / n
        d = on_v1 * k2 - ratio * on_v2 * k1
        spread = ratio * on_v1 * on_v2 * (n1 + ratio * n2)
        bad = k1 + k2 / ratio
        noise = _noise(bad / n, (on_v1 + on_v2 / ratio) / n, n)
        event = noise * n.cumsum(axis=-1) / np.maximum(bad.cumsum(axis=-1), _TINY)
        return cls(d.cumsum(axis=-1), (d * d).cumsum(axis=-1), spread.cumsum(axis=-1), noise, event)

    @property
    def mirrored(self) -> Sums:
        """For the claim that V2 is better."""
        return Sums(-self.drift, self.squares, self.spread, self.noise, self.event)

    def log_evidence(self, level: float, since: int = 0, looks: slice = slice(None)) -> Floats:
        """The evidence of the bins after the first `since`, after each of them or at some: shape (..., looks)."""
        drift, squares, spread = (_grown(total, since)[..., looks] for total in (self.drift, self.squares, self.spread))
        noise, event = self.noise[..., since:][..., looks], self.event[..., since:][..., looks]
        known = (noise > 0) & (event > 0)
        unit = np.where(known, event, 1.0)
        found = log_evidence(drift / unit, (squares + 2 * noise * spread) / 3 / unit**2, level)
        return np.asarray(np.where(known, found, 0.0), dtype=np.float64)

    def at_the_end(self, level: float, since: int = 0) -> float:
        """The evidence of one run as it stands; 0 where nothing has been counted."""
        found = self.log_evidence(level, since, slice(-1, None))
        return float(found[0]) if found.size else 0.0


def log_evidence(drift: ArrayLike, variance: ArrayLike, level: float) -> Floats:
    """The logarithm of E above from S and V in events, of any one shape; 0 where V is below 5."""
    s, v = np.asarray(drift, dtype=np.float64), np.asarray(variance, dtype=np.float64)
    tuned = _tuning(level)
    spread = v + tuned
    ratio = 0.5 * np.log(tuned / spread) + np.maximum(s, 0) ** 2 / (2 * spread)
    found: Any = np.log(2) + ratio + log_ndtr(s / np.sqrt(spread))
    return np.asarray(np.where(v < _LEAST_VARIANCE, 0.0, found), dtype=np.float64)


def _noise(u: Floats, per_noise: Floats, n: Floats) -> Floats:
    """The estimate of g after every bin: Var u = g·`per_noise`. A pair weighs n·n'/(n + n'): small bins say little."""
    squares = np.diff(u, axis=-1) ** 2 / (per_noise[..., 1:] + per_noise[..., :-1])
    weights = n[..., 1:] * n[..., :-1] / (n[..., 1:] + n[..., :-1])
    found = (weights * squares).cumsum(axis=-1) / weights.cumsum(axis=-1)
    return np.concatenate([np.zeros_like(n[..., :1]), found], axis=-1)


def _grown(total: Floats, since: int) -> Floats:
    return total[..., since:] - total[..., since - 1 : since] if since else total


def _table(bins: Sequence[Bin]) -> Floats:
    """The bins in which anything was counted: shape (bins, 4)."""
    rows = [(item.k1, item.n1, item.k2, item.n2) for item in bins if _counted(item)]
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def _counted(item: Bin) -> bool:
    """Whether it holds anything: what is left of nothing when floats are subtracted is nothing."""
    return item.n1 + item.n2 > _NOTHING


def _tuning(level: float) -> float:
    """The r = v/(2L + ln(1 + 2L)), L = ln(1/(2·level)): tightest at V = v (Howard et al. 2021, section 3.5)."""
    doubled = 2 * math.log(1 / (2 * level))
    return _TUNED_AT / (doubled + math.log1p(doubled))

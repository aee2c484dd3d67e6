"""The Mann-Whitney test with a confidence interval for the shift, as Kayenta computes it: as R does.

Source: spinnaker/spinnaker at f8b98eba (2026), kayenta/kayenta-mannwhitney/…/MannWhitney.scala, which follows the
asymptotic two-sample branch of `wilcox.test` of R (src/library/stats/R/wilcox.test.R) and its root finder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm, rankdata

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TOLERANCE = 1e-4  # of R's uniroot there: the ends of an interval are no better than that, in the units of the data
_STEPS = 1000


class AllTied(ValueError):
    """All observations are equal once one sample is shifted: there is no standard error."""


@dataclass(frozen=True, slots=True, eq=False)
class Shift:
    """By how much the first sample lies above the second: an interval, two-sided at `confidence`, and an estimate.

    Each is a root of its own, found when it is asked for; AllTied where it cannot be.
    """

    first: Floats
    second: Floats
    confidence: float

    @property
    def lower(self) -> float:
        return self._root(self._quantile)

    @property
    def upper(self) -> float:
        return self._root(-self._quantile)

    @property
    def estimate(self) -> float:
        """Hodges and Lehmann's: about the median of all differences."""
        return self._root(0.0)

    @property
    def _quantile(self) -> float:
        return float(norm.isf((1 - self.confidence) / 2))

    def _root(self, quantile: float) -> float:
        """Where `standardised` falls to the quantile."""
        first, second = self.first, np.sort(self.second)
        low, high = float(first.min() - second[-1]), float(first.max() - second[0])

        def distance(by: float) -> float:
            return standardised(by, first, second) - quantile

        at_low, at_high = distance(low), distance(high)
        # The estimate is searched for without these two: its distance changes sign between the ends.
        if quantile and at_low <= 0:
            return low
        if quantile and at_high >= 0:
            return high
        return zero(distance, low, high, at_low, at_high)


def standardised(shift: float, first: Floats, second: Floats) -> float:
    """The rank sum of `first - shift` against `second`, with corrections for continuity and ties, in standard errors.

    `second` must be sorted. Falls as `shift` grows. AllTied where all observations are equal.
    """
    n, m = len(first), len(second)
    moved = first - shift
    below, up_to = (np.searchsorted(second, moved, side) for side in ("left", "right"))
    above = float(below.sum() + up_to.sum()) / 2 - n * m / 2  # the rank sum less n(n+1)/2, with ties shared
    _, ties = np.unique(np.concatenate([moved, second]), return_counts=True)
    tied = float((ties.astype(np.float64) ** 3 - ties).sum())
    spread = math.sqrt(n * m / 12 * ((n + m + 1) - tied / ((n + m) * (n + m - 1))))
    if spread == 0:
        raise AllTied("all observations are tied: there is no confidence interval")
    return (above - 0.5 * np.sign(above)) / spread


def clearly_above(first: Floats, second: Floats, confidence: float) -> NDArray[np.bool_]:
    """Whether the interval of each row's shift lies above zero: of arrays (rows, n) and (rows, m), NaN for nothing.

    The interval's lower end is where `standardised` falls to the quantile, so it is positive where the value at zero
    is above that; and where all of the first sample lies above the second, however few they are, for then it is at
    least the gap between them. This looks at many rows at once; `Shift` then says by how much.
    """
    missing = np.isnan(np.concatenate([first, second], axis=1))
    filled = np.where(missing, np.inf, np.concatenate([first, second], axis=1))  # last, and below nobody's rank
    lowest: Any = rankdata(filled, method="min", axis=1)
    highest: Any = rankdata(filled, method="max", axis=1)
    ranks = np.where(missing, 0.0, (lowest + highest) / 2)
    width = first.shape[1]
    n = (~missing[:, :width]).sum(axis=1).astype(np.float64)
    m = (~missing[:, width:]).sum(axis=1).astype(np.float64)
    above = ranks[:, :width].sum(axis=1) - n * (n + 1) / 2 - n * m / 2
    tied = np.where(missing, 0.0, (highest - lowest + 1.0) ** 2 - 1).sum(axis=1)  # Σ(t³ - t), shared by the tied
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(n * m / 12 * ((n + m + 1) - tied / ((n + m) * (n + m - 1))))
        found = (above - 0.5 * np.sign(above)) / spread > norm.isf((1 - confidence) / 2)
    lowest_first = np.where(np.isnan(first), np.inf, first).min(axis=1)
    highest_second = np.where(np.isnan(second), -np.inf, second).max(axis=1)
    separate = (lowest_first > highest_second) & (n > 0) & (m > 0)
    return np.asarray(found & (spread > 0) | separate, dtype=np.bool_)


def zero(
    function: Callable[[float], float],
    low: float,
    high: float,
    at_low: float,
    at_high: float,
    tolerance: float = TOLERANCE,
) -> float:
    """Brent's root finder as R's `uniroot` has it (R. P. Brent, Algorithms for Minimization without Derivatives, 1973).

    Of a step function it finds a step to within the tolerance, and which side of it is part of the result: scipy's
    brentq stops elsewhere.
    """
    if at_low == 0:
        return low
    if at_high == 0:
        return high
    a, b, c, fa, fb, fc = low, high, low, at_low, at_high, at_low
    for _ in range(_STEPS):
        before = b - a
        if abs(fc) < abs(fb):
            a, b, c, fa, fb, fc = b, c, b, fb, fc, fb
        near = 2 * np.finfo(np.float64).eps * abs(b) + tolerance / 2
        step = (c - b) / 2
        if abs(step) <= near or fb == 0:
            return b
        if abs(before) >= near and abs(fa) > abs(fb):
            step = _interpolated(a, b, c, fa, fb, fc, before, near, step)
        if abs(step) < near:
            step = math.copysign(near, step)
        a, fa = b, fb
        b += step
        fb = function(b)
        if (fb > 0) == (fc > 0) and fb != 0 and fc != 0:
            c, fc = a, fa
    return b


def _interpolated(  # noqa: PLR0917 - three points and their values
    a: float, b: float, c: float, fa: float, fb: float, fc: float, before: float, near: float, halving: float
) -> float:
    """The step of linear or inverse quadratic interpolation, if it stays within reach; else the halving."""
    if a == c:
        ratio = fb / fa
        p, q = (c - b) * ratio, 1 - ratio
    else:
        q, t1, t2 = fa / fc, fb / fc, fb / fa
        p = t2 * ((c - b) * q * (q - t1) - (b - a) * (t1 - 1))
        q = (q - 1) * (t1 - 1) * (t2 - 1)
    if p > 0:
        q = -q
    else:
        p = -p
    within = p < 0.75 * (c - b) * q - abs(near * q) / 2 and p < abs(before * q / 2)
    return p / q if within else halving

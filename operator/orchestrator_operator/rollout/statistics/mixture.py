"""Which alternatives the coin test mixes, and with which weights. Pure values.

E is a weighted mean of supermartingales: one for each pair (ψ, φ) and each moment that it starts at. Whatever the
weights are, as long as they are fixed beforehand, are not negative and sum to 1, that mean is a supermartingale from 1,
and the error level holds (Robbins 1970). So the weights are free, and say where the test is quick: convicting by a pair
of weight π costs ln 1/π of evidence.

`EVEN` spreads it over all pairs alike, which costs ln 4 for a V2 whose good executions are not fewer: most harms.
`DECIDING` convicts. It asks for fewer good ones (φ < 1) only where failures have become ten times as many or more, has
most of what is left at twice to five times, and gives the restarts a quarter. docs/rollout-evidence.md has what was
tried, and what each gave.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WORSE = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)  # alternatives of the relative risk ψ, times ψ₀
FEWER_GOOD = (1.0, 0.5, 0.1, 0.01)  # alternatives of the relative rate φ of good executions


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Pairs of alternatives with their weights, (J,) each; `whole` is for the evidence since the start."""

    worse: Floats  # ψ/ψ₀
    fewer: Floats  # φ
    weights: Floats  # π, Σπ = 1
    whole: float  # the rest, 1 - whole, is for the restarts

    @property
    def log_weights(self) -> Floats:
        return np.asarray(np.log(self.weights), dtype=np.float64)

    def against(self, tolerate: float) -> Mixture:
        """The same against ψ₀ = `tolerate`: at any other than 1 good ones say nothing, and a ψ has all of its pairs'.

        With V2 allowed to be worse or asked to be better, nothing is known of the good executions under the null.
        """
        if tolerate == 1.0:
            return self
        worse = np.unique(self.worse)
        together = np.array([self.weights[self.worse == psi].sum() for psi in worse])
        return Mixture(worse, np.ones_like(worse), together, self.whole)


def mixture(pairs: Iterable[tuple[float, float, float]], whole: float) -> Mixture:
    """Of (ψ/ψ₀, φ, weight) and the weight of the whole. Raises ValueError unless the weights are such."""
    worse, fewer, weights = (np.array(column, dtype=np.float64) for column in zip(*pairs, strict=True))
    if (weights <= 0).any() or not np.isclose(weights.sum(), 1.0, rtol=0, atol=1e-12) or not 0 < whole < 1:
        raise ValueError("the weights of a mixture must be above 0 and sum to 1, and that of the whole lie between")
    return Mixture(worse, fewer, weights, whole)


_EACH = 1 / (len(WORSE) * len(FEWER_GOOD))
EVEN = mixture(((psi, phi, _EACH) for psi, phi in product(WORSE, FEWER_GOOD)), whole=0.5)
DECIDING = mixture(
    (
        (1.25, 1, 0.02),
        (1.5, 1, 0.09),
        (2, 1, 0.16),
        (3, 1, 0.12),
        (5, 1, 0.18),
        (10, 1, 0.06),
        (30, 1, 0.02),
        (100, 1, 0.01),
        (30, 0.5, 0.02),
        (30, 0.1, 0.02),
        (10, 0.01, 0.10),
        (30, 0.01, 0.15),
        (100, 0.01, 0.05),
    ),
    whole=0.75,
)

"""The coin test (coins.py) of many rollouts at once, look by look, with all restarts in one running sum. Pure.

The log likelihood ratio L_j(t) of an alternative j is linear in the counts, so evidence that started afresh at s is
exp(L_j(t) - L_j(s)), and what all restarts say together is Σ_j exp(L_j(t)) · Σ_s w_s exp(-L_j(s)): the second factor
only grows by a term at each restart, however many there are. A property test holds it equal to
`evidence.log_fail_with_restarts`. (`coins.log_fail_paths` wants all looks at once; here the percents follow from what
the looks before them decided.) Arrays are (runs, pairs, alternatives); a pair is a criterion at an age.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logsumexp

from orchestrator_operator.rollout.statistics.coins import log_steps, restart_weight
from orchestrator_operator.rollout.statistics.mixture import DECIDING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]


class Suspicions:
    """The evidence against V2 of every run and pair, kept up to date count by count."""

    def __init__(self, runs: int, pairs: int, percents: Sequence[Decimal], planned: int, tolerate: float = 1.0) -> None:
        mixture = DECIDING.against(tolerate)
        self._planned, self._rest = planned, 1 - mixture.whole
        self._log_weights = mixture.log_weights
        p = np.array([float(percent) / 100 for percent in percents])
        self._bad_v1, self._bad_v2 = log_steps(p, tolerate * mixture.worse, tolerate)
        self._good_v1, self._good_v2 = log_steps(p, mixture.fewer, 1.0)
        self._logs = np.zeros((runs, pairs, len(mixture.weights)))
        start = mixture.whole + self._rest * restart_weight(0, planned)
        self._begun = np.full(self._logs.shape, math.log(start)) + self._log_weights
        self._waiting = np.full(runs, 1 - start)

    def add(self, at: Ints, bad_v1: Ints, good_v1: Ints, bad_v2: Ints, good_v2: Ints) -> None:
        """Count executions, (runs, pairs) each; `at` is the index of the percent that they were routed at."""
        self._logs += bad_v1[..., None] * self._bad_v1[at] + bad_v2[..., None] * self._bad_v2[at]
        self._logs += good_v1[..., None] * self._good_v1[at] + good_v2[..., None] * self._good_v2[at]

    def restart(self, index: int, runs: Mask) -> None:
        """Evidence that starts afresh now, in these runs."""
        weight = self._rest * restart_weight(index, self._planned)
        afresh = math.log(weight) + self._log_weights - self._logs[runs]
        self._begun[runs] = np.logaddexp(self._begun[runs], afresh)
        self._waiting[runs] -= weight

    def log_e(self) -> Floats:
        """Ln E, (runs, pairs)."""
        everything = np.ones(len(self._waiting), dtype=np.bool_)
        return self._log_e(everything)

    def reached(self, thresholds: Floats) -> Mask:
        """Where ln E is at its pair's threshold or above, (runs, pairs); thresholds are 0 (E = 1) or more.

        What waits is at most ½, so half of such an E is in its terms, and the largest of them is not far below: whoever
        has none of that size is not summed up.
        """
        largest = (self._logs + self._begun).max(axis=2)
        close = (largest >= thresholds - math.log(2 * len(self._log_weights))).any(axis=1)
        found = np.zeros(largest.shape, dtype=np.bool_)
        if close.any():
            found[close] = self._log_e(close) >= thresholds
        return found

    def _log_e(self, runs: Mask) -> Floats:
        begun = logsumexp(self._logs[runs] + self._begun[runs], axis=2)
        with np.errstate(divide="ignore"):  # all restarts have begun: nothing waits
            waiting = np.log(np.maximum(self._waiting[runs], 0.0))[:, None]
        return np.asarray(np.logaddexp(begun, waiting), dtype=np.float64)

"""A user's own counter in many copies of a world, judged by detector B as own_comparisons.py does. Pure.

Here it counts executions and their failures as they happen, which the detector does not know. A bin is the interval
between two looks: `analysis.interval` has to be as long, and fewer than thirty executions to come in it, as else bins
would be closed sooner. Its Fail alone counts (`required: false`), so what it says can be found when all is over: until
then nothing goes otherwise for it. Prometheus must answer all the time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from orchestrator_operator.rollout.judging.comparisons import planned_restarts
from orchestrator_operator.rollout.simulation.counting import V1, V2
from orchestrator_operator.rollout.simulation.levels import share
from orchestrator_operator.rollout.simulation.world import FAILING, Kind
from orchestrator_operator.rollout.statistics import coins, evidence
from orchestrator_operator.rollout.statistics.normal_mixture import Sums

if TYPE_CHECKING:
    from datetime import timedelta

    from numpy.typing import NDArray

    from orchestrator_operator.specs.rollout import Criterion, RolloutSpec

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

_BAD = [*FAILING, Kind.TRANSIENT]


class OwnCounter:
    """Keeps the bins of every run."""

    def __init__(self, spec: RolloutSpec, criterion: Criterion, runs: int, steps: int, step: timedelta) -> None:
        self.criterion, self._spec, self._step = criterion, spec, step
        self._bins = np.zeros((runs, steps, 4), dtype=np.float32)  # k1, n1, k2, n2
        self._counted = 0

    def count(self, begun: Ints) -> None:
        """One interval more: (runs, 2 engines, kinds)."""
        bad, everything = begun[:, :, _BAD].sum(axis=2), begun.sum(axis=2)
        counts = (bad[:, V1], everything[:, V1], bad[:, V2], everything[:, V2])
        self._bins[:, self._counted] = np.stack(counts, axis=1)
        self._counted += 1

    def convicted(self, missed: Mask) -> Floats:
        """Seconds after which each run's counter convicts V2, at a look that is not `missed`; infinite for never."""
        return np.array([self._convicted(bins[: self._counted], missed[run]) for run, bins in enumerate(self._bins)])

    def _convicted(self, bins: NDArray[np.float32], missed: Mask) -> float:
        analysis = self._spec.analysis
        counted = np.flatnonzero(bins[:, 1] + bins[:, 3])
        level = share(self._spec, self.criterion, None) * analysis.false_rollback
        sums = Sums.of(bins[counted].astype(np.float64), analysis.tolerate)
        fresh = {}
        for index in range(1, math.ceil(self._counted * self._step / analysis.restart)):
            left_out = int(np.searchsorted(counted, math.ceil(index * analysis.restart / self._step)))
            if 0 < left_out < len(counted):
                fresh[index] = sums.log_evidence(level, since=left_out)
        logs = coins.log_mixture_of_paths(sums.log_evidence(level), fresh, planned_restarts(self._spec))
        shown = (logs >= evidence.log_threshold(level)) & ~missed[counted]
        return float((counted[shown.argmax()] + 1) * self._step.total_seconds()) if shown.any() else math.inf

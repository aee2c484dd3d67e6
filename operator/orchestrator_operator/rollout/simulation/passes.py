"""Which running stages have shown what they must, in many rollouts at once. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from orchestrator_operator.rollout.judging.comparisons import pass_age
from orchestrator_operator.rollout.statistics import coins, evidence
from orchestrator_operator.specs.rollout_words import Preset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from orchestrator_operator.rollout.simulation.counting import Counting
    from orchestrator_operator.specs.rollout import RolloutSpec

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

_ALL = 100  # per cent


class Passes:
    """Reads the totals of `counting` as they stand."""

    def __init__(self, spec: RolloutSpec, counting: Counting) -> None:
        self.spec, self._totals = spec, counting.totals
        keys, criteria = counting.keys, {str(item.preset): item for item in spec.comparisons}
        self._percents = np.array([float(stage.share) for stage in spec.stages])
        self._pass_pairs = [
            [pair for pair, (_, age) in enumerate(keys) if age == pass_age(spec, stage)] for stage in spec.stages
        ]
        # Only some workflows have a baseline: how many executions there were is for the others to say.
        self._all_counted = {p for p, (name, _) in enumerate(keys) if name != Preset.SLOWER_THAN_BASELINE}
        self._required = {pair for pair, (name, _) in enumerate(keys) if criteria[name].required}

    def passed(self, due: Mask, stage: Ints) -> Mask:
        """Every comparison has its Pass at the age that the stage is long enough for, and both arms are full."""
        passed = np.zeros(len(due), dtype=np.bool_)
        least = self.spec.analysis.minimum_executions
        for index, pairs in enumerate(self._pass_pairs):
            these = np.flatnonzero(due & (stage == index))
            if not len(these):
                continue
            b1, g1, b2, g2 = (self._totals[these, index][:, pairs, place] for place in range(4))
            n1, n2, percent = b1 + g1, b2 + g2, self._percents[index]
            arms = [place for place, pair in enumerate(pairs) if pair in self._all_counted] or slice(None)
            full = n2[:, arms].min(axis=1) >= least
            if percent == _ALL:
                passed[these] = full
                continue
            full &= n1[:, arms].min(axis=1) >= least
            good = self._good_enough(b1.astype(float), n1.astype(float), b2.astype(float), n2.astype(float), percent)
            needed = [place for place, pair in enumerate(pairs) if pair in self._required]
            passed[these] = full & good[:, needed].all(axis=1)
        return passed

    def _good_enough(self, b1: Floats, n1: Floats, b2: Floats, n2: Floats, percent: float) -> Mask:
        analysis = self.spec.analysis
        relative, absolute = analysis.pass_margin.relative, analysis.pass_margin.absolute
        margin = np.maximum(relative, 1 + absolute / (np.maximum(b1, 1) / np.maximum(n1, 1)))
        log_e = coins.log_pass(np.array([percent / _ALL]), b1[..., None], b2[..., None], margin)
        shown = log_e >= evidence.log_threshold(analysis.false_pass)
        spotless = (b1 == 0) & (b2 == 0)
        enough = np.log(1 / analysis.false_pass) <= n2 * absolute
        return np.asarray((n1 > 0) & (n2 > 0) & np.where(spotless, enough & (absolute > 0), shown), dtype=np.bool_)

"""What is wrong with the experiment itself, for many rollouts at once, as the judge's detectors have it. Pure.

sample_ratio.py, calibration.py and degradation.py judge one rollout and name the sources; the ensemble is held to them
look by look (agreement.py).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import bdtrc, betaln, logsumexp

from orchestrator_operator.rollout.statistics import coins

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

THRESHOLD = math.log(1 / 0.001)  # ln E at which the sample ratio, and the A/A, are an alarm
_PRIOR = 100.0  # executions that the prior share of the sample ratio weighs as much as
_TWICE, _LEAST, _CHANCE = 2.0, 20, 1e-6  # of the shared degradation


def log_sample_ratio(starts: Ints, percents: Floats) -> Floats:
    """Ln E that V2's share is not what was asked for; starts are (runs, percents, 2 engines), the answer (runs,)."""
    p = np.clip(percents / 100, 1e-12, 1 - 1e-12)
    n1, n2 = starts[..., 0].astype(np.float64), starts[..., 1].astype(np.float64)
    a1, a2 = _PRIOR * (1 - p), _PRIOR * p
    logs = betaln(a1 + n1, a2 + n2) - betaln(a1, a2) - n1 * np.log1p(-p) - n2 * np.log(p)
    logs = np.where((percents > 0) & (percents < 100), logs, 0.0)  # noqa: PLR2004 - per cent: no coin is tossed
    return np.asarray(logsumexp(logs, axis=-1) - math.log(len(percents)), dtype=np.float64)


def log_calibration(split: Ints, percents: Floats) -> Floats:
    """Ln E that the two halves of V1 differ; (runs, percents, 4) in: bad and good of the one, then of the other."""
    parts = [split[..., place].astype(np.float64) for place in range(4)]
    one = coins.log_fail(percents / 100, coins.Counts(*parts))
    other = coins.log_fail(1 - percents / 100, coins.Counts(*parts[2:], *parts[:2]))
    return np.asarray(np.logaddexp(one, other) - math.log(2), dtype=np.float64)


def degraded(bad_now: Ints, all_now: Ints, bad_before: Ints, all_before: int) -> Mask:
    """Whether V1's last hour was more than twice as bad as the week before, by more than chance; all are (runs,)."""
    before = np.maximum(bad_before, 1)
    expected = all_now * before / all_before
    chance = bdtrc(bad_now - 1.0, (bad_now + before).astype(np.int64), expected / (expected + before))
    return np.asarray((bad_now >= _LEAST) & (bad_now > _TWICE * expected) & (chance < _CHANCE), dtype=np.bool_)

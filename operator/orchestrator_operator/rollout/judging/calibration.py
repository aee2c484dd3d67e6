"""A/A: V1's executions, split once more by a coin that means nothing, judged by the same code. Pure.

Where even that coin "convicts", the assignment or the counting is broken, and no verdict on V2 can be trusted. Either
side may look worse, so the evidence is the mean of both: still of mean 1 at any stopping time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from orchestrator_operator.rollout.model import Alarm
from orchestrator_operator.rollout.statistics import coins, evidence
from orchestrator_operator.rollout.statistics.coins import Counts
from orchestrator_operator.rollout.wording import show_evidence, show_share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from orchestrator_operator.rollout.statistics.evidence import Cells

    Floats = NDArray[np.float64]

THRESHOLD = evidence.log_threshold(0.001)  # ln E at which it is an alarm


def log_evidence(cells: Cells) -> float:
    """The logarithm of the evidence that the two parts differ; in a Cell V1 is the one part, V2 the other."""
    return float(log_either(*evidence.as_arrays(cells)))


def log_either(p: Floats, counts: Counts) -> Floats:
    """The same of one experiment or of many: `p` is (P,), counts are (..., P), the answer is (...)."""
    mirrored = Counts(counts.bad_v2, counts.good_v2, counts.bad_v1, counts.good_v1)
    one, other = coins.log_fail(p, counts), coins.log_fail(1 - p, mirrored)
    return np.asarray(np.logaddexp(one, other) - math.log(2), dtype=np.float64)


def alarm(cells: Cells) -> Alarm | None:
    """NotCalibrated, if V1 looks worse than V1."""
    found = log_evidence(cells)
    if found < THRESHOLD:
        return None
    k1, n1, k2, n2 = evidence.totals(cells)
    return Alarm(
        "NotCalibrated",
        f"V1 against V1, split by a coin that means nothing: {k2} of {n2}{show_share(k2, n2)} and {k1} of "
        f"{n1}{show_share(k1, n1)} were bad; evidence {show_evidence(found)}, needed {show_evidence(THRESHOLD)}: the "
        "assignment or the counting is broken, and no comparison can be trusted",
    )

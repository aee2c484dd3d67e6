"""A/A: V1's executions, split once more by a coin that means nothing, judged by the same code. Pure.

Where even that coin "convicts", the assignment or the counting is broken, and no verdict on V2 can be trusted. Either
side may look worse, so the evidence is the mean of both: still of mean 1 at any stopping time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from orchestrator_operator.rollout.model import Alarm
from orchestrator_operator.rollout.statistics import evidence
from orchestrator_operator.rollout.statistics.evidence import Cell
from orchestrator_operator.rollout.wording import show_evidence, show_share

if TYPE_CHECKING:
    from orchestrator_operator.rollout.statistics.evidence import Cells

LEVEL = 0.001


def log_evidence(cells: Cells) -> float:
    """The logarithm of the evidence that the two parts differ; in a Cell V1 is the one part, V2 the other."""
    mirrored = tuple(Cell(100 - cell.percent, cell.bad_v2, cell.good_v2, cell.bad_v1, cell.good_v1) for cell in cells)
    one, other = sorted((evidence.log_fail(cells), evidence.log_fail(mirrored)))
    return other + math.log1p(math.exp(one - other)) - math.log(2)


def alarm(cells: Cells) -> Alarm | None:
    """NotCalibrated, if V1 looks worse than V1."""
    found, needed = log_evidence(cells), evidence.log_threshold(LEVEL)
    if found < needed:
        return None
    k1, n1, k2, n2 = evidence.totals(cells)
    return Alarm(
        "NotCalibrated",
        f"V1 against V1, split by a coin that means nothing: {k2} of {n2}{show_share(k2, n2)} and {k1} of "
        f"{n1}{show_share(k1, n1)} were bad; evidence {show_evidence(found)}, needed {show_evidence(needed)}: the "
        "assignment or the counting is broken, and no comparison can be trusted",
    )

"""How many of V2's executions a total outage takes until it is convicted: execution by execution. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from orchestrator_operator.rollout.simulation.suspicions import Suspicions

if TYPE_CHECKING:
    from decimal import Decimal

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

_AT_ONCE = 16  # executions that are drawn together


def executions_to_convict(
    percent: Decimal, *, base: float, threshold: float, planned: int, runs: int, most: int, seed: int
) -> Ints:
    """V2's executions until ln E reaches `threshold`, all of them failing, in `runs` runs; `most` where it never did.

    V1's fail with the chance `base`. What was before the outage is left out: it is the first hour of the rollout.
    """
    rng = np.random.default_rng(seed)
    suspicions = Suspicions(runs, 1, [percent], planned)
    needed, on_v2 = np.full(runs, most), np.zeros(runs, dtype=np.int64)
    first = np.zeros((runs, 1), dtype=np.int64)
    open_ = np.ones(runs, dtype=np.bool_)
    while open_.any() and on_v2[open_].min() < most:
        coins = rng.random((runs, _AT_ONCE)) < float(percent) / 100
        fails = rng.random((runs, _AT_ONCE)) < base
        for place in range(_AT_ONCE):
            v2, bad = coins[:, place, None], fails[:, place, None]
            suspicions.add(first, *(part.astype(np.int64) for part in (~v2 & bad, ~v2 & ~bad, v2, v2 & False)))
            on_v2 += v2[:, 0]
            convicted = suspicions.reached(np.full(1, threshold))[:, 0] & open_
            needed[convicted] = np.minimum(on_v2[convicted], most)
            open_ &= ~convicted
    return needed

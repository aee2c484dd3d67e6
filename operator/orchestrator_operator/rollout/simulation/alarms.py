"""The findings about the experiment itself, for many rollouts at once: they hold, and convict nobody. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaln

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

SAMPLE_RATIO = math.log(1 / 0.001)  # ln E at which the sample ratio, and the A/A, are an alarm
_PRIOR = 100.0  # executions that the prior share of the sample ratio weighs as much as
_TWICE, _LEAST = 2.0, 20  # V1's share of bad ones against before, and how many at least


def log_sample_ratio(n1: Floats, n2: Floats, percent: Floats) -> Floats:
    """Ln E that V2's share is not `percent`, of starts n1 and n2, element by element.

    E = [B(α₀ + n)/B(α₀)] / Π θ₀^n with α₀ = 100 θ₀: Lindon & Malek, arXiv 2011.03567, for two arms.
    """
    share = np.clip(percent / 100, 1e-9, 1 - 1e-9)
    a1, a2 = _PRIOR * (1 - share), _PRIOR * share
    logs = betaln(a1 + n1, a2 + n2) - betaln(a1, a2) - n1 * np.log1p(-share) - n2 * np.log(share)
    return np.where((percent > 0) & (percent < 100), logs, 0.0)  # noqa: PLR2004 - per cent: no coin is tossed


def degraded(bad_now: Floats, all_now: Floats, share_before: Floats) -> Mask:
    """Whether V1's last hour was more than twice as bad as the week before, with twenty bad ones at least."""
    return np.asarray((bad_now >= _LEAST) & (bad_now > _TWICE * share_before * all_now), dtype=np.bool_)

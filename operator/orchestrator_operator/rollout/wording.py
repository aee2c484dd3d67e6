"""Numbers as people read them in verdicts, alarms and the status. Pure."""

from __future__ import annotations

import math

_WHOLE = 100  # … and from here on as a whole number
_LARGE = 1e6  # evidence above this is shown as a power of ten


def show_evidence(log_e: float) -> str:
    """E as people read it: `0.82`, `2171`, `1e12`."""
    if math.isinf(log_e) and log_e > 0:
        return "infinite"
    if log_e > math.log(_LARGE):
        return f"1e{log_e / math.log(10):.0f}"
    value = math.exp(log_e)
    return f"{value:.0f}" if value >= _WHOLE else f"{value:.3g}"


def show_counts(counts: tuple[int, int, int, int]) -> str:
    """`V2 14 of 120 (11.7 %), V1 30 of 2380 (1.26 %)`: bad executions of all."""
    k1, n1, k2, n2 = counts
    return f"V2 {k2} of {n2}{show_share(k2, n2)}, V1 {k1} of {n1}{show_share(k1, n1)}"


def show_share(bad: int, total: int) -> str:
    """` (1.26 %)`, or nothing of nothing."""
    return f" ({100 * bad / total:.3g} %)" if total else ""

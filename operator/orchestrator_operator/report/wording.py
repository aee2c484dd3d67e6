"""Numbers and verdicts as the page and the terminal say them. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from orchestrator_operator.report.scales import power_of_ten

if TYPE_CHECKING:
    from orchestrator_operator.specs.rollout_status import CriterionStatus

_EXACT = 6  # powers of ten up to which evidence is written out


def evidence(log_e: float) -> str:
    """E for its natural logarithm: 0.82, 213, 10⁵⁰."""
    exponent = log_e / math.log(10)
    if exponent >= _EXACT or exponent < -3:  # noqa: PLR2004 - 0.001 is still read at a glance
        return power_of_ten(round(exponent))
    value = math.exp(log_e)
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits say enough


def share(bad: float | None, total: float | None) -> str:
    """`14 of 1,200 (1.17 %)`; a dash where nothing was counted."""
    if bad is None or total is None:
        return "-"
    return f"{bad:,.9g} of {total:,.9g}" + (f" ({100 * bad / total:.3g} %)" if total else "")


def times(ratio: float | None) -> str:
    """A relative risk: 1.42; a dash where it is not known."""
    if ratio is None:
        return "-"
    return "∞" if math.isinf(ratio) else f"{ratio:.3g}"


def summary(item: CriterionStatus) -> str:
    """A criterion at one moment, in a line."""
    parts = [f"{item.verdict}"]
    if item.n1 is not None or item.n2 is not None:
        parts.append(f"V2 {share(item.k2, item.n2)}, V1 {share(item.k1, item.n1)} bad")
    if item.log_evidence is not None and item.log_threshold is not None:
        parts.append(f"evidence against V2 {evidence(item.log_evidence)} of {evidence(item.log_threshold)}")
    if item.log_pass_evidence is not None and item.log_pass_threshold is not None:
        parts.append(f"for a Pass {evidence(item.log_pass_evidence)} of {evidence(item.log_pass_threshold)}")
    if item.value is not None:
        parts.append(f"value {item.value:.4g}")
    return "; ".join(parts)

"""What each criterion may spend of the error level at each age, as the judge divides it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator_operator.rollout import evidence
from orchestrator_operator.specs.rollout import Preset

if TYPE_CHECKING:
    from datetime import timedelta

    from orchestrator_operator.specs.rollout import Criterion, RolloutSpec


def share(spec: RolloutSpec, criterion: Criterion, age: timedelta) -> float:
    """w: the part of the error level that a criterion may spend at an age."""
    presets = [str(item.preset) for item in spec.comparisons]
    found = evidence.shares(presets, len(spec.analysis.ages), favourite=Preset.FAILURES)
    return found[str(criterion.preset), spec.analysis.ages.index(age)]


def log_threshold(spec: RolloutSpec, criterion: Criterion, age: timedelta) -> float:
    """Ln E at which the criterion convicts at this age."""
    return evidence.log_threshold(spec.analysis.false_rollback, share(spec, criterion, age))

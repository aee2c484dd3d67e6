"""What each criterion may spend of the error level at each age, as the judge divides it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator_operator.rollout.judging.comparisons import levels
from orchestrator_operator.rollout.statistics import evidence

if TYPE_CHECKING:
    from datetime import timedelta

    from orchestrator_operator.specs.rollout import Criterion, RolloutSpec


def share(spec: RolloutSpec, criterion: Criterion, age: timedelta | None) -> float:
    """w: the part of the error level that a criterion may spend at an age."""
    return levels(spec)[criterion.name, age]


def log_threshold(spec: RolloutSpec, criterion: Criterion, age: timedelta | None) -> float:
    """Ln E at which the criterion convicts at this age."""
    return evidence.log_threshold(spec.analysis.false_rollback, share(spec, criterion, age))

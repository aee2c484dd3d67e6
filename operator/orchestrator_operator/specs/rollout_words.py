"""The words that a person may choose from in an EngineRollout."""

from __future__ import annotations

from enum import StrEnum


class CriterionType(StrEnum):
    """How a criterion is judged."""

    COMPARISON = "comparison"  # V2 against V1: may roll back
    GUARDRAIL = "guardrail"  # one number against a limit: holds


class Preset(StrEnum):
    """A criterion that comes with the product; a comparison's name is its metric's label `criterion`."""

    FAILURES = "failures"
    FIRST_ATTEMPT_FAILURES = "first-attempt-failures"
    SLOWER_THAN_BASELINE = "slower-than-baseline"
    SLOW_CHECKPOINTS = "slow-checkpoints"


class Underpowered(StrEnum):
    """What a stage does that ends without Pass and without Fail."""

    APPROVE = "Approve"
    PROMOTE = "Promote"
    HOLD = "Hold"


class Then(StrEnum):
    """What follows when the budget for blindness is spent."""

    HOLD = "Hold"
    ROLLBACK = "Rollback"


class Breach(StrEnum):
    """What a broken guardrail does."""

    HOLD = "Hold"
    ROLLBACK = "Rollback"


class InFlight(StrEnum):
    """What becomes of V2's executions after a rollback."""

    DRAIN = "Drain"
    CANCEL = "Cancel"


class DeletionPolicy(StrEnum):
    """What becomes of the flag when the resource is deleted."""

    CLEAR = "Clear"
    KEEP = "Keep"

"""What a rollout's phase means to the router. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.router import Owner
from orchestrator_operator.rollout.phases import IN_A_STAGE, OVER
from orchestrator_operator.specs.rollout_status import Phase

if TYPE_CHECKING:
    from orchestrator_operator.specs.rollout_status import RolloutStatus


def owner(status: RolloutStatus) -> Owner:
    """How the router is to read the flag of a rollout that owns one.

    A re-armed rollout that has not started yet still counts as rolled back: a key that reappeared must not route.
    """
    if status.phase is Phase.COMPLETED:
        return Owner.COMPLETED
    if status.phase in OVER or (status.phase is Phase.PENDING and status.rolled_back_at is not None):
        return Owner.ROLLED_BACK
    return Owner.ACTIVE


def attempt_id(uid: str, attempt: int | None) -> str:
    """The id that an attempt of a rollout is counted under; None: what the ids of all its attempts begin with."""
    return f"{uid[:8]}-{'' if attempt is None else attempt}"


def judged_attempt(status: RolloutStatus) -> str:
    """The attempt id that new executions are counted under; "" while nothing is judged.

    It begins before the first stage: the counters must be there, at zero, before anything goes to V2.
    """
    return status.attempt_id if status.phase in IN_A_STAGE | {Phase.PENDING} else ""

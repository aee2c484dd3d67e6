"""Which stage of the spec is the one that runs, after somebody has edited the spec in mid-ramp. Pure.

A stage is known by its name, not by its place: stages may be inserted before it or taken away. One that is gone is
replaced by the one that gives V2 the largest share which is not above what V2 has now.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from orchestrator_operator.rollout.phases import IN_A_STAGE, OVER
from orchestrator_operator.specs.rollout_status import Phase

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator_operator.rollout.model import Gathered
    from orchestrator_operator.specs.rollout import RolloutSpec
    from orchestrator_operator.specs.rollout_status import RolloutStatus


def anchored(g: Gathered) -> Gathered:
    """The same, with the status at the place where the spec has its stage now."""
    if g.spec is None:
        return g
    status = _anchored(g.spec, g.status, g.now)
    return g if status is g.status else replace(g, status=status)


def gone(g: Gathered) -> bool:
    """Whether the stage that runs is not in the spec any more."""
    if g.spec is None or g.status.phase not in IN_A_STAGE or not g.status.stage:
        return False
    return _place(g.spec, g.status.stage) is None


def _anchored(spec: RolloutSpec, status: RolloutStatus, now: datetime) -> RolloutStatus:
    place = _place(spec, status.stage)
    if status.phase is Phase.PENDING and status.rolled_back_at is None:
        place = 0  # nothing has begun: it begins with the first stage, whatever was first when it was created
    elif place is None:
        place = _instead(spec, status)
    stage = spec.stages[place]
    changes: dict[str, Any] = {}
    if (place, stage.name) != (status.stage_index, status.stage):
        changes = {"stage_index": place, "stage": stage.name}
    if status.phase in IN_A_STAGE and status.stage not in ("", stage.name) and stage.share != Decimal(status.percent):
        changes["stage_started_at"] = now  # another stage; a new name for the same share keeps its time
    return status.model_copy(update=changes) if changes else status


def _place(spec: RolloutSpec, name: str) -> int | None:
    return next((index for index, stage in enumerate(spec.stages) if stage.name == name), None)


def _instead(spec: RolloutSpec, status: RolloutStatus) -> int:
    """For a stage that is gone. After a rollback: for the one that failed, or, armed again, for the one below it."""
    if status.stage and status.phase in IN_A_STAGE:
        return _up_to(spec, status.percent)
    if status.rolled_back_from and status.phase in OVER:
        return _up_to(spec, status.rolled_back_from)
    if status.rolled_back_from and status.phase is Phase.PENDING:
        return max(0, _up_to(spec, status.rolled_back_from) - 1)
    return min(status.stage_index, len(spec.stages) - 1)


def _up_to(spec: RolloutSpec, percent: str) -> int:
    """The highest stage that gives V2 no more than this; the first one where all would."""
    return max((index for index, stage in enumerate(spec.stages) if stage.share <= Decimal(percent)), default=0)

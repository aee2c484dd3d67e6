"""A rollout's conditions: for people, for tools, for `kubectl wait`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator_operator.rollout import flagplan
from orchestrator_operator.rollout.model import Unreadable
from orchestrator_operator.rollout.phases import IN_A_STAGE, OVER
from orchestrator_operator.specs.conditions import Condition, condition, tell, upsert
from orchestrator_operator.specs.rollout_status import Phase

if TYPE_CHECKING:
    from orchestrator_operator.rollout.model import Gathered
    from orchestrator_operator.specs.rollout_status import RolloutStatus

_REFUSED = frozenset({"SecretMissing", "SecretForbidden", "Conflict"})  # wrong in spec.flag, only the cluster can tell


def conditions(gathered: Gathered, status: RolloutStatus) -> tuple[Condition, ...]:
    """All conditions; the time of each moves only when its status does."""
    new = [_valid(gathered, status), _flag_conflict(gathered, status), *_phases(gathered, status)]
    existing = [item.model_dump(by_alias=True, exclude_none=True) for item in gathered.status.conditions]
    return tuple(Condition.model_validate(item) for item in upsert(existing, new))


def _valid(g: Gathered, status: RolloutStatus) -> dict[str, Any]:
    if g.problems:
        valid, reason, message = False, "InvalidSpec", tell(g.problems)
    elif status.reason in _REFUSED:
        valid, reason, message = False, status.reason, status.message
    else:
        valid, reason, message = True, "Valid", "the spec can be acted on"
    return condition("Valid", valid, reason, message, at=g.now, generation=g.generation)


def _flag_conflict(g: Gathered, status: RolloutStatus) -> dict[str, Any]:
    """True while the flag and this rollout say different things, with the hands that wrote the keys."""
    found, reason, message = False, "Agreed", "the flag says what this rollout wants"
    if g.rival is not None:
        found, reason, message = True, "Conflict", f"the flag belongs to the older rollout {g.rival}"
    elif isinstance(g.flag, Unreadable):
        return condition("FlagConflict", None, g.flag.reason, g.flag.message, at=g.now, generation=g.generation)
    elif status.phase in OVER and status.flag_cleared_at is not None and not g.flag.values.clear:
        keys = flagplan.present_keys(g.flag)
        found, reason = True, "FlagReappeared"
        message = f"after the rollback these keys came back: {keys}; routers stay on V1 until a higher attempt starts"
    elif status.phase is Phase.PENDING and not g.flag.values.clear:
        found, reason, message = True, "FlagInUse", f"set before this rollout started: {flagplan.present_keys(g.flag)}"
    elif status.phase in IN_A_STAGE and (edit := flagplan.edited(g.status.flag_intent, g.flag)):
        found, reason, message = True, "FlagEdited", edit
    return condition("FlagConflict", found, reason, message, at=g.now, generation=g.generation)


def _phases(g: Gathered, status: RolloutStatus) -> list[dict[str, Any]]:
    is_blind = status.blind_since is not None
    rows = (
        ("Blind", is_blind, "Blind" if is_blind else "Readable", status.message if is_blind else ""),
        ("Completed", status.phase is Phase.COMPLETED, status.phase.value, status.message),
        ("RolledBack", status.phase is Phase.ROLLED_BACK, status.phase.value, status.message),
    )
    return [
        condition(kind, holds, reason, text, at=g.now, generation=g.generation) for kind, holds, reason, text in rows
    ]

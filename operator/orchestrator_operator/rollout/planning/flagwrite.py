"""Which write the flag still needs, and the intent that is remembered before it. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from orchestrator_operator.rollout.model import ClearFlag, SetFlag, Unreadable
from orchestrator_operator.rollout.phases import IN_A_STAGE, OVER
from orchestrator_operator.rollout.planning import flagplan
from orchestrator_operator.specs.rollout_status import FlagIntent, Phase
from orchestrator_operator.specs.rollout_words import DeletionPolicy

if TYPE_CHECKING:
    from orchestrator_operator.rollout.model import Action, Gathered
    from orchestrator_operator.specs.rollout_status import RolloutStatus


def with_flag(g: Gathered, status: RolloutStatus) -> tuple[RolloutStatus, tuple[Action, ...]]:
    """The status with the intent for the flag that its phase demands, and the write that is still missing."""
    if g.rival is not None:
        return _rival_s_flag(g, status)
    if status.phase in IN_A_STAGE:
        return _stage_flag(g, status)
    if status.phase is Phase.COMPLETED:
        return _final_flag(g, status)
    if status.phase in OVER:
        return _clear_flag(g, status)
    return status, ()


def _rival_s_flag(g: Gathered, status: RolloutStatus) -> tuple[RolloutStatus, tuple[Action, ...]]:
    """It is left alone. Only what we have set ourselves, and nobody has changed since, is cleared by a rollback."""
    if status.phase not in OVER or status.flag_cleared_at is not None:
        return status, ()
    intent = status.flag_intent
    if intent is None or not intent.enabled:
        return status.model_copy(update={"flag_cleared_at": g.now}), ()
    if isinstance(g.flag, Unreadable):
        return status, ()
    if flagplan.says(g.flag.values, intent):
        return status, (ClearFlag(),)
    cleared = FlagIntent(enabled=False, secret=_secret(g, status), confirmed=True)
    return status.model_copy(update={"flag_cleared_at": g.now, "flag_intent": cleared}), ()


def _stage_flag(g: Gathered, status: RolloutStatus) -> tuple[RolloutStatus, tuple[Action, ...]]:
    """`true`, the stage's share, and an expiry that is renewed when less than half of it is left."""
    if isinstance(g.flag, Unreadable) or g.spec is None or not g.flag.exists:
        return status, ()
    keep = g.deleting and g.spec.deletion_policy is DeletionPolicy.KEEP
    deadman = timedelta(0) if keep else g.spec.deadman
    if flagplan.holds(status.flag_intent, g.flag, status.percent, deadman, g.now):
        return _confirmed(status), ()
    expires = g.now + deadman if deadman else None
    intent = flagplan.intend(status.percent, expires, secret=_secret(g, status), flag=g.flag)
    return _intending(status, intent)


def _final_flag(g: Gathered, status: RolloutStatus) -> tuple[RolloutStatus, tuple[Action, ...]]:
    """`true` alone. Once it was seen to say so, the flag is people's again."""
    intent = status.flag_intent
    if isinstance(g.flag, Unreadable) or (intent and intent.percent is None and intent.confirmed):
        return status, ()
    if intent and intent.percent is None and intent.expires is None and flagplan.says(g.flag.values, intent):
        return _confirmed(status), ()
    return _intending(status, flagplan.intend(None, None, secret=_secret(g, status), flag=g.flag))


def _clear_flag(g: Gathered, status: RolloutStatus) -> tuple[RolloutStatus, tuple[Action, ...]]:
    """No key at all, read back. What reappears later is left alone (routers ignore it) until the resource goes, or
    until executions really start on V2 again: then somebody follows it, and it is cleared again.
    """
    is_set = not isinstance(g.flag, Unreadable) and not g.flag.values.clear
    again = bool(g.late_starts) and is_set
    done = status.flag_cleared_at is not None and not g.deleting and not again
    ours = status.started_at is not None
    if done or (ours and not isinstance(g.flag, Unreadable) and g.flag.values.clear) or not ours:
        cleared_at = status.flag_cleared_at or g.now
        intent = FlagIntent(enabled=False, secret=_secret(g, status), confirmed=True) if ours else None
        return status.model_copy(update={"flag_cleared_at": cleared_at, "flag_intent": intent}), ()
    changes: dict[str, Any] = {"flag_intent": FlagIntent(enabled=False, secret=_secret(g, status))}
    if again:
        changes["flag_cleared_at"] = None  # starts count as late from the next clearing on
    return status.model_copy(update=changes), (ClearFlag(),)


def _intending(status: RolloutStatus, intent: FlagIntent) -> tuple[RolloutStatus, tuple[Action, ...]]:
    action = SetFlag(flagplan.wanted_values(intent), intent.seen_version)
    return status.model_copy(update={"flag_intent": intent}), (action,)


def _confirmed(status: RolloutStatus) -> RolloutStatus:
    if status.flag_intent is None or status.flag_intent.confirmed:
        return status
    return status.model_copy(update={"flag_intent": status.flag_intent.model_copy(update={"confirmed": True})})


def _secret(g: Gathered, status: RolloutStatus) -> str:
    """The Secret that this attempt began with: a changed name counts from the next attempt on."""
    if status.flag_intent is not None and status.flag_intent.secret:
        return status.flag_intent.secret
    return g.spec.flag.secret if g.spec else ""

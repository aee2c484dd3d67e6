"""A rollout's conditions: for people, for tools, for `kubectl wait`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator_operator.rollout.model import Unreadable
from orchestrator_operator.rollout.ownership import attempt_id
from orchestrator_operator.rollout.phases import IN_A_STAGE, OVER
from orchestrator_operator.rollout.planning import flagplan
from orchestrator_operator.rollout.statistics.evidence import totals
from orchestrator_operator.specs.conditions import Condition, condition, tell, upsert
from orchestrator_operator.specs.rollout_status import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator_operator.rollout.model import Gathered, Judgement
    from orchestrator_operator.specs.rollout_status import RolloutStatus

NOT_EFFECTIVE = "RollbackNotEffective"  # a condition's type and its reason: rule 6
ATTEMPT_IGNORED = "AttemptIgnored"  # a condition's type
NOT_POWERED = "NotPowered"  # why the condition Powered is False: rule 9
NOT_CALIBRATED = "NotCalibrated"  # why the condition Calibrated is False

_REFUSED = frozenset({"SecretMissing", "SecretForbidden", "Conflict"})  # wrong in spec.flag, only the cluster can tell


def conditions(gathered: Gathered, judgement: Judgement, status: RolloutStatus) -> tuple[Condition, ...]:
    """All conditions; the time of each moves only when its status does. What is not looked at now stays as it was."""
    new = [
        _valid(gathered, status),
        _flag_conflict(gathered, status),
        *_phases(gathered, status),
        *_experiment(gathered, judgement, status),
        *_effect(gathered, status),
        *_attempt(gathered, status),
    ]
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


def _experiment(g: Gathered, judgement: Judgement, status: RolloutStatus) -> Iterator[dict[str, Any]]:
    """Whether the comparison itself can be trusted, and what it can show: rules 7 and 9, and the A/A comparison."""
    if not judgement.criteria or status.phase not in IN_A_STAGE:
        return
    yield _calibrated(g, judgement)
    power = judgement.power if status.stage == g.status.stage else None  # it was judged in the stage before
    if power is None:
        message = "too early to say what this stage's traffic can show"
        yield condition("Powered", None, "TooEarly", message, at=g.now, generation=g.generation)
    else:
        reason = "Powered" if power.enough else NOT_POWERED
        yield condition("Powered", power.enough, reason, power.sentence, at=g.now, generation=g.generation)


def _effect(g: Gathered, status: RolloutStatus) -> Iterator[dict[str, Any]]:
    """Whether starts on V2 really stopped after a rollback: rule 6. Not known is not said."""
    if status.phase not in OVER:
        if any(item.type == NOT_EFFECTIVE and item.status == "True" for item in g.status.conditions):
            message = "the rollback is over: another attempt has begun"
            yield condition(NOT_EFFECTIVE, False, "Rearmed", message, at=g.now, generation=g.generation)
        return
    if g.late_starts is None:
        return
    if g.late_starts:
        message = (
            f"{g.late_starts} executions were sent to V2 later than a minute after the flag was clear: "
            "is a router running that does not read it?"
        )
        yield condition(NOT_EFFECTIVE, True, NOT_EFFECTIVE, message, at=g.now, generation=g.generation)
    else:
        message = "nothing was sent to V2 after the flag was clear"
        yield condition(NOT_EFFECTIVE, False, "Effective", message, at=g.now, generation=g.generation)


def _attempt(g: Gathered, status: RolloutStatus) -> Iterator[dict[str, Any]]:
    """Whether somebody raised spec.attempt where that does nothing. It starts a new attempt after a rollback alone, and
    what was raised before one is used up by it: or a rollback would start again by itself.
    """
    asked = g.spec.attempt if g.spec else 0
    used_up = (
        status.phase in OVER and status.attempt_id != attempt_id(g.uid, status.attempt) and bool(status.attempt_id)
    )
    if status.phase in IN_A_STAGE | {Phase.COMPLETED} and asked > status.attempt:
        message = (
            f"spec.attempt: {asked} does nothing while it is {status.phase}: to begin anew, abort it, and raise it "
            "after that (orchestrator rollout rearm)"
        )
        yield condition(ATTEMPT_IGNORED, True, "NotRolledBack", message, at=g.now, generation=g.generation)
    elif used_up and asked <= status.attempt:
        message = (
            f"spec.attempt: {status.attempt} was raised before the rollback, which ended it: raise it to "
            f"{status.attempt + 1} (orchestrator rollout rearm)"
        )
        yield condition(ATTEMPT_IGNORED, True, "UsedUp", message, at=g.now, generation=g.generation)
    elif any(item.type == ATTEMPT_IGNORED and item.status == "True" for item in g.status.conditions):
        yield condition(
            ATTEMPT_IGNORED, False, "Heard", "spec.attempt says nothing new", at=g.now, generation=g.generation
        )


def _calibrated(g: Gathered, judgement: Judgement) -> dict[str, Any]:
    """What V1 against itself showed. Unseen is not sound."""
    holds: bool | None
    alarm = next((item for item in judgement.alarms if item.reason == NOT_CALIBRATED), None)
    if alarm is not None:
        holds, reason, message = False, NOT_CALIBRATED, alarm.sentence
    elif isinstance(g.calibration, Unreadable):
        holds, reason, message = None, g.calibration.reason, g.calibration.message
    elif not any(totals(g.calibration)):
        holds, reason, message = None, "TooEarly", "no execution of V1 was read yet"
    else:
        holds, reason, message = True, "Calibrated", "V1 against itself shows no difference"
    return condition("Calibrated", holds, reason, message, at=g.now, generation=g.generation)

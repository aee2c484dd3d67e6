"""The rules around the stages: people's words, the way after a rollback, what cannot go on. Pure.

Each rule looks at the situation and either answers or leaves it to the next one (the chain stands in plan.py). What the
flag must say follows from the phase that is answered, so no rule touches it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator_operator.rollout.model import CancelInFlight, Release, Unreadable
from orchestrator_operator.rollout.phases import IN_A_STAGE, OVER
from orchestrator_operator.rollout.planning import flagplan
from orchestrator_operator.rollout.planning.conditions import judged_by_the_last
from orchestrator_operator.rollout.planning.situation import (
    ABORT,
    Outcome,
    plainly,
    roll_back,
    wait_in,
)
from orchestrator_operator.specs.conditions import tell
from orchestrator_operator.specs.rollout_status import Phase
from orchestrator_operator.specs.rollout_words import DeletionPolicy, InFlight

if TYPE_CHECKING:
    from orchestrator_operator.rollout.planning.situation import Situation


# -- people's words, which beat everything


def cleared_by_hand(s: Situation) -> Outcome | None:
    """A person took the flag away: whatever we think of it, V2 is over for this attempt."""
    flag = s.gathered.flag
    if s.phase in OVER or isinstance(flag, Unreadable) or s.gathered.rival:
        return None
    if not flagplan.cleared_by_hand(s.status.flag_intent, flag):
        return None
    left = flagplan.present_keys(flag)
    message = "somebody cleared the flag; it is not set again in this attempt" + (
        f" (still there: {left})" if left else ""
    )
    return roll_back(s, "FlagClearedByHand", message, actor="person (flag)")


def aborted(s: Situation) -> Outcome | None:
    if s.phase in OVER or ABORT not in s.gathered.annotations:
        return None
    said = plainly(s.gathered.annotations[ABORT])
    return roll_back(s, "Aborted", f"a person aborted it{said}", actor=f"person (annotation {ABORT})")


def deleted(s: Situation) -> Outcome | None:
    """The resource goes: clear the flag first, or leave it, as its policy says."""
    if not s.gathered.deleting:
        return None
    flag, spec = s.gathered.flag, s.gathered.spec
    never_ours = s.status.started_at is None or s.gathered.rival is not None
    asked = spec is not None and not s.gathered.problems and spec.deletion_policy is DeletionPolicy.KEEP
    keep = asked and s.phase not in OVER
    gone = not isinstance(flag, Unreadable) and flag.values.clear
    kept = keep and not isinstance(flag, Unreadable) and flag.values.expires is None
    if never_ours or gone or kept:
        return Outcome(s.phase, "Release", "Deleted", "nothing is left to do", actions=(Release(),))
    if keep:  # without its expiry, or routers would fall back when nobody renews it any more
        return Outcome(s.phase, "Keep", "Deleted", "the flag stays as it is, without an expiry")
    if s.phase in OVER:
        return Outcome(s.phase, "RollBack", "Deleted", "the resource is deleted: the flag is cleared")
    return roll_back(s, "Deleted", "the resource is deleted: the flag is cleared", actor="person (deletion)")


# -- after a rollback


def draining(s: Situation) -> Outcome | None:
    """The flag is clear, or about to be; V2's executions end."""
    if s.phase is not Phase.ROLLING_BACK:
        return None
    if s.status.flag_cleared_at is None:
        return Outcome(s.phase, "RollBack", s.status.reason, s.status.message)
    if s.status.started_at is None or s.gathered.rival is not None or s.gathered.in_flight == 0:
        message = f"{s.status.message}; {_left_in_flight(s)}"
        changes = {"rolled_back_at": s.now}
        return Outcome(Phase.ROLLED_BACK, "RolledBack", s.status.reason, message, changes)
    cancel = s.gathered.spec is not None and s.gathered.spec.rollback.in_flight is InFlight.CANCEL
    actions = (CancelInFlight(),) if cancel else ()
    return Outcome(s.phase, "RollBack", s.status.reason, s.status.message, actions=actions)


def _left_in_flight(s: Situation) -> str:
    if s.status.started_at is None:
        return "it had sent nothing to V2"
    if s.gathered.rival is not None:
        return f"what is in flight on V2 may be that of the older rollout {s.gathered.rival}"
    return "nothing is in flight on V2 any more"


def rolled_back(s: Situation) -> Outcome | None:
    """Only a person starts again: by a higher attempt, and after the cooldown."""
    if s.phase is not Phase.ROLLED_BACK:
        return None
    spec = s.gathered.spec
    if spec is None or s.gathered.problems or spec.attempt <= s.status.attempt:
        return Outcome(s.phase, "RolledBack", s.status.reason, s.status.message)
    ready = (s.status.rolled_back_at or s.now) + spec.rollback.cooldown
    if s.now < ready:
        return Outcome(s.phase, "RolledBack", s.status.reason, s.status.message, next=ready)
    index = max(0, min(s.status.stage_index, len(spec.stages) - 1) - 1)
    changes = {
        "stage_index": index,
        "started_at": None,
        "stage_started_at": None,
        "flag_intent": None,
        "flag_cleared_at": None,
        "failed": None,
        "approved": "",
        "approved_for": (),
        "alarms": (),
        "criteria": (),
        "counted": None,
        "blind_since": None,
        "blind_spent": 0.0,
    }
    message = f"attempt {spec.attempt} starts at {spec.stages[index].name}"
    return Outcome(Phase.PENDING, "Rearm", "Rearmed", message, changes, actor="person (spec.attempt)")


# -- what cannot go on


def completed(s: Situation) -> Outcome | None:
    if s.phase is not Phase.COMPLETED:
        return None
    return Outcome(s.phase, "Complete", s.status.reason, s.status.message)


def never_readable(s: Situation) -> Outcome | None:
    """There is nothing to judge by. A stage can run like that only where the status was lost as well."""
    return invalid_spec(s) if s.gathered.spec is None else None


def invalid_spec(s: Situation) -> Outcome | None:
    """Whoever made the mistake wanted something else than the spec before says: nothing goes on by that one. But V2 is
    judged by it, so this rule comes after those that roll back.
    """
    if s.gathered.spec is not None and not s.gathered.problems:
        return None
    message = tell(s.gathered.problems)
    if s.phase not in IN_A_STAGE:
        return Outcome(s.phase, "Refuse", "InvalidSpec", message, warning=True)
    told = f"held until it is corrected{judged_by_the_last(s.gathered)}: {message}"
    return Outcome(Phase.HELD, "Hold", "InvalidSpec", told, warning=True)


def rivalled(s: Situation) -> Outcome | None:
    if s.gathered.rival is None:
        return None
    message = f"spec.flag.secret: {s.spec.flag.secret} belongs to the older rollout {s.gathered.rival}"
    return Outcome(wait_in(s), "Refuse", "Conflict", message, warning=True)


def flag_unreadable(s: Situation) -> Outcome | None:
    flag = s.gathered.flag
    if isinstance(flag, Unreadable):
        return Outcome(wait_in(s), "Hold", flag.reason, f"spec.flag.secret: {flag.message}", warning=True)
    if not flag.exists:
        message = (
            f"spec.flag.secret: there is no Secret {s.spec.flag.secret}; create it (empty) in the operator's namespace"
        )
        return Outcome(wait_in(s), "Hold", "SecretMissing", message, warning=True)
    return None

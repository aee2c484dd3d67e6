"""The rules before the start: what a rollout waits for that has sent nothing to V2 yet. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.flag import show_percent
from orchestrator_operator.rollout.model import Unreadable
from orchestrator_operator.rollout.planning import flagplan
from orchestrator_operator.rollout.planning.situation import APPROVAL_NEEDED, APPROVE, RESUME, Outcome, pause, sentences
from orchestrator_operator.specs.rollout_status import Phase, Verdict

if TYPE_CHECKING:
    from orchestrator_operator.rollout.planning.situation import Situation


def flag_in_use(s: Situation) -> Outcome | None:
    flag = s.gathered.flag
    if s.phase is not Phase.PENDING or isinstance(flag, Unreadable) or flag.values.clear:
        return None
    message = f"the flag is set already: {flagplan.present_keys(flag)}; remove it (`orchestrator flag unset`) to start"
    return Outcome(s.phase, "Refuse", "FlagConflict", message, warning=True)


def pending_restored(s: Situation) -> Outcome | None:
    """A backup knows neither how far it was nor that V2 was convicted meanwhile."""
    if s.phase is not Phase.PENDING or not s.status.restored:
        return None
    message = f"it came back from a backup, and would begin with its first stage: {RESUME} lets it"
    return Outcome(s.phase, "Wait", "Restored", message, warning=True)


def pending_paused(s: Situation) -> Outcome | None:
    if s.phase is not Phase.PENDING or not (s.spec.paused or s.status.paused_by):
        return None
    why, actor = pause(s)
    return Outcome(s.phase, "Pause", "Paused", f"{why}: it has not started", actor=actor)


def pending_blind(s: Situation) -> Outcome | None:
    """Nothing goes to V2 before it can be judged."""
    if s.phase is not Phase.PENDING or not (blind := s.judgement.of(Verdict.BLIND)):
        return None
    return Outcome(s.phase, "Wait", "WaitingForMetrics", f"starts when its criteria can be read: {sentences(blind)}")


def pending_broken(s: Situation) -> Outcome | None:
    """A guardrail that is above its limit before anything moved is not ours to break further. Nothing is in a hurry
    yet: so nobody waits until it has been there for as long as it may.
    """
    broken = [item for item in s.judgement.criteria if item.breached_since]
    if s.phase is not Phase.PENDING or not broken:
        return None
    return Outcome(s.phase, "Wait", "GuardrailBroken", f"starts when it is within its limit: {sentences(broken)}")


def pending_alarmed(s: Situation) -> Outcome | None:
    """Nothing starts into a disturbance that would be taken for V2's, or could hide V2's."""
    if s.phase is not Phase.PENDING or not s.judgement.alarms:
        return None
    message = "; ".join(alarm.sentence for alarm in s.judgement.alarms)
    return Outcome(s.phase, "Wait", s.judgement.alarms[0].reason, f"starts when it is over: {message}", warning=True)


def pending_approval(s: Situation) -> Outcome | None:
    """A first stage that a person must let the rollout into."""
    if s.phase is not Phase.PENDING or not s.stage.approval or s.status.approved == s.stage.name:
        return None
    message = f"a person must let it into {s.stage.name}: annotate it with {APPROVE}={s.stage.name}"
    changes = {"awaits": s.stage.name, "awaits_for": (APPROVAL_NEEDED,)}
    return Outcome(s.phase, "AwaitApproval", APPROVAL_NEEDED, message, changes)


def started(s: Situation) -> Outcome | None:
    """Windows and freezes hold promotions back, and this is none: a person who wants it to wait pauses it, or lets the
    first stage ask for approval.
    """
    if s.phase is not Phase.PENDING:
        return None
    changes: dict[str, Any] = {"started_at": s.now, "stage_started_at": s.now, "rolled_back_at": None}
    changes |= {"approved": "", "approved_for": ()}
    message = f"{s.stage.name}: {show_percent(s.stage.share)} % of new executions go to V2"
    actor = f"person (annotation {APPROVE})" if s.stage.approval else "controller"
    due = s.now + s.stage.duration
    return Outcome(Phase.PROGRESSING, "Start", "StageRunning", message, changes, actor=actor, next=due, raises=True)

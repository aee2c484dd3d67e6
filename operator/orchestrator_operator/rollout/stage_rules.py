"""The rules of a stage that runs: what rolls back, what holds, and how it goes on. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator import durations
from orchestrator.flag import show_percent
from orchestrator_operator.rollout.judge import show_counts, show_evidence
from orchestrator_operator.rollout.phases import IN_A_STAGE
from orchestrator_operator.rollout.situation import APPROVE, Outcome, roll_back, sentences
from orchestrator_operator.specs.rollout import Breach, Then, Underpowered
from orchestrator_operator.specs.rollout_status import Failed, Phase, Verdict

if TYPE_CHECKING:
    from orchestrator_operator.rollout.model import Judged
    from orchestrator_operator.rollout.situation import Situation


_ALL = 100  # per cent


# -- what rolls back


def convicted(s: Situation) -> Outcome | None:
    """Rule 1: a comparison that fails rolls back now, paused or not."""
    failed = s.judgement.of(Verdict.FAIL, guardrails=False)
    if s.phase not in IN_A_STAGE or not failed:
        return None
    return roll_back(s, "CriterionFailed", sentences(failed), failed=_failed(failed[0]))


def guardrail_rolls_back(s: Situation) -> Outcome | None:
    """Rule 2: only where the person asked for it; it stands outside the guarantee, and says so."""
    broken = [
        item for item in s.judgement.of(Verdict.FAIL, guardrails=True) if item.criterion.on_breach is Breach.ROLLBACK
    ]
    if s.phase not in IN_A_STAGE or not broken:
        return None
    message = f"{sentences(broken)}; a guardrail looks at V2 alone: this lies outside the guarantee of falseRollback"
    return roll_back(s, "GuardrailBroken", message, failed=_failed(broken[0]))


def blind_for_too_long(s: Situation) -> Outcome | None:
    if (
        s.phase not in IN_A_STAGE
        or not s.judgement.of(Verdict.BLIND)
        or s.spec.blind.then is not Then.ROLLBACK
        or s.blind_for <= s.spec.blind.budget
    ):
        return None
    message = (
        f"blind for longer than {durations.show(s.spec.blind.budget)}: no evidence against V2, but nobody can watch it"
    )
    return roll_back(s, "BlindBudgetSpent", message)


# -- what holds


def paused(s: Situation) -> Outcome | None:
    if not s.spec.paused:
        return None
    message = f"spec.paused is true: stays at {show_percent(s.stage.percent)} %; criteria still roll back"
    return Outcome(Phase.PAUSED, "Pause", "Paused", message, actor="person (spec.paused)")


def guardrail_holds(s: Situation) -> Outcome | None:
    broken = s.judgement.of(Verdict.FAIL, guardrails=True)
    if not broken:
        return None
    return Outcome(Phase.HELD, "Hold", "GuardrailBroken", sentences(broken), warning=True)


def blind(s: Situation) -> Outcome | None:
    """Rule 4: missing data is no success and no failure."""
    unread = s.judgement.of(Verdict.BLIND)
    if not unread:
        return None
    spent = s.blind_for > s.spec.blind.budget
    reset = any(judged.reason == "CounterReset" for judged in unread)
    reason = "CounterReset" if reset else "BlindBudgetSpent" if spent else "Blind"
    more = f" (longer than {durations.show(s.spec.blind.budget)})" if spent else ""
    return Outcome(Phase.HELD, "Hold", reason, f"{sentences(unread)}{more}", warning=True)


# -- how a stage goes on


def stage_running(s: Situation) -> Outcome | None:
    if s.now >= s.stage_end:
        return None
    message = f"{s.stage.name}: {show_percent(s.stage.percent)} % of new executions go to V2"
    verb = "Progress" if s.phase is Phase.PROGRESSING else "Resume"
    return Outcome(Phase.PROGRESSING, verb, "StageRunning", message, next=s.stage_end)


def stage_passed(s: Situation) -> Outcome | None:
    """Rule 3."""
    if _shortfall(s):
        return None
    if s.stage.percent == _ALL:
        return _onward(s, "StagePassed", f"{s.stage.name} is over: nothing convicted V2")
    return _onward(s, "StagePassed", f"{s.stage.name} passed: every required comparison is shown to be good enough")


def stage_extended(s: Situation) -> Outcome | None:
    end = s.stage_end + s.spec.analysis.extend
    if s.now >= end:
        return None
    longest = durations.show(s.spec.analysis.extend)
    message = f"{s.stage.name} has no Pass yet and goes on for at most {longest}: {_shortfall(s)}"
    return Outcome(Phase.PROGRESSING, "Extend", "Extended", message, next=end)


def underpowered_promotes(s: Situation) -> Outcome | None:
    if s.spec.analysis.underpowered is not Underpowered.PROMOTE:
        return None
    return _onward(s, "Underpowered", f"{s.stage.name} ends with no Pass: {_shortfall(s)}; underpowered: Promote")


def underpowered_holds(s: Situation) -> Outcome | None:
    if s.spec.analysis.underpowered is not Underpowered.HOLD:
        return None
    message = f"{s.stage.name} ends with no Pass: {_shortfall(s)}; underpowered: Hold"
    return Outcome(Phase.HELD, "Hold", "Underpowered", message, warning=True)


def approved(s: Situation) -> Outcome | None:
    if s.phase is not Phase.AWAITING_APPROVAL or s.gathered.annotations.get(APPROVE) not in ("true", s.stage.name):
        return None
    message = f"a person let {s.stage.name} go on without a Pass: {_shortfall(s)}"
    return _onward(s, "Approved", message, actor=f"person (annotation {APPROVE})")


def awaits_approval(s: Situation) -> Outcome | None:
    message = (
        f"{s.stage.name} ends with no Pass: {_shortfall(s)}; "
        f"to go on all the same, annotate it with {APPROVE}={s.stage.name}"
    )
    return Outcome(Phase.AWAITING_APPROVAL, "AwaitApproval", "Underpowered", message)


def _onward(s: Situation, reason: str, message: str, *, actor: str = "controller") -> Outcome:
    """To the next stage, or to the end."""
    index = s.status.stage_index + 1
    if index >= len(s.spec.stages):
        return Outcome(Phase.COMPLETED, "Complete", reason, f"{message}; everything runs on V2", actor=actor)
    stage = s.spec.stages[index]
    changes = {"stage_index": index, "stage_started_at": s.now, "blind_since": None, "blind_spent": 0.0}
    told = f"{message}; {stage.name}: {show_percent(stage.percent)} % of new executions go to V2"
    return Outcome(Phase.PROGRESSING, "Promote", reason, told, changes, actor=actor, next=s.now + stage.duration)


def _shortfall(s: Situation) -> str:
    """Why the stage has no Pass yet, in words; "" when it has."""
    required = [
        item for item in s.judgement.criteria if item.criterion.required and item.criterion in s.spec.comparisons
    ]
    lacking = [item for item in required if item.verdict not in (Verdict.PASS, Verdict.NOT_APPLICABLE)]
    if lacking:
        return sentences(lacking)
    minimum, (v1, v2) = s.spec.analysis.minimum_executions, s.judgement.arms or (0, 0)
    alone = s.stage.percent == _ALL  # the stage has no V1
    if v2 < minimum or (v1 < minimum and not alone):
        return f"{v2} executions on V2 and {v1} on V1 were read, {minimum} are needed on each"
    return ""


def _failed(judged: Judged) -> Failed:
    counts = show_counts(judged.counts) if judged.counts else f"{judged.value:g}"
    evidence = ""
    if judged.log_evidence is not None and judged.log_threshold is not None:
        evidence = f"{show_evidence(judged.log_evidence)}, needed {show_evidence(judged.log_threshold)}"
    return Failed(criterion=judged.criterion.name, counts=counts, evidence=evidence, sentence=judged.sentence)

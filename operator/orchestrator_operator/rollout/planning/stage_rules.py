"""The rules of a stage that runs: what rolls back, and what holds. How it goes on stands in onward.py. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator import durations
from orchestrator_operator.rollout.phases import IN_A_STAGE
from orchestrator_operator.rollout.planning.situation import Outcome, pause, roll_back, sentences
from orchestrator_operator.rollout.wording import show_counts, show_evidence
from orchestrator_operator.specs.rollout_status import Failed, Phase, Verdict
from orchestrator_operator.specs.rollout_words import Breach, Then

if TYPE_CHECKING:
    from orchestrator_operator.rollout.model import Judged
    from orchestrator_operator.rollout.planning.situation import Situation


# -- what rolls back


def convicted(s: Situation) -> Outcome | None:
    """Rule 1: a comparison that fails rolls back now, paused or not."""
    failed = s.judgement.of(Verdict.FAIL, guardrails=False)
    if s.phase not in IN_A_STAGE or not failed:
        return None
    message = sentences(failed)
    if s.judgement.alarms:  # they take nothing back: a rollback is the safe side, a person should know both
        message += "; at the same time: " + "; ".join(alarm.sentence for alarm in s.judgement.alarms)
    return roll_back(s, "CriterionFailed", message, failed=_failed(failed[0]))


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
    """A person's word, by the spec or by an annotation, which holds until another one lifts it."""
    if not (s.spec.paused or s.status.paused_by):
        return None
    why, actor = pause(s)
    message = f"{why}; stays at {s.status.percent} %; criteria still roll back"
    return Outcome(Phase.PAUSED, "Pause", "Paused", message, actor=actor)


def alarmed(s: Situation) -> Outcome | None:
    """Rules 5 and 7 and the A/A comparison: the experiment itself is not sound, which is no evidence against V2."""
    if not s.judgement.alarms:
        return None
    message = "; ".join(alarm.sentence for alarm in s.judgement.alarms)
    return Outcome(Phase.HELD, "Hold", s.judgement.alarms[0].reason, message, warning=True)


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


def _failed(judged: Judged) -> Failed:
    counts = show_counts(judged.counts) if judged.counts else f"{judged.value:g}"
    evidence = ""
    if judged.log_evidence is not None and judged.log_threshold is not None:
        evidence = f"{show_evidence(judged.log_evidence)}, needed {show_evidence(judged.log_threshold)}"
    return Failed(criterion=judged.criterion.name, counts=counts, evidence=evidence, sentence=judged.sentence)

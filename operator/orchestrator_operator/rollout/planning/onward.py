"""How a stage goes on: it runs, it is extended, it waits for a person or a window, it is promoted. Pure.

Nothing here is reached while anything holds (stage_rules.py); only a person's forced promotion comes before.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from orchestrator import durations
from orchestrator.flag import show_percent
from orchestrator_operator.rollout.model import Unreadable
from orchestrator_operator.rollout.phases import IN_A_STAGE
from orchestrator_operator.rollout.planning import windows, words
from orchestrator_operator.rollout.planning.situation import (
    APPROVAL_NEEDED,
    APPROVE,
    PROMOTE,
    Outcome,
    sentences,
)
from orchestrator_operator.specs.conditions import tell
from orchestrator_operator.specs.rollout_status import Phase, Verdict
from orchestrator_operator.specs.rollout_words import Underpowered

if TYPE_CHECKING:
    from orchestrator_operator.rollout.model import Judged
    from orchestrator_operator.rollout.planning.situation import Situation
    from orchestrator_operator.specs.rollout import Stage

STICKY_LIMIT = 0.2  # the share of executions routed by a key above which comparisons see too little: rule 8

_ALL = Decimal(100)


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a person must say yes to before a stage goes on."""

    reason: str
    sentence: str


# -- what a person asks for


def promoted(s: Situation) -> Outcome | None:
    """Rule 12: a person ends the wait of a stage. Its criteria must hold all the same, unless they are forced aside."""
    if not words.promotes(s) or obstacle(s):
        return None
    actor = f"person (annotation {PROMOTE})"
    if not words.forces(s):
        return _goes(s, "Promoted", f"a person ended {s.stage.name}, which has every Pass", actor=actor)
    lacking = _lacking(s)
    without = f", without: {lacking}" if lacking else ""
    return _goes(s, "Forced", f"a person forced {s.stage.name} to its end{without}", actor=actor)


def obstacle(s: Situation) -> str:
    """Why a person's word to promote is not followed; "" if it can be."""
    if s.gathered.spec is None or s.phase not in IN_A_STAGE:
        return f"nothing can be promoted while it is {s.phase} ({s.status.reason or 'no reason yet'})"
    if not words.promotes(s):
        return f"{s.gathered.annotations[PROMOTE]!r} does not name the stage that runs: {s.stage.name}"
    return _barred(s) or ("" if words.forces(s) else _lacking(s))


def _barred(s: Situation) -> str:
    """What no person can force aside by an annotation."""
    if s.gathered.problems:
        return f"the spec must be corrected first: {tell(s.gathered.problems)}"
    if isinstance(s.gathered.flag, Unreadable) or not s.gathered.flag.exists:
        return "the flag cannot be read"
    if s.spec.paused or s.status.paused_by:
        return "it is paused: resume it first"
    closed = windows.closed_until(s.spec.windows, s.now)
    return f"window closed {closed}: promote it then, or change spec.windows" if closed else ""


def _lacking(s: Situation) -> str:
    """What the stage's criteria, and all that watches over them, still lack."""
    held = (Verdict.FAIL, Verdict.BLIND)
    others = [item for item in s.judgement.criteria if item.verdict in held and item not in _required(s)]
    found = [*(alarm.sentence for alarm in s.judgement.alarms), sentences(others), shortfall(s)]
    return "; ".join(sentence for sentence in found if sentence)


# -- the rules


def share_raised(s: Situation) -> Outcome | None:
    """Somebody edited the spec: the stage that runs is to get more than it has. It begins anew with its new share."""
    if s.stage.share <= Decimal(s.status.percent):
        return None
    if closed := windows.closed_until(s.spec.windows, s.now):
        return _window_closed(s, f"{s.stage.name} was edited to {show_percent(s.stage.share)} %", closed)
    message = (
        f"spec.stages was edited: {s.stage.name} goes from {s.status.percent} % to {show_percent(s.stage.share)} %, "
        "and its time begins anew"
    )
    changes = {"stage_started_at": s.now}
    due = s.now + s.stage.duration
    actor = "person (spec.stages)"
    return Outcome(Phase.PROGRESSING, "SetPercent", "SpecEdited", message, changes, actor=actor, next=due, raises=True)


def stage_running(s: Situation) -> Outcome | None:
    if s.now >= s.stage_end:
        return None
    message = f"{s.stage.name}: {show_percent(s.stage.share)} % of new executions go to V2"
    verb = "Progress" if s.phase is Phase.PROGRESSING else "Resume"
    return Outcome(Phase.PROGRESSING, verb, "StageRunning", message, next=s.stage_end)


def stage_extended(s: Situation) -> Outcome | None:
    end = s.stage_end + s.spec.analysis.extend
    if s.now >= end or not (missing := shortfall(s)):
        return None
    longest = durations.show(s.spec.analysis.extend)
    message = f"{s.stage.name} has no Pass yet and goes on for at most {longest}: {missing}"
    return Outcome(Phase.PROGRESSING, "Extend", "Extended", message, next=end)


def underpowered_holds(s: Situation) -> Outcome | None:
    if s.spec.analysis.underpowered is not Underpowered.HOLD or not (missing := shortfall(s)):
        return None
    message = f"{s.stage.name} ends with no Pass: {missing}; underpowered: Hold"
    return Outcome(Phase.HELD, "Hold", "Underpowered", message, warning=True)


def awaits_approval(s: Situation) -> Outcome | None:
    """Something must be said yes to, and no person has. A yes in advance knew nothing of what is only seen now."""
    name = words.approvable(s.gathered)
    answered = s.status.approved_for if s.status.approved == name else ()
    needs = tuple(need for need in needed(s) if need.reason not in answered)
    if not needs:
        return None
    message = f"{_told(needs)}; to go on all the same, annotate it with {APPROVE}={name}"
    changes = {"awaits": name, "awaits_for": tuple(need.reason for need in needs)}
    return Outcome(Phase.AWAITING_APPROVAL, "AwaitApproval", needs[0].reason, message, changes)


def window_closed(s: Situation) -> Outcome | None:
    """Promotion and completion wait for the window. A rollback was decided long before this rule."""
    closed = windows.closed_until(s.spec.windows, s.now)
    return _window_closed(s, f"{s.stage.name} could go on", closed) if closed else None


def goes_on(s: Situation) -> Outcome:
    """Rule 3, at last."""
    needs, missing = needed(s), shortfall(s)
    if needs:
        return _goes(s, "Approved", f"a person approved: {_told(needs)}", actor=f"person (annotation {APPROVE})")
    if missing:
        return _goes(s, "Underpowered", f"{s.stage.name} ends with no Pass: {missing}; underpowered: Promote")
    if s.stage.share == _ALL:
        return _goes(s, "StagePassed", f"{s.stage.name} is over: nothing convicted V2")
    message = f"{s.stage.name} passed: every required comparison is shown to be good enough"
    return _goes(s, "StagePassed", message)


# -- what they look at


def needed(s: Situation) -> tuple[Need, ...]:
    """All that a person must say yes to before this stage goes on; one approval is enough for all that is awaited."""
    found = []
    missing = shortfall(s)
    if missing and s.spec.analysis.underpowered is Underpowered.APPROVE:
        found.append(Need("Underpowered", f"{s.stage.name} ends with no Pass: {missing}"))
    sticky = s.judgement.sticky
    if sticky is not None and sticky > STICKY_LIMIT:
        sentence = f"{sticky:.0%} of the executions were routed by a key, and comparisons do not judge those"
        found.append(Need("StickyTraffic", sentence))
    if s.onward is not None and s.onward.approval:
        passed = "" if missing else f"{s.stage.name} passed; "
        found.append(Need(APPROVAL_NEEDED, f"{passed}a person must let it into {s.onward.name}"))
    return tuple(found)


def shortfall(s: Situation) -> str:
    """Why the stage has no Pass yet, in words; "" when it has."""
    lacking = [item for item in _required(s) if item.verdict not in (Verdict.PASS, Verdict.NOT_APPLICABLE)]
    if lacking:
        return sentences(lacking)
    minimum, (v1, v2) = s.spec.analysis.minimum_executions, s.judgement.arms or (0, 0)
    alone = s.stage.share == _ALL  # the stage has no V1
    if v2 < minimum or (v1 < minimum and not alone):
        return f"{v2} executions on V2 and {v1} on V1 were read, {minimum} are needed on each"
    return ""


def _required(s: Situation) -> list[Judged]:
    """The comparisons whose Pass a stage needs, as they were judged."""
    return [item for item in s.judgement.criteria if item.criterion.required and item.criterion in s.spec.comparisons]


def _goes(s: Situation, reason: str, message: str, *, actor: str = "controller") -> Outcome:
    """To the next stage, or to the end."""
    stage = s.onward
    changes: dict[str, Any] = {"approved": "", "approved_for": ()}
    if stage is None:
        told = f"{message}; everything runs on V2{_holdback_ends(s.stage)}"
        return Outcome(Phase.COMPLETED, "Complete", reason, told, changes, actor=actor, raises=True)
    changes |= {
        "stage_index": s.status.stage_index + 1,
        "stage_started_at": s.now,
        "blind_since": None,
        "blind_spent": 0.0,
    }
    told = f"{message}; {stage.name}: {show_percent(stage.share)} % of new executions go to V2"
    due = s.now + stage.duration
    return Outcome(Phase.PROGRESSING, "Promote", reason, told, changes, actor=actor, next=due, raises=True)


def _holdback_ends(stage: Stage) -> str:
    return f", the {show_percent(stage.holdback)} % that were held back too" if stage.holdback else ""


def _window_closed(s: Situation, what: str, closed: str) -> Outcome:
    opening = windows.next_opening(s.spec.windows, s.now)
    return Outcome(Phase.PROGRESSING, "Wait", "WindowClosed", f"{what}; window closed {closed}", next=opening)


def _told(needs: tuple[Need, ...]) -> str:
    return "; ".join(need.sentence for need in needs)

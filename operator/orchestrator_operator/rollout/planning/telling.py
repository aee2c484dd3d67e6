"""What people should hear of: each change of phase, stage, percent or reason, each word of theirs, hands on the flag.

Pure. What is told becomes a decision in the log and a Kubernetes Event.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator_operator.rollout.judging import anchor
from orchestrator_operator.rollout.model import Tell, Unreadable
from orchestrator_operator.rollout.phases import IN_A_STAGE, OVER
from orchestrator_operator.rollout.planning import flagplan
from orchestrator_operator.rollout.planning.conditions import NOT_EFFECTIVE, NOT_POWERED
from orchestrator_operator.specs.rollout_status import DECISIONS_KEPT, Decision

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from orchestrator_operator.rollout.model import Gathered, Judgement
    from orchestrator_operator.rollout.planning.situation import Outcome
    from orchestrator_operator.specs.rollout_status import RolloutStatus, Word

STAYED_AWAY = timedelta(hours=1)  # after so long what comes back is news again

_QUIET = frozenset({"StageRunning"})  # reasons that say no more than that it goes on
_COMING_AND_GOING = frozenset(
    {"SampleRatioMismatch", "SharedDegradation", "NotCalibrated", "GuardrailBroken", "Blind", "FlagUnavailable"}
)


def told(
    g: Gathered, judgement: Judgement, outcome: Outcome, status: RolloutStatus, heard: Sequence[Word]
) -> tuple[Tell, ...]:
    """All of it, in the order in which it should be read. `g` is as it was read: before an edited spec was followed."""
    return (
        *_edited_spec(g, outcome, status),
        *_divided_anew(g, status),
        *_outcome(g, outcome, status),
        *_words(g, outcome, status, heard),
        *_flag(g, outcome, status),
        *_power(g, judgement, status),
        *_late_starts(g, status),
    )


def _outcome(g: Gathered, outcome: Outcome, status: RolloutStatus) -> Iterator[Tell]:
    before = g.status
    changed = status.phase is not before.phase or outcome.raises
    if changed or status.reason not in {before.reason, *_QUIET}:
        decision = Decision(
            at=g.now,
            action=outcome.verb,
            reason=outcome.reason,
            message=outcome.message,
            actor=outcome.actor,
            repeated=_repeats(before, outcome, g.now) or None,
        )
        yield Tell(decision, outcome.warning)


def _repeats(before: RolloutStatus, outcome: Outcome, now: datetime) -> bool:
    """Whether this comes and goes: it is decided and recorded each time, but people are told once, and again only when
    it had stayed away for a while. What ends such a repetition says no more than they know.
    """
    made = before.decisions
    if outcome.reason in _QUIET:
        return before.reason in _COMING_AND_GOING and bool(made) and bool(made[-1].repeated)
    if outcome.reason not in _COMING_AND_GOING:
        return False
    last = max((place for place, decision in enumerate(made) if decision.reason == outcome.reason), default=None)
    if last is None:
        return False
    ended = next((decision.at for decision in made[last:] if decision.reason in _QUIET), made[last].at)
    return now - ended < STAYED_AWAY


def _lately(made: Sequence[Decision], reason: str, now: datetime) -> bool:
    """Whether this was decided less than an hour ago."""
    last = next((decision.at for decision in reversed(made) if decision.reason == reason), None)
    return last is not None and now - last < STAYED_AWAY


def remembered(made: tuple[Decision, ...], new: Iterable[Decision]) -> tuple[Decision, ...]:
    """The last decisions as people see them. Of what comes and goes they see the first time and the last one: it must
    not push everything else out. All of it stands in the log, so only what has its number there may go.
    """
    kept = list(made)
    for decision in new:
        since = _since_the_same(kept, decision) if decision.repeated else None
        if since is not None:
            del kept[since:]
        kept.append(decision)
    return tuple(kept[-DECISIONS_KEPT:])


def _since_the_same(made: Sequence[Decision], new: Decision) -> int | None:
    """Where the last repetition of it begins, if there is nothing else behind."""
    for place in range(len(made) - 1, -1, -1):
        decision = made[place]
        if not decision.repeated or decision.number is None:
            return None
        if (decision.action, decision.reason) == (new.action, new.reason):
            return place
        if decision.reason not in _QUIET:
            return None
    return None


def _edited_spec(g: Gathered, outcome: Outcome, status: RolloutStatus) -> Iterator[Tell]:
    """A running stage that the spec does not have any more, or that it gives less."""
    if status.phase not in IN_A_STAGE or g.status.phase not in IN_A_STAGE:
        return
    lowered = not outcome.raises and status.percent != g.status.percent
    if not (lowered or anchor.gone(g)):
        return
    before, now = f"{g.status.percent} %", f"{status.percent} %"
    if anchor.gone(g):
        what = f"{g.status.stage} is gone, and {status.stage} takes its place: V2 gets {now} (before: {before})"
    else:
        what = f"{status.stage} goes from {before} to {now}"
    message = f"spec.stages was edited: {what}"
    yield Tell(
        Decision(at=g.now, action="SetPercent", reason="SpecEdited", message=message, actor="person (spec.stages)")
    )


def _divided_anew(g: Gathered, status: RolloutStatus) -> Iterator[Tell]:
    """Edited in mid-ramp: evidence that has been looked at is held against other limits from now on."""
    before = g.status.judged_as
    if not before or not status.judged_as or before == status.judged_as or status.phase not in IN_A_STAGE:
        return
    message = (
        "comparisons, spec.analysis or the planned time were edited in mid-ramp: the error level is divided anew, over "
        "the counts that are there; falseRollback holds for each division by itself, for all of them at most their sum"
    )
    yield Tell(
        Decision(at=g.now, action="Warn", reason="AnalysisEdited", message=message, actor="person (spec)"), warning=True
    )


def _words(g: Gathered, outcome: Outcome, status: RolloutStatus, heard: Sequence[Word]) -> Iterator[Tell]:
    """What was refused, and an approval whose time has not come. What was followed is told by what it did."""
    for word in heard:
        actor = f"person (annotation orchestrator.dev/{word.verb})"
        if not word.done:
            reason = f"{word.verb.capitalize()}Refused"
            yield Tell(Decision(at=g.now, action="Refuse", reason=reason, message=word.answer, actor=actor))
        elif word.verb == "approve" and not outcome.raises and _approval(status) != _approval(g.status):
            yield Tell(Decision(at=g.now, action="Approve", reason="Approved", message=word.answer, actor=actor))


def _approval(status: RolloutStatus) -> tuple[str, tuple[str, ...]]:
    return status.approved, status.approved_for


def _flag(g: Gathered, outcome: Outcome, status: RolloutStatus) -> Iterator[Tell]:
    """Keys that somebody changed, and an expiry that had passed: both bring executions back to V2 by another reason
    than a stage's.
    """
    if isinstance(g.flag, Unreadable) or status.phase not in IN_A_STAGE:
        return
    before = g.status.flag_intent
    if edit := flagplan.edited(before, g.flag):
        message = f"{edit}; set back to {status.percent} %"
        again = _lately(g.status.decisions, "FlagEdited", g.now) or None  # a tool that keeps writing it
        decision = Decision(at=g.now, action="SetPercent", reason="FlagEdited", message=message, repeated=again)
        yield Tell(decision, warning=True)
    if flagplan.expired(before, g.flag, g.now) and status.flag_intent != before and not outcome.raises:
        message = f"nobody renewed the flag in time, and routers fell back to V1; set again to {status.percent} %"
        yield Tell(Decision(at=g.now, action="SetPercent", reason="DeadmanExpired", message=message), warning=True)


def _power(g: Gathered, judgement: Judgement, status: RolloutStatus) -> Iterator[Tell]:
    """Rule 9: at once, and once a stage."""
    if judgement.power is None or judgement.power.enough or status.phase not in IN_A_STAGE:
        return
    if status.stage != g.status.stage or any(item.reason == NOT_POWERED for item in g.status.conditions):
        return
    yield Tell(Decision(at=g.now, action="Warn", reason=NOT_POWERED, message=judgement.power.sentence), warning=True)


def _late_starts(g: Gathered, status: RolloutStatus) -> Iterator[Tell]:
    """Rule 6: once, until it was over."""
    if status.phase not in OVER or not g.late_starts or _holds(g.status, NOT_EFFECTIVE):
        return
    found = next((item for item in status.conditions if item.type == NOT_EFFECTIVE), None)
    if found is not None:
        yield Tell(Decision(at=g.now, action="Alert", reason=NOT_EFFECTIVE, message=found.message), warning=True)


def _holds(status: RolloutStatus, kind: str) -> bool:
    return any(item.type == kind and item.status == "True" for item in status.conditions)

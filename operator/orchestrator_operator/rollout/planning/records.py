"""What the status tells of the verdicts, and the book-keeping of blindness. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from orchestrator import durations
from orchestrator.flag import parse_instant
from orchestrator_operator.rollout.model import Unreadable
from orchestrator_operator.rollout.reading.counters import ages_beside
from orchestrator_operator.rollout.statistics.evidence import totals
from orchestrator_operator.rollout.wording import show_evidence
from orchestrator_operator.specs.rollout_status import CHANGES_KEPT, Counted, CriterionStatus, Phase, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator_operator.rollout.model import Gathered, Judged, Judgement
    from orchestrator_operator.specs.rollout_status import Decision, RolloutStatus

_WORST_FIRST = (Verdict.FAIL, Verdict.BLIND, Verdict.INCONCLUSIVE, Verdict.PASS, Verdict.NOT_APPLICABLE)


def with_evidence(g: Gathered, judgement: Judgement, status: RolloutStatus) -> RolloutStatus:
    """The verdicts for people to see, and the book-keeping of blindness. Old verdicts stay where none are made."""
    if not judgement.criteria or status.phase is Phase.PENDING:
        waiting = judgement.criteria and status.phase is Phase.PENDING
        seen = tuple(_shown(item, g.status) for item in judgement.criteria if item.breached_since) if waiting else ()
        kept = seen if waiting else status.criteria  # before the start: since when a guardrail is above its limit
        return status.model_copy(update={"blind_since": None, "blind": "", "criteria": kept})
    verdicts = [judged.verdict for judged in judgement.criteria]
    against = [item for item in judgement.criteria if item.log_evidence is not None and item.log_threshold is not None]
    strongest = max(against, key=lambda item: (item.log_evidence or 0) - (item.log_threshold or 0), default=None)
    changes: dict[str, Any] = {
        "verdict": next(verdict for verdict in _WORST_FIRST if verdict in verdicts).value,
        "criteria": tuple(_shown(judged, g.status) for judged in judgement.criteria),
        "evidence": _evidence(strongest),
        "counted": _counted(g),
        **_blindness(g, status, blind=Verdict.BLIND in verdicts),
    }
    return status.model_copy(update=changes)


def _counted(g: Gathered) -> Counted:
    """What cannot be read now stays as it was read last."""
    ages = ages_beside(g.spec) if g.spec else ()
    before = g.status.counted if g.status.counted and g.status.counted.ages == ages else Counted()
    return Counted(
        ages=ages,
        starts=before.starts if isinstance(g.starts, Unreadable) else totals(g.starts),
        calibration=before.calibration if isinstance(g.calibration, Unreadable) else totals(g.calibration),
    )


def with_changes(g: Gathered, status: RolloutStatus, decisions: Iterable[Decision]) -> RolloutStatus:
    """The moments at which V2's share changed in this attempt: a bin of a user's own counters never spans one.

    What somebody else did to the flag counts from when it was seen, and set back; an expiry from its own moment on.
    """
    kept = g.status.share_changed_at if status.started_at == g.status.started_at else ()
    corrected = [decision for decision in decisions if decision.action == "SetPercent"]
    found = {g.now} if corrected or status.percent != g.status.percent else set()
    intent = g.status.flag_intent
    if any(decision.reason == "DeadmanExpired" for decision in corrected) and intent and intent.expires:
        found.add(parse_instant(intent.expires))
    return status.model_copy(update={"share_changed_at": tuple(sorted({*kept, *found}))[-CHANGES_KEPT:]})


def _blindness(g: Gathered, status: RolloutStatus, *, blind: bool) -> dict[str, Any]:
    since, spent = status.blind_since, status.blind_spent
    promoted = status.stage_index != g.status.stage_index
    if blind and not promoted:
        since = since or g.now
        lasted = timedelta(seconds=round(spent + (g.now - since).total_seconds()))
    else:
        spent += (g.now - since).total_seconds() if since else 0.0
        since, lasted = None, timedelta(seconds=round(spent))
    budget = f" of {durations.show(g.spec.blind.budget)}" if g.spec else ""
    shown = f"{durations.show(lasted)}{budget}" if lasted or since else ""
    return {"blind_since": since, "blind_spent": spent, "blind": shown}


def _shown(judged: Judged, before: RolloutStatus) -> CriterionStatus:
    if judged.verdict is Verdict.BLIND and (seen := _seen(judged, before)):
        return seen
    k1, n1, k2, n2 = judged.counts or (None, None, None, None)
    return CriterionStatus(
        name=judged.criterion.name,
        verdict=judged.verdict,
        sentence=judged.sentence,
        age=durations.show(judged.age) if judged.age else None,
        k1=k1,
        n1=n1,
        k2=k2,
        n2=n2,
        log_evidence=_rounded(judged.log_evidence),
        log_threshold=_rounded(judged.log_threshold),
        log_pass_evidence=_rounded(judged.log_pass_evidence),
        log_pass_threshold=_rounded(judged.log_pass_threshold),
        value=judged.value,
        breached_since=judged.breached_since,
    )


def _seen(judged: Judged, before: RolloutStatus) -> CriterionStatus | None:
    """The blind criterion with the counts that were seen last: counters that come back lower have been reset."""
    for item in before.criteria:
        if item.name == judged.criterion.name and item.k1 is not None:
            return item.model_copy(update={"verdict": judged.verdict, "sentence": judged.sentence})
    return None


def _evidence(strongest: Judged | None) -> str:
    if strongest is None or strongest.log_evidence is None or strongest.log_threshold is None:
        return ""
    return f"{show_evidence(strongest.log_evidence)} of {show_evidence(strongest.log_threshold)}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)

"""From what was gathered and judged to what is to be done and remembered. Pure.

The first rule that answers decides the phase; what the flag must say, the book-keeping of blindness, the restarts of
the evidence, the conditions and the record of the decision follow from that, the same for every rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.flag import show_percent
from orchestrator_operator.rollout import flagplan, rules, stage_rules
from orchestrator_operator.rollout.conditions import conditions
from orchestrator_operator.rollout.flagwrite import with_flag
from orchestrator_operator.rollout.judge import current_stage
from orchestrator_operator.rollout.model import (
    DropAnnotation,
    Plan,
    RememberBins,
    RememberTotals,
    Restart,
    TakeBaselines,
    Tell,
    Unreadable,
)
from orchestrator_operator.rollout.phases import IN_A_STAGE, advance
from orchestrator_operator.rollout.records import with_evidence
from orchestrator_operator.rollout.situation import ABORT, APPROVE, Outcome, Situation
from orchestrator_operator.specs.rollout_status import (
    DECISIONS_KEPT,
    Decision,
    Phase,
    RolloutStatus,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from orchestrator_operator.rollout.model import Action, Gathered, Judgement

RULES: tuple[Callable[[Situation], Outcome | None], ...] = (
    rules.cleared_by_hand,
    rules.aborted,
    rules.deleted,
    rules.draining,
    rules.rolled_back,
    rules.invalid_spec,
    rules.completed,
    rules.rivalled,
    stage_rules.convicted,
    stage_rules.guardrail_rolls_back,
    stage_rules.blind_for_too_long,
    rules.flag_unreadable,
    rules.flag_in_use,
    rules.pending_paused,
    rules.pending_blind,
    rules.pending_broken,
    rules.started,
    stage_rules.paused,
    stage_rules.guardrail_holds,
    stage_rules.blind,
    stage_rules.stage_running,
    stage_rules.stage_passed,
    stage_rules.stage_extended,
    stage_rules.underpowered_promotes,
    stage_rules.underpowered_holds,
    stage_rules.approved,
    stage_rules.awaits_approval,
)
"""The first answer wins; the last one always answers."""


def plan(gathered: Gathered, judgement: Judgement) -> Plan:
    """What to do now, and what to remember before doing it."""
    situation = Situation(gathered, judgement)
    outcome = next(answer for rule in RULES if (answer := rule(situation)) is not None)
    moved = _moved(gathered, outcome)
    status, flag_actions = with_flag(gathered, moved)
    status = with_evidence(gathered, judgement, status)
    status = status.model_copy(update={"conditions": conditions(gathered, status)})
    told = tuple(_told(gathered, outcome, status))
    decisions = (*status.decisions, *(item.decision for item in told))[-DECISIONS_KEPT:]
    status = status.model_copy(update={"decisions": decisions})
    actions = (
        *_baselines(gathered, status),
        *flag_actions,
        *_bins(gathered, status),
        *_restarts(gathered, judgement, status),
        *_unless_waiting(outcome, flag_actions),
        *_heard(gathered, status),
        *told,
    )
    return Plan(status, actions, _wake_at(gathered, status))


def _moved(g: Gathered, outcome: Outcome) -> RolloutStatus:
    """The status in the phase that the rule answered."""
    changes: dict[str, Any] = {
        "phase": advance(g.status.phase, outcome.phase),
        "reason": outcome.reason,
        "message": outcome.message,
        "next": outcome.next,
        "observed_generation": g.generation,
        **outcome.changes,
    }
    status = g.status.model_copy(update=changes)
    if Phase.PENDING in (g.status.phase, status.phase):
        attempt = max(status.attempt, g.spec.attempt if g.spec else 1)
        status = status.model_copy(update={"attempt": attempt, "attempt_id": f"{g.uid[:8]}-{attempt}"})
    stage = current_stage(g.spec, status.stage_index).name if g.spec else status.stage
    return status.model_copy(update={"stage": stage, "percent": _percent(g, status)})


def _percent(g: Gathered, status: RolloutStatus) -> str:
    """What V2 is to get, in per cent."""
    if status.phase is Phase.COMPLETED:
        return "100"
    if status.phase in IN_A_STAGE:
        return show_percent(current_stage(g.spec, status.stage_index).percent) if g.spec else status.percent
    return "0"


def _baselines(g: Gathered, status: RolloutStatus) -> Iterator[TakeBaselines]:
    """Before anything goes to V2: what V1 took without it. Taken again by nobody, however often it is asked for."""
    if not g.baselined and status.started_at is not None and status.phase in IN_A_STAGE:
        yield TakeBaselines(status.started_at)


def _bins(g: Gathered, status: RolloutStatus) -> Iterator[RememberBins]:
    if status.phase in IN_A_STAGE:
        yield from g.closed


def _restarts(g: Gathered, judgement: Judgement, status: RolloutStatus) -> Iterator[RememberTotals]:
    """Restarts of the evidence that are due and not kept yet. One that was missed begins late: still valid."""
    if g.spec is None or status.started_at is None or status.phase not in IN_A_STAGE or judgement.arms is None:
        return
    awaited = {
        key: cells
        for key, cells in g.cohorts.items()
        if not (isinstance(cells, Unreadable) and cells.nothing_to_compare)
    }
    readable = {key: cells for key, cells in awaited.items() if not isinstance(cells, Unreadable)}
    if len(readable) < len(awaited):
        return
    begun = (g.now - status.started_at) // g.spec.analysis.restart
    first = max((restart.index for restart in g.restarts), default=0) + 1
    for index in range(first, begun + 1):
        yield RememberTotals(Restart(index, g.now, readable))


def _unless_waiting(outcome: Outcome, flag_actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """A rule's own actions wait until the flag is as it should be: first clear, then cancel or let go."""
    return () if flag_actions else outcome.actions


def _heard(g: Gathered, status: RolloutStatus) -> Iterator[DropAnnotation]:
    """Words of people that have been heard, or that nothing was waiting for."""
    if ABORT in g.annotations:
        yield DropAnnotation(ABORT)
    if APPROVE in g.annotations:
        in_time = g.annotations[APPROVE] == status.stage and status.phase in IN_A_STAGE
        if not in_time:
            yield DropAnnotation(APPROVE)


def _told(g: Gathered, outcome: Outcome, status: RolloutStatus) -> Iterator[Tell]:
    """What people should hear of: each change of phase, stage or reason, and hands on the flag."""
    before = g.status
    changed = (status.phase, status.stage_index) != (before.phase, before.stage_index)
    if changed or status.reason not in (before.reason, "StageRunning"):
        yield Tell(
            Decision(
                at=g.now, action=outcome.verb, reason=outcome.reason, message=outcome.message, actor=outcome.actor
            ),
            outcome.warning,
        )
    if isinstance(g.flag, Unreadable) or status.phase not in IN_A_STAGE:
        return
    if edit := flagplan.edited(before.flag_intent, g.flag):
        message = f"{edit}; set back to {status.percent} %"
        yield Tell(Decision(at=g.now, action="SetPercent", reason="FlagEdited", message=message), warning=True)


def _wake_at(g: Gathered, status: RolloutStatus) -> datetime | None:
    due = [status.next]
    if g.spec is not None and status.phase in IN_A_STAGE:
        due.append(flagplan.renew_at(status.flag_intent, g.spec.deadman))
        if status.started_at is not None:
            restarts = (g.now - status.started_at) // g.spec.analysis.restart
            due.append(status.started_at + (restarts + 1) * g.spec.analysis.restart)
    return min((moment for moment in due if moment is not None), default=None)

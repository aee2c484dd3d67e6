"""From what was gathered and judged to what is to be done and remembered. Pure.

The first rule that answers decides the phase; what the flag must say, the book-keeping of blindness, the restarts of
the evidence, the conditions and the record of the decision follow from that, the same for every rule.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from orchestrator.flag import show_percent
from orchestrator_operator.rollout.judging.anchor import anchored
from orchestrator_operator.rollout.judging.comparisons import division
from orchestrator_operator.rollout.judging.judge import current_stage
from orchestrator_operator.rollout.model import Plan, RememberBins, RememberTotals, Restart, TakeBaselines, Unreadable
from orchestrator_operator.rollout.ownership import attempt_id
from orchestrator_operator.rollout.phases import IN_A_STAGE, advance
from orchestrator_operator.rollout.planning import flagplan, onward, rules, stage_rules, starting, windows, words
from orchestrator_operator.rollout.planning.conditions import conditions
from orchestrator_operator.rollout.planning.flagwrite import with_flag
from orchestrator_operator.rollout.planning.records import with_changes, with_evidence
from orchestrator_operator.rollout.planning.situation import PROMOTE, Outcome, Situation
from orchestrator_operator.rollout.planning.telling import remembered, told
from orchestrator_operator.specs.rollout import dump_rollout
from orchestrator_operator.specs.rollout_status import Finding, Phase, RolloutStatus

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
    rules.completed,
    rules.never_readable,
    rules.rivalled,
    stage_rules.convicted,
    stage_rules.guardrail_rolls_back,
    stage_rules.blind_for_too_long,
    rules.invalid_spec,
    rules.flag_unreadable,
    starting.flag_in_use,
    starting.pending_restored,
    starting.pending_paused,
    starting.pending_blind,
    starting.pending_broken,
    starting.pending_alarmed,
    starting.pending_approval,
    starting.started,
    stage_rules.paused,
    onward.promoted,
    stage_rules.alarmed,
    stage_rules.guardrail_holds,
    stage_rules.blind,
    onward.share_raised,
    onward.stage_running,
    onward.stage_extended,
    onward.underpowered_holds,
    onward.awaits_approval,
    onward.window_closed,
    onward.goes_on,
)
"""The first answer wins; the last one always answers."""


def plan(gathered: Gathered, judgement: Judgement) -> Plan:
    """What to do now, and what to remember before doing it."""
    g = words.listen(anchored(gathered))
    situation = Situation(g, judgement)
    outcome = next(answer for rule in RULES if (answer := rule(situation)) is not None)
    status, flag_actions = with_flag(g, _moved(g, outcome))
    status = with_evidence(g, judgement, status)
    obstacle = onward.obstacle(situation) if PROMOTE in g.annotations else ""
    heard = words.answers(situation, outcome, status, obstacle)
    changes: dict[str, Any] = {
        "window": _window(g, status),
        "judged_as": division(g.spec) if g.spec is not None and status.phase in IN_A_STAGE else "",
        "heard": words.remembered(gathered, heard),
        "alarms": tuple(Finding(reason=alarm.reason, sentence=alarm.sentence) for alarm in judgement.alarms),
        "conditions": conditions(g, judgement, status),
    }
    status = status.model_copy(update=changes)
    telling = told(gathered, judgement, outcome, status, heard)
    made = [item.decision for item in telling]
    status = with_changes(g, status, made)
    status = status.model_copy(update={"decisions": remembered(status.decisions, made)})
    actions = (
        *_baselines(g, status),
        *flag_actions,
        *_bins(g, status),
        *_restarts(g, judgement, status),
        *_unless_waiting(outcome, flag_actions),
        *words.taken_off(gathered.annotations),
        *telling,
    )
    return Plan(status, actions, _wake_at(g, status))


def _moved(g: Gathered, outcome: Outcome) -> RolloutStatus:
    """The status in the phase that the rule answered."""
    changes: dict[str, Any] = {
        "phase": advance(g.status.phase, outcome.phase),
        "reason": outcome.reason,
        "message": outcome.message,
        "next": outcome.next,
        "awaits": "",
        "awaits_for": (),
        "observed_generation": g.generation,
        "readable_spec": g.status.readable_spec if g.problems or g.spec is None else dump_rollout(g.spec),
        **outcome.changes,
    }
    status = g.status.model_copy(update=changes)
    if Phase.PENDING in (g.status.phase, status.phase):
        attempt = max(status.attempt, g.spec.attempt if g.spec else 1)
        status = status.model_copy(update={"attempt": attempt, "attempt_id": attempt_id(g.uid, attempt)})
    stage = current_stage(g.spec, status.stage_index).name if g.spec else status.stage
    return status.model_copy(update={"stage": stage, "percent": _percent(g, status, outcome)})


def _percent(g: Gathered, status: RolloutStatus, outcome: Outcome) -> str:
    """What V2 is to get, in per cent. An edited spec lowers it whatever else goes on; only a rule's answer raises."""
    if status.phase is Phase.COMPLETED:
        return "100"
    if status.phase not in IN_A_STAGE:
        return "0"
    if g.spec is None:
        return status.percent
    share = current_stage(g.spec, status.stage_index).share
    return show_percent(share if outcome.raises else min(share, Decimal(status.percent)))


def _window(g: Gathered, status: RolloutStatus) -> str:
    """Whether promotions are allowed now; "" where no window is asked for or none matters."""
    if g.spec is None or status.phase not in IN_A_STAGE | {Phase.PENDING}:
        return ""
    if not (g.spec.windows.promote or g.spec.windows.freeze):
        return ""
    closed = windows.closed_until(g.spec.windows, g.now)
    return f"closed {closed}" if closed else "open"


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
    if g.away is not None:  # nobody could keep them
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


def _wake_at(g: Gathered, status: RolloutStatus) -> datetime | None:
    due = [status.next]
    if g.spec is not None and status.phase in IN_A_STAGE:
        due.append(flagplan.renew_at(status.flag_intent, g.spec.deadman))
        if status.started_at is not None:
            restarts = (g.now - status.started_at) // g.spec.analysis.restart
            due.append(status.started_at + (restarts + 1) * g.spec.analysis.restart)
    return min((moment for moment in due if moment is not None), default=None)

"""When the evidence is recorded although nothing was decided, so that it can be drawn over time. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator_operator.rollout.judging.judge import current_stage
from orchestrator_operator.rollout.model import RememberTotals
from orchestrator_operator.rollout.phases import IN_A_STAGE

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator_operator.rollout.model import Gathered, Judgement, Plan

_POINTS = 200  # of a stage, at most


@dataclass(frozen=True, slots=True)
class Seen:
    """What a row shows of the evidence."""

    at: datetime
    counts: Any


def seen(g: Gathered, judgement: Judgement) -> Seen:
    """What a row of this moment would show."""
    return Seen(
        g.now, tuple((one.criterion.name, one.verdict, one.counts, one.log_evidence) for one in judgement.criteria)
    )


def due(g: Gathered, planned: Plan, last: Seen | None, now: Seen) -> bool:
    """At every restart of the evidence; else when it has moved since the last row, 200 times a stage at most."""
    if g.spec is None or not now.counts or not {g.status.phase, planned.status.phase} <= IN_A_STAGE:
        return False
    if last is None or any(isinstance(action, RememberTotals) for action in planned.actions):
        return True
    pause = current_stage(g.spec, g.status.stage_index).duration / _POINTS
    return now.counts != last.counts and abs(now.at - last.at) >= pause

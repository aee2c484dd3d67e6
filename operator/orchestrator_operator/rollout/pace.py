"""How soon a rollout is looked at again. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator_operator.rollout.phases import IN_A_STAGE
from orchestrator_operator.specs.rollout_status import Phase

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator_operator.rollout.model import Gathered, Plan

_FASTEST, _SLOWEST = timedelta(seconds=1), timedelta(seconds=15)  # between two looks at a stage that runs
_BEFORE_THE_START = timedelta(seconds=5)  # somebody has just applied it, and waits for its first counters
_AT_REST = timedelta(seconds=30)  # between two looks at a rollout that is over
_AT_ONCE = 0.05  # seconds: what is overdue does not make a loop without a pause
_FIRST_RETRY, LONGEST_RETRY = 0.5, 15.0  # seconds


def next_look(gathered: Gathered, planned: Plan, now: datetime) -> float:
    """Seconds until the plan's own moment, or until the next poll, whichever is sooner."""
    until = planned.wake_at - now if planned.wake_at else _AT_REST
    return min(max(until.total_seconds(), _AT_ONCE), _poll(gathered, planned).total_seconds())


def retry(failures: int) -> float:
    """Seconds after so many failures in a row."""
    return float(min(_FIRST_RETRY * 2.0 ** min(failures, 10), LONGEST_RETRY))


def _poll(gathered: Gathered, planned: Plan) -> timedelta:
    """How often a rollout is looked at when nothing is due: a quarter of the first age while a stage runs.

    The phase is the one that it has now: a rollback that was just decided is watched at once.
    """
    phase = planned.status.phase
    if phase is Phase.ROLLING_BACK or gathered.spec is None:
        return _FASTEST
    if phase in IN_A_STAGE | {Phase.PENDING}:
        slowest = _BEFORE_THE_START if phase is Phase.PENDING else _SLOWEST
        return min(max(gathered.spec.analysis.ages[0] / 4, _FASTEST), slowest)
    return _AT_REST

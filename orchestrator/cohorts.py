"""What an execution counts as at one age: pure (statistics.md, "What is counted: cohorts at fixed ages").

Fast failures arrive before slow successes, so executions are compared at fixed ages, from their events as they stood
at exactly that age, and not when they happen to end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.model import Engine, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

FAILURES: Final = "failures"
FIRST_ATTEMPTS: Final = "first-attempt-failures"
SLOW_CHECKPOINTS: Final = "slow-checkpoints"
CRITERIA: Final = (FAILURES, FIRST_ATTEMPTS, SLOW_CHECKPOINTS)
SLOW_CHECKPOINT_MS: Final = 100.0


@dataclass(frozen=True, slots=True)
class Moment:
    """The part of an event that cohorts look at."""

    at: datetime
    type: str
    attempt: int | None
    timed_ms: float | None


@dataclass(frozen=True, slots=True)
class Facts:
    """One execution, as the store has it when it is read (at or soon after the age)."""

    engine: Engine
    status: Status
    finished_at: datetime | None
    step_deadline: datetime | None
    waits: bool  # a timer, signal or approval is all it waits for
    history: Sequence[Moment]


def outcomes(facts: Facts, cutoff: datetime, grace: timedelta, *, last_age: bool) -> Mapping[str, bool]:
    """Whether the execution is bad, for each criterion that applies to its engine, as of `cutoff`.

    `grace` is two polls: how much later than its own timeout a step may end before it counts as stalled.
    """
    finished = facts.finished_at is not None and facts.finished_at <= cutoff
    failed = finished and facts.status is Status.FAILED
    past = [moment for moment in facts.history if moment.at <= cutoff]
    # An execution that ended or went on after the cutoff was read late: its deadline of then is not known any more.
    stood_still = facts.finished_at is None and len(past) == len(facts.history)
    overdue = facts.step_deadline is not None and facts.step_deadline + grace < cutoff
    stalled = stood_still and overdue and facts.status is Status.RUNNING and not facts.waits
    resting = facts.waits or facts.status in (Status.SUSPENDED, Status.WAITING)
    late = last_age and not finished and not resting
    bad = {
        FAILURES: failed or stalled or late,
        FIRST_ATTEMPTS: failed or any(moment.type == "StepFailed" and moment.attempt == 1 for moment in past),
    }
    if facts.engine is Engine.V2:  # V1 keeps no checkpoints
        bad[SLOW_CHECKPOINTS] = any((moment.timed_ms or 0) > SLOW_CHECKPOINT_MS for moment in past)
    return bad

"""What an execution counts as at one age: pure (statistics.md, "What is counted: cohorts at fixed ages").

Fast failures arrive before slow successes, so executions are compared at fixed ages, from their events as they stood
at exactly that age, and not when they happen to end.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from orchestrator import durations
from orchestrator.model import Assignment, Engine, Status
from orchestrator.router import falls_on_v2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

FAILURES: Final = "failures"
FIRST_ATTEMPTS: Final = "first-attempt-failures"
SLOWER: Final = "slower-than-baseline"
SLOW_CHECKPOINTS: Final = "slow-checkpoints"
CRITERIA: Final = (FAILURES, FIRST_ATTEMPTS, SLOWER, SLOW_CHECKPOINTS)
STARTS: Final = "starts"  # every execution that the router sent, once, at its first age, always as a good one
CALIBRATION: Final = ("calibration-a", "calibration-b")  # V1's failures at the middle age, by a coin without a meaning
BAD: Final = "bad"
GOOD: Final = "good"
SLOW_CHECKPOINT_MS: Final = 100.0
ENOUGH_HISTORY: Final = 100  # executions that a workflow's baseline needs
_CALIBRATION_SALT: Final = "USE_ORCHESTRATOR_V2:calibration:"

Labels = tuple[str, str, str, str, str, str, str]  # attempt, engine, criterion, outcome, assignment, percent, age


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
    created_at: datetime
    finished_at: datetime | None
    step_deadline: datetime | None
    waits: bool  # a timer, signal or approval is all it waits for
    baseline: timedelta | None  # V1's 95th percentile for its workflow; None: too little history
    history: Sequence[Moment]


@dataclass(frozen=True, slots=True)
class Reading:
    """Which execution is read, at which of its ages, and what its coin was."""

    execution_id: str
    attempt: str
    assignment: Assignment
    percent: str
    descended: bool  # a child or a fork: no coin was tossed for it
    age: timedelta
    index: int  # of the age
    ages: int  # how many there are
    cutoff: datetime  # the moment of that age

    @property
    def last(self) -> bool:
        return self.index == self.ages - 1

    @property
    def middle(self) -> bool:
        return self.index == middle(self.ages)


def middle(ages: int) -> int:
    """The index of the age at which most of the error level is spent (statistics.md, the shares of the level)."""
    return ages // 2


def raised(facts: Facts, reading: Reading, grace: timedelta) -> list[Labels]:
    """The counters that this reading raises by one each.

    What was cancelled has no outcome, but it was started: the share that V2 got must not depend on who was cancelled.
    """
    if reading.assignment is Assignment.EXPLICIT or reading.descended:
        return []

    def labels(criterion: str, *, is_bad: bool) -> Labels:
        outcome, age = BAD if is_bad else GOOD, durations.show(reading.age)
        return (
            reading.attempt,
            facts.engine.value,
            criterion,
            outcome,
            reading.assignment.value,
            reading.percent,
            age,
        )

    found = [labels(STARTS, is_bad=False)] if reading.index == 0 else []
    if facts.status is Status.CANCELLED:
        return found
    bad = outcomes(facts, reading.cutoff, grace, last_age=reading.last)
    found += [labels(criterion, is_bad=is_bad) for criterion, is_bad in bad.items()]
    if facts.engine is Engine.V1 and reading.assignment is Assignment.EXECUTION and reading.middle:
        found.append(labels(calibration_arm(reading.execution_id, reading.percent), is_bad=bad[FAILURES]))
    return found


def outcomes(facts: Facts, cutoff: datetime, grace: timedelta, *, last_age: bool) -> Mapping[str, bool]:
    """Whether the execution is bad, for each criterion that applies to its engine and workflow, as of `cutoff`.

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
    if facts.baseline is not None:
        lasted = (facts.finished_at if finished and facts.finished_at else cutoff) - facts.created_at
        bad[SLOWER] = lasted > facts.baseline and facts.status is not Status.SUSPENDED  # a person stopped that one
    if facts.engine is Engine.V2:  # V1 keeps no checkpoints
        bad[SLOW_CHECKPOINTS] = any((moment.timed_ms or 0) > SLOW_CHECKPOINT_MS for moment in past)
    return bad


def calibration_arm(execution_id: str, percent: str) -> str:
    """Which of two arms an execution of V1 is put in by a second coin of the same probability.

    Nothing differs between the arms: a judge that sees a difference shows that the counting or the coin is broken.
    """
    return CALIBRATION[falls_on_v2(execution_id, Decimal(percent), salt=_CALIBRATION_SALT)]

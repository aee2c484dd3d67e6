"""Where a reconcile can be cut short: everything that the controller writes has a name here, and two moments.

Whoever writes announces each moment (`with step(Step.SET_FLAG): …`). Nothing happens unless a test armed a plan: then
the reconcile ends there, as if the process had. The stores' own commits have theirs in orchestrator/faults.py.
"""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from orchestrator_operator.rollout.model import (
    Action,
    CancelInFlight,
    ClearFlag,
    DropAnnotation,
    Release,
    RememberBins,
    RememberTotals,
    SetFlag,
    TakeBaselines,
    Tell,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class Step(StrEnum):
    """Everything that the controller writes."""

    GUARD = "guard"  # our finalizer
    RECORD = "record"  # one row of the log of decisions
    REMEMBER = "remember"  # the status
    SET_FLAG = "set-flag"
    CLEAR_FLAG = "clear-flag"
    READ_BACK = "read-back"  # of the flag that was cleared
    CANCEL_IN_FLIGHT = "cancel-in-flight"
    TAKE_BASELINES = "take-baselines"
    REMEMBER_BINS = "remember-bins"
    REMEMBER_TOTALS = "remember-totals"
    DROP_ANNOTATION = "drop-annotation"
    RELEASE = "release"
    TELL = "tell"


class Moment(StrEnum):
    """Where in a step."""

    BEFORE = "before"
    AFTER = "after"


#: The step of each action; an action without one cannot be done.
OF: Final[Mapping[type[Action], Step]] = {
    SetFlag: Step.SET_FLAG,
    ClearFlag: Step.CLEAR_FLAG,
    CancelInFlight: Step.CANCEL_IN_FLIGHT,
    TakeBaselines: Step.TAKE_BASELINES,
    RememberBins: Step.REMEMBER_BINS,
    RememberTotals: Step.REMEMBER_TOTALS,
    DropAnnotation: Step.DROP_ANNOTATION,
    Release: Step.RELEASE,
    Tell: Step.TELL,
}

_plan: Callable[[Step, Moment], None] | None = None


@contextmanager
def step(name: Step) -> Iterator[None]:
    """Announce a step; with a plan armed this may raise."""
    _reach(name, Moment.BEFORE)
    yield
    _reach(name, Moment.AFTER)


def arm(plan: Callable[[Step, Moment], None] | None) -> None:
    """Let `plan` hear of every moment from now on; None disarms."""
    global _plan  # noqa: PLW0603 - the one switch of the process, as in orchestrator/faults.py
    _plan = plan


def _reach(name: Step, moment: Moment) -> None:
    if _plan is not None:
        _plan(name, moment)

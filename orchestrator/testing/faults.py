"""Faults at the commits of a store: it ends there, it lies, or it is counted. See orchestrator/faults.py.

    with crash_at(Boundary.APPEND, Moment.BEFORE, occurrence=3):  # os._exit: for a process of its own
    with lose(Boundary.APPEND):                                  # committed, but the caller is told otherwise
    with refuse(Boundary.CLAIM, times=5):                        # not committed, and the caller is told so
    with record() as reached:                                    # Counter of (Boundary, Moment)

They nest. For a process of its own, `ORCHESTRATOR_TEST_FAULT=append:before:3 python -m orchestrator.testing run …`
arms the fault and then is the program `orchestrator`; the program itself knows nothing of that variable.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from orchestrator.errors import StoreUnavailable
from orchestrator.faults import Boundary, Moment, arm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Plan = Callable[[Boundary, Moment], None]

#: `boundary:moment:occurrence`; the occurrence counts from 1 and is 1 when it is left out. At the moment `lost` the
#: process goes on and is told that the database did not answer, at the others it ends.
VARIABLE: Final = "ORCHESTRATOR_TEST_FAULT"

#: The exit status of a process that crashed as planned.
CRASHED: Final = 86

_plans: list[Plan] = []


def _tell(boundary: Boundary, moment: Moment) -> None:
    for plan in tuple(_plans):
        plan(boundary, moment)


@contextmanager
def planned(plan: Plan) -> Iterator[None]:
    """Let `plan` hear of every moment of every commit of this process; what it raises, the store's caller gets."""
    _plans.append(plan)
    arm(_tell)
    try:
        yield
    finally:
        _plans.remove(plan)
        if not _plans:
            arm(None)


@contextmanager
def record() -> Iterator[Counter[tuple[Boundary, Moment]]]:
    """How often each moment of each commit was reached."""
    reached: Counter[tuple[Boundary, Moment]] = Counter()

    def plan(boundary: Boundary, moment: Moment) -> None:
        reached[boundary, moment] += 1

    with planned(plan):
        yield reached


@contextmanager
def crash_at(boundary: Boundary, moment: Moment = Moment.AFTER, occurrence: int = 1) -> Iterator[None]:
    """End the process there, as a power cut would: nothing is flushed, closed or released."""
    with planned(_at(boundary, moment, occurrence, 1, lambda: os._exit(CRASHED))):
        yield


@contextmanager
def lose(boundary: Boundary, occurrence: int = 1, times: int = 1) -> Iterator[None]:
    """Commit, and raise StoreUnavailable: the caller cannot know. So `times` times from that occurrence on."""
    with planned(
        _at(boundary, Moment.LOST, occurrence, times, lambda: _unavailable(boundary, "lost after its commit"))
    ):
        yield


@contextmanager
def refuse(boundary: Boundary, occurrence: int = 1, times: int = 1) -> Iterator[None]:
    """Raise StoreUnavailable before the commit: nothing is written. So `times` times from that occurrence on."""
    with planned(_at(boundary, Moment.BEFORE, occurrence, times, lambda: _unavailable(boundary, "refused"))):
        yield


@contextmanager
def from_environment(environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """What ORCHESTRATOR_TEST_FAULT says, or nothing; raises ValueError if it is malformed."""
    text = environment.get(VARIABLE, "")
    if not text:
        yield
        return
    boundary, moment, occurrence = parse(text)
    with lose(boundary, occurrence) if moment is Moment.LOST else crash_at(boundary, moment, occurrence):
        yield


def parse(text: str) -> tuple[Boundary, Moment, int]:
    """`append:before:3` as values; raises ValueError that says what there is."""
    boundary, _, rest = text.partition(":")
    moment, _, occurrence = rest.partition(":")
    try:
        parsed = Boundary(boundary), Moment(moment), int(occurrence or 1)
    except ValueError as error:
        message = f"{VARIABLE} is {text!r}: write boundary:moment:occurrence, the boundary one of "
        known = f"{', '.join(Boundary)}, the moment one of {', '.join(Moment)}, the occurrence from 1 on"
        raise ValueError(message + known) from error
    if parsed[2] < 1:
        raise ValueError(f"{VARIABLE} is {text!r}: occurrences count from 1")
    return parsed


def _at(boundary: Boundary, moment: Moment, occurrence: int, times: int, act: Callable[[], None]) -> Plan:
    reached = 0

    def plan(at_boundary: Boundary, at_moment: Moment) -> None:
        nonlocal reached
        if (at_boundary, at_moment) == (boundary, moment):
            reached += 1
            if occurrence <= reached < occurrence + times:
                act()

    return plan


def _unavailable(boundary: Boundary, what: str) -> None:
    raise StoreUnavailable(f"a planned fault: {boundary} was {what}")

"""The tables of transitions: every row holds, and what has no row is refused."""

from __future__ import annotations

import itertools
from dataclasses import fields
from typing import Any

import pytest

from orchestrator import events as e
from orchestrator.errors import IllegalTransition
from orchestrator.model import Failure, StepStatus, Status
from orchestrator.states import EXECUTION, STEP, advance, advance_step
from tests.support.engine import AT


def example(kind: type[e.Event], **changes: Any) -> e.Event:
    values: dict[str, Any] = {f.name: None for f in fields(kind)}
    values |= {"at": AT, "node": "a", "node_type": "transform", "attempt": 1, "failure": Failure("K", "m")}
    values |= changes
    return kind(**{f.name: values[f.name] for f in fields(kind)})


@pytest.mark.parametrize(("before", "kind"), list(itertools.product([None, *Status], e.ALL)))
def test_exactly_the_rows_of_the_table_are_legal(before: Status | None, kind: type[e.Event]) -> None:
    if (before, kind) in EXECUTION:
        assert advance(before, example(kind)) is EXECUTION[before, kind]
    else:
        with pytest.raises(IllegalTransition, match=kind.__name__):
            advance(before, example(kind))


@pytest.mark.parametrize("terminal", [status for status in Status if status.terminal])
def test_a_terminal_status_is_final(terminal: Status) -> None:
    assert not [kind for status, kind in EXECUTION if status is terminal]


def test_every_event_can_happen_sometime() -> None:
    assert {kind for _, kind in EXECUTION} == set(e.ALL)


STEPS = (e.StepCompleted, e.StepFailed, e.StepSkipped, e.TimerStarted)


# Only a failed attempt can be followed by a retry.
CASES = [(kind, retried) for kind in STEPS for retried in ((True, False) if kind is e.StepFailed else (False,))]


@pytest.mark.parametrize("before", list(StepStatus))
@pytest.mark.parametrize(("kind", "retried"), CASES)
def test_exactly_the_rows_of_the_nodes_table_are_legal(
    before: StepStatus, kind: type[e.StepEvent], retried: bool
) -> None:
    event = example(kind, retry_at=AT if retried else None)
    assert isinstance(event, STEPS)
    if (before, kind, retried) in STEP:
        assert advance_step(before, event) is STEP[before, kind, retried]
    else:
        with pytest.raises(IllegalTransition, match="'a'"):
            advance_step(before, event)


@pytest.mark.parametrize("terminal", [status for status in StepStatus if status.terminal])
def test_a_node_that_is_over_stays_as_it_is(terminal: StepStatus) -> None:
    assert not [kind for status, kind, _ in STEP if status is terminal]

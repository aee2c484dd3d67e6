"""The tables of transitions: every row holds, and what has no row is refused."""

from __future__ import annotations

import itertools
from dataclasses import fields
from typing import Any

import pytest

from orchestrator import events as e
from orchestrator.errors import IllegalTransition
from orchestrator.model import Failure, Status, StepStatus
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


# A failed attempt can be followed by a retry, a carried step can have been skipped; no other event has a variant.
VARIANTS: dict[type[e.Event], dict[str, Any]] = {e.StepFailed: {"retry_at": AT}, e.StepCarried: {"skipped": True}}
CASES = [(kind, variant) for kind in e.STEP for variant in ((True, False) if kind in VARIANTS else (False,))]


@pytest.mark.parametrize("before", list(StepStatus))
@pytest.mark.parametrize(("kind", "variant"), CASES)
def test_exactly_the_rows_of_the_steps_table_are_legal(
    before: StepStatus, kind: type[e.StepEvent], variant: bool
) -> None:
    event = example(kind, **(VARIANTS[kind] if variant else {"skipped": False}))
    assert isinstance(event, e.STEP)
    if (before, kind, variant) in STEP:
        assert advance_step(before, event) is STEP[before, kind, variant]
    else:
        with pytest.raises(IllegalTransition, match="'a'"):
            advance_step(before, event)


def test_every_row_of_the_steps_table_is_of_a_variant_that_there_is() -> None:
    assert {(kind, variant) for _, kind, variant in STEP} == set(CASES)


@pytest.mark.parametrize("terminal", [status for status in StepStatus if status.terminal])
def test_a_node_that_is_over_stays_as_it_is(terminal: StepStatus) -> None:
    assert not [kind for status, kind, _ in STEP if status is terminal]

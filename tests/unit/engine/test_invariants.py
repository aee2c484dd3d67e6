"""Each rule finds what it is there for, and a true history breaks none."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import events as e
from orchestrator.decide import project
from orchestrator.events import Recorded
from orchestrator.fold import fold
from orchestrator.invariants import RULES, violations
from orchestrator.model import Assignment, Engine, Failure, Status
from orchestrator.store import ExecutionRecord
from tests.support.engine import at
from tests.support.stores import workflow

if TYPE_CHECKING:
    from collections.abc import Sequence

FLOW = workflow()
SUBMITTED = e.ExecutionSubmitted(at(0), FLOW.id, FLOW.revision, {"n": 1})
STARTED = e.ExecutionStarted(at(1))


def completed(node: str, attempt: int = 1) -> e.StepCompleted:
    return e.StepCompleted(at(2), node, "transform", attempt, {"x": 1}, at(1), 1.0)


def failed(node: str, attempt: int = 1) -> e.StepFailed:
    return e.StepFailed(at(2), node, "transform", attempt, Failure("Error", "no", True, node), at(1), 1.0, at(3))


WHOLE = (SUBMITTED, STARTED, failed("a"), completed("a", 2), completed("b"), e.ExecutionSucceeded(at(4), {"y": 1}))


def recorded(*events: e.Event) -> list[Recorded]:
    return [Recorded(seq, event, append_seq=seq) for seq, event in enumerate(events, 1)]


def row(history: Sequence[Recorded], **changes: Any) -> ExecutionRecord:
    """The row that belongs to a history, and then what a test changes of it."""
    state = fold("x1", history)
    projection = project(FLOW, state)
    over = state.status.terminal
    values: dict[str, Any] = {
        "id": "x1",
        "workflow_id": FLOW.id,
        "revision": FLOW.revision,
        "name": "",
        "engine": Engine.V2,
        "assignment": Assignment.EXECUTION,
        "percent": "0",
        "attempt": "",
        "created_at": at(0),
        "seq": history[-1].seq,
        "fence": 1,
        "version": 1,
        "owner": None if over else "worker-1",
        "due_at": None if over else at(20),
        "cancel_requested": state.cancel_requested,
        "suspend_requested": state.suspend_requested,
        "message": "",
        **{field.name: getattr(projection, field.name) for field in fields(projection)},
    }
    known = {field.name for field in fields(ExecutionRecord)}
    return ExecutionRecord(**{name: value for name, value in (values | changes).items() if name in known})


def broken(record: ExecutionRecord, history: Sequence[Recorded]) -> set[str]:
    return {violation.rule for violation in violations(record, history, FLOW)}


@pytest.mark.parametrize("length", range(1, len(WHOLE) + 1))
def test_a_true_history_breaks_no_rule_at_any_length(length: int) -> None:
    history = recorded(*WHOLE[:length])
    assert violations(row(history), history, FLOW) == []


def test_a_row_that_no_worker_wrote_yet_names_no_node() -> None:
    history = recorded(SUBMITTED, STARTED)
    assert violations(row(history, current_node=""), history, FLOW) == []


def test_a_gap_is_found() -> None:
    history = recorded(*WHOLE)
    assert "seq is contiguous" in broken(row(history), [*history[:2], *history[3:]])


def test_a_history_that_is_not_there_is_found() -> None:
    assert "seq is contiguous" in broken(row(recorded(*WHOLE)), [])


def test_a_row_behind_its_events_is_found() -> None:
    history = recorded(*WHOLE)
    assert broken(row(history, seq=5), history) == {"the row is at the last event"}


def test_an_illegal_transition_is_found() -> None:
    history = recorded(SUBMITTED, completed("a"))
    assert "only legal transitions" in broken(row(recorded(SUBMITTED, STARTED)), history)


@pytest.mark.parametrize("changes", [{"workflow_id": "default/other"}, {"revision": "other"}], ids=str)
def test_a_row_of_another_workflow_is_found(changes: dict[str, str]) -> None:
    history = recorded(*WHOLE)
    assert broken(row(history, **changes), history) == {"pinned to its workflow"}


def test_a_workflow_of_another_revision_is_found() -> None:
    history = recorded(*WHOLE)
    found = violations(row(history), history, replace(FLOW, revision="other"))
    assert {violation.rule for violation in found} == {"pinned to its workflow"}


@pytest.mark.parametrize(
    "changes",
    [
        {"current_node": "a"},
        {"done": 1},
        {"total": 3},
        {"retries": 0},
        {"started_at": at(0)},
        {"finished_at": at(5)},
        {"output": {"y": 2}},
        {"failure": Failure("Error", "no")},
        {"cancel_requested": True},
        {"suspend_requested": True},
    ],
    ids=str,
)
def test_a_row_that_says_something_else_than_its_events_is_found(changes: dict[str, Any]) -> None:
    history = recorded(*WHOLE)
    assert broken(row(history, **changes), history) == {"the row is the fold of the events"}


def test_a_second_completion_of_a_step_is_found() -> None:
    history = recorded(SUBMITTED, STARTED, completed("a"), completed("a", 2))
    assert "one accepted completion a step" in broken(row(history[:3]), history)


def test_a_step_that_ran_although_a_fork_brought_it_along_is_found() -> None:
    carried = e.StepCarried(at(0), "a", "transform", {"x": 1})
    history = recorded(SUBMITTED, carried, STARTED, completed("a"))
    assert "one accepted completion a step" in broken(row(history[:3]), history)


def test_an_attempt_that_is_told_twice_is_found() -> None:
    history = recorded(SUBMITTED, STARTED, failed("a"), completed("a", 1))
    assert broken(row(history), history) == {"attempts count up"}


def test_an_event_after_the_end_is_found() -> None:
    history = recorded(*WHOLE, e.CancelRequested(at(5)))
    assert "nothing after the end" in broken(row(history[:-1]), history)


@pytest.mark.parametrize(
    "changes",
    [{"owner": "worker-1"}, {"due_at": at(9)}, {"status": Status.RUNNING}, {"finished_at": None}],
    ids=str,
)
def test_an_end_that_is_not_final_is_found(changes: dict[str, Any]) -> None:
    history = recorded(*WHOLE)
    assert "the end is final" in broken(row(history, **changes), history)


def test_an_append_of_which_a_part_is_missing_is_found() -> None:
    history = recorded(*WHOLE)
    history[4] = replace(history[4], append_seq=4)  # together with the event before it …
    assert violations(row(history), history, FLOW) == []
    history[4] = replace(history[4], append_seq=3)  # … but not with one that was committed earlier still
    assert broken(row(history), history) == {"commits are whole"}


def test_every_rule_is_tried_here() -> None:
    """A new rule needs a test above that breaks it."""
    text = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in RULES if f'"{name}"' not in text] == []


def test_a_violation_names_its_execution_and_its_rule() -> None:
    history = recorded(*WHOLE)
    (violation,) = violations(row(history, seq=5), history, FLOW)
    assert str(violation) == "execution x1: the row is at the last event: the row says 5, the last event is 6"

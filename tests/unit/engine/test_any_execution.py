"""What holds for every workflow, whatever happens to its execution."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import events as e
from orchestrator.fold import fold
from orchestrator.model import Status, step_key_of
from tests.support.random_workflows import random_workflow
from tests.support.simulator import Simulation

if TYPE_CHECKING:
    from orchestrator.model import Workflow

SEEDS = st.integers(0, 2**32)


def story(seed: int, size: int, happenings: int) -> Simulation:
    """An execution that went through so much, and to its end; every step of the way is checked (see Simulation)."""
    chance = random.Random(seed)
    simulation = Simulation(random_workflow(chance, size), chance)
    simulation.turn()
    for _ in range(happenings):
        simulation.something_happens()
    simulation.to_the_end()
    return simulation


@settings(max_examples=300, deadline=None)
@given(SEEDS, st.integers(1, 8), st.integers(0, 40))
def test_it_keeps_its_promises_at_every_step_and_comes_to_an_end(seed: int, size: int, happenings: int) -> None:
    simulation = story(seed, size, happenings)
    history = [e.Recorded(seq, event) for seq, event in enumerate(simulation.history, 1)]
    assert fold("x", history) == simulation.state


@settings(max_examples=300, deadline=None)
@given(SEEDS, st.integers(1, 8), st.integers(0, 40))
def test_what_completed_is_undone_exactly_in_reverse_order_and_nothing_else_is(
    seed: int, size: int, happenings: int
) -> None:
    simulation = story(seed, size, happenings)
    turned = [index for index, event in enumerate(simulation.history) if isinstance(event, e.CompensationStarted)]
    end = turned[0] if turned else len(simulation.history)
    done, maybe = effects(simulation.workflow, simulation.history[:end])
    undone = [step_key_of(event).removesuffix(":compensate") for event in simulation.history[end:] if ends_undo(event)]
    if not turned:
        stopped = simulation.state.cancel_requested and not simulation.workflow.undo_on_cancel
        assert simulation.state.status is Status.SUCCESS or stopped or not (done or maybe)
        assert undone == []
        return
    assert sorted(undone) == sorted([*done, *maybe])
    assert [key for key in undone if key in done] == done[::-1]


def effects(workflow: Workflow, history: list[e.Event]) -> tuple[list[str], set[str]]:
    """The steps that can be undone: those that completed, in that order, and those that may have done something."""
    done: list[str] = []
    begun: set[str] = set()
    failed: set[str] = set()
    for event in history:
        if not isinstance(event, e.OF_A_NODE):
            continue
        node, key = workflow.by_id[event.node], step_key_of(event)
        if node.undo is None or (node.type == "map" and key == node.id):
            continue
        begun.discard(key)
        if isinstance(event, e.StepStarted):
            begun.add(key)
        elif isinstance(event, e.StepCompleted):
            done.append(key)
            failed.discard(key)
        elif isinstance(event, e.StepFailed) and node.undo_failed:
            failed.add(key)
    return done, begun | failed


def ends_undo(event: e.Event) -> bool:
    """Whether an event ends a compensation."""
    if isinstance(event, e.StepFailed):
        return event.undo and event.retry_at is None
    return isinstance(event, e.StepCompleted) and event.undo

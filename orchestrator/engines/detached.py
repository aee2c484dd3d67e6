"""Steps that go on outside of any worker (`container`): who lets go of them, who stops them, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator import events as e
from orchestrator.nodes.registry import DETACHED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.decide import RunNode
    from orchestrator.events import Event
    from orchestrator.model import Execution, Workflow

#: After these nobody waits for a forward step: one that a dead worker began may run all the same.
_TURNS_BACK: Final = (e.CompensationStarted, e.ExecutionCancelled, e.ExecutionFailed)


def detached(run: RunNode) -> bool:
    """Whether an attempt goes on without the worker that began it, and is found again by the next one."""
    return run.node.type in DETACHED


def unwanted(run: RunNode, state: Execution) -> bool:
    """Whether an attempt in flight is to end now: it could take hours, and its result counts for nothing.

    Other steps are short, and end by themselves; what undoes a step is wanted to its end.
    """
    return detached(run) and not run.undo and (state.cancel_requested or state.timed_out)


def must_settle(workflow: Workflow, events: Iterable[Event]) -> bool:
    """Whether, before these events are committed, it must be certain that nothing of the execution runs any more."""
    if not any(isinstance(event, _TURNS_BACK) for event in events):
        return False
    return any(worker.type in DETACHED for node in workflow.nodes for worker in (node, node.body, node.undo) if worker)

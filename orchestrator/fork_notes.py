"""Which steps of an execution run again in a fork of it, and what a person should know of that. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.model import Join, StepStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from orchestrator.events import StepCarried
    from orchestrator.model import Execution, Workflow

DONE: Final = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED})
NAMED: Final = 8  # nodes that a sentence names
_BACK: Final = ":compensate"


class Again:
    """Which steps of an execution run again although they are done, and why."""

    def __init__(self, workflow: Workflow, original: Execution, left_out: Collection[str] = ()) -> None:
        """`left_out` are the node that a fork begins at, and all behind it."""
        self.left_out = left_out
        self.undone = _backward(original, StepStatus.COMPLETED)
        self.reacted = _reactions(workflow, original)
        self._undone_nodes = {key.partition("/")[0] for key in self.undone}

    def node(self, node_id: str) -> bool:
        """Whether a node does."""
        return node_id in self.left_out or node_id in self.reacted or node_id in self._undone_nodes

    def item(self, key: str) -> bool:
        """Whether an item of a map does."""
        node_id = key.partition("/")[0]
        return node_id in self.left_out or node_id in self.reacted or key in self.undone


@dataclass(frozen=True, slots=True)
class Facts:
    """What the notes are made of."""

    workflow: Workflow
    target: Workflow
    original: Execution
    again: Again
    carried: tuple[StepCarried, ...]
    unfit: tuple[str, ...]  # nodes of another type in the target
    same: bool  # neither the input nor the workflow is another one
    signals: bool  # what was not taken comes along

    @property
    def had(self) -> list[str]:
        """The nodes that are done in the original."""
        return [node.id for node in self.workflow.nodes if self.original.step(node.id).status in DONE]


def tell(facts: Facts) -> tuple[str, ...]:
    """What a person should know: sentences."""
    return tuple(f"{says}: {names(found)}" for says, rule in _NOTES.items() if (found := rule(facts))) + _more(facts)


def names(found: Iterable[str]) -> str:
    """Names in a row, the first few of many."""
    known = list(found)
    more = f" and {len(known) - NAMED} more" if len(known) > NAMED else ""
    return ", ".join(known[:NAMED]) + more


def _dropped(facts: Facts) -> list[str]:
    return [node for node in facts.had if node not in facts.target.by_id]


def _unfit(facts: Facts) -> list[str]:
    return sorted(set(facts.unfit))


def _undone(facts: Facts) -> list[str]:
    return sorted(key for key in facts.again.undone if key.partition("/")[0] in facts.target.by_id)


def _kept(facts: Facts) -> list[str]:
    return sorted(_backward(facts.original, StepStatus.FAILED))


def _reacted(facts: Facts) -> list[str]:
    again = facts.again
    return [node for node in facts.had if node in again.reacted and node not in again.left_out]


def _beside(facts: Facts) -> list[str]:
    done = {event.node for event in facts.carried if event.item is None}
    left_out = facts.again.left_out
    return [node.id for node in facts.target.nodes if left_out and node.id not in left_out and node.id not in done]


def _left_behind(facts: Facts) -> list[str]:
    return [] if facts.signals else sorted({signal.name for signal in facts.original.signals})


def _more(facts: Facts) -> tuple[str, ...]:
    notes = []
    if items := sum(event.item is not None for event in facts.carried):
        notes.append(f"items of maps that are done already: {items}")
    if facts.original.parent is not None:
        notes.append(f"its parent {facts.original.parent} was told how it ended, and does not wait for this one")
    if not facts.same:
        notes.append("another input or workflow: its steps have idempotency keys of their own")
    return tuple(notes)


_NOTES: Final[dict[str, Callable[[Facts], list[str]]]] = {
    "not in that revision, so left out": _dropped,
    "of another type in that revision, so run again": _unfit,
    "compensated, so run again with new idempotency keys": _undone,
    "could not be compensated, so count as done": _kept,
    "reacted to the failure, so run again": _reacted,
    "not done yet and not behind the node that it begins at, so run, too": _beside,
    "signals that were not taken, so stay behind": _left_behind,
}


def _backward(execution: Execution, status: StepStatus) -> set[str]:
    """The steps whose compensation ended so."""
    found = (key for key, state in execution.steps.items() if key.endswith(_BACK) and state.status is status)
    return {key.removesuffix(_BACK) for key in found}


def _reactions(workflow: Workflow, x: Execution) -> set[str]:
    """The nodes that join always and are behind one that failed or never began: they saw what is no longer so."""
    pending = [
        node.id
        for node in workflow.nodes
        if node.join is Join.ALWAYS and any(x.step(need).status not in DONE for need in node.needs)
    ]
    found = set(pending)
    while pending:
        for node in workflow.dependents[pending.pop()]:
            if node.join is Join.ALWAYS and node.id not in found:
                found.add(node.id)
                pending.append(node.id)
    return found

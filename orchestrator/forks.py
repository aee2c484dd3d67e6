"""Executions that begin where another one stood: pure functions from the original to what has to be submitted.

    repeat   the same workflow and input, from where it failed; what was done is carried, and not done again
    fork     from a node on, with another input or a newer workflow if that is wanted

Idempotency keys: a repetition is the same request to every service, so its steps go on using the keys of the original.
Two kinds of steps take keys of their own (`Lineage.fresh`): those that were compensated since, whose old key a service
would answer with the effect that was taken back; and nodes that joined `always` after the failure, which reacted to
something that is no longer so. A child execution that is to run again repeats the one that the original had
(`Lineage.children`), so that this holds for its steps, too. A fork with another input or workflow is another request:
all its keys are its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator import events as e
from orchestrator import fork_notes
from orchestrator.authoring import check_input
from orchestrator.errors import InvalidExecution, Problem
from orchestrator.fork_notes import DONE, NAMED, Again, names
from orchestrator.model import Join, Lineage, Status, StepStatus, step_key
from orchestrator.nodes.child import ChildNode, child_id

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from orchestrator.model import Execution, Node, StepState, Workflow


@dataclass(frozen=True, slots=True)
class Fork:
    """What to submit in order to go on from another execution."""

    id: str
    workflow: Workflow
    input: Any
    lineage: Lineage
    carried: tuple[e.StepCarried, ...]
    signals: tuple[e.SignalReceived, ...]  # those that came and were not taken: it has them from the start
    notes: tuple[str, ...]  # what a person should know: sentences

    @property
    def repeats(self) -> bool:
        """Whether it makes the original's requests again, under their keys."""
        return self.lineage.root != self.id


@dataclass(frozen=True, slots=True)
class Change:
    """What a fork is to have otherwise than the original; None: the same."""

    workflow: Workflow | None = None
    input: Any = None


def repetition_id(execution_id: str) -> str:
    """The id of the repetition of an execution: always the same one, so that asking twice repeats it once."""
    return hashlib.sha256(f"{execution_id}#retry".encode()).hexdigest()[:32]


def repeat(workflow: Workflow, original: Execution, fork_id: str, now: datetime) -> Fork:
    """The repetition of an execution that failed or was cancelled, from there on; `workflow` is its own revision.

    Raises InvalidExecution, whose problem says why there is nothing to repeat.
    """
    if original.status is Status.SUCCESS:
        raise _refusal("", f"{original.id} succeeded: there is nothing to retry; a fork begins again at a node")
    return replay(workflow, original, fork_id, now)


def replay(workflow: Workflow, original: Execution, fork_id: str, now: datetime) -> Fork:
    """As `repeat`, of a success, too: the repetition has nothing to do then but to end as the original did."""
    _check_over(original)
    return _go_on(workflow, workflow, original, fork_id, now, Again(workflow, original), original.input)


def fork(
    workflow: Workflow, original: Execution, fork_id: str, now: datetime, *, node: str, change: Change | None = None
) -> Fork:
    """An execution that begins at `node`: it carries what was done and is neither that node nor downstream of it.

    `workflow` is the revision that the original ran. Raises InvalidExecution: it is not over yet, the node is unknown
    or was not reached (`from.node`), or the input does not fit the workflow (`spec.input…`).
    """
    change = change or Change()
    target = change.workflow or workflow
    _check_over(original)
    _check_node(workflow, target, original, node)
    value = original.input if change.input is None else change.input
    check_input(target, value)
    left_out = _downstream(workflow, node) | _downstream(target, node)
    return _go_on(workflow, target, original, fork_id, now, Again(workflow, original, left_out), value)


def _go_on(
    workflow: Workflow, target: Workflow, x: Execution, fork_id: str, now: datetime, again: Again, value: Any
) -> Fork:
    same = target.revision == workflow.revision and value == x.input
    carried, unfit = _carried(workflow, target, x, now, again, items=same)
    lineage = _repeated(workflow, x, again, carried) if same else Lineage(x.id, x.seq, fork_id)
    repeats = same and not again.left_out
    notes = fork_notes.tell(
        fork_notes.Facts(workflow, target, x, again, carried, tuple(unfit), same=same, signals=repeats)
    )
    signals = tuple(e.SignalReceived(now, one.name, one.payload, f"{x.id}#{one.seq}") for one in x.signals)
    return Fork(fork_id, target, value, lineage, carried, signals if repeats else (), notes)


def _carried(
    workflow: Workflow, target: Workflow, x: Execution, now: datetime, again: Again, *, items: bool
) -> tuple[tuple[e.StepCarried, ...], list[str]]:
    """What is carried, in the order in which it ended; and the nodes whose type is another one now."""
    found: list[tuple[int, e.StepCarried]] = []
    unfit: list[str] = []
    for key, state in x.steps.items():
        node_id, _, item = key.partition("/")
        node = target.by_id.get(node_id)
        if ":" in key or state.status not in DONE or node is None:
            continue
        if again.item(key) if item else again.node(node_id):
            continue
        if node.type != workflow.by_id[node_id].type:
            unfit.append(node_id)
            continue
        # A map that is carried whole needs its items no more, but for taking them back if this one fails later.
        if item and (not items or (_whole(x.step(node_id), again, node_id) and node.undo is None)):
            continue
        kind = node.body.type if item and node.body is not None else node.type
        skipped = state.status is StepStatus.SKIPPED
        whole = items and not item and node.undo is not None
        carried = e.StepCarried(
            now,
            node_id,
            kind,
            state.output,
            skipped=skipped,
            item=item or None,
            items=state.items if whole else (),
            keys=state.keys if whole else (),
        )
        found.append((state.ended, carried))
    found.sort(key=lambda entry: entry[0])
    return tuple(event for _, event in found), unfit


def _whole(state: StepState, again: Again, node_id: str) -> bool:
    """Whether a map is carried itself, so that its items need not be."""
    return state.status in DONE and not again.node(node_id)


def _repeated(workflow: Workflow, x: Execution, again: Again, carried: Iterable[e.StepCarried]) -> Lineage:
    kept = {step_key(event.node, event.item) for event in carried}
    fresh: set[str] = set()
    children = {} if x.lineage is None else {key: child for key, child in x.lineage.children if key not in kept}
    for key, state in x.steps.items():
        if ":" in key or key in kept or state.status is StepStatus.PENDING:
            continue
        node = workflow.by_id[key.partition("/")[0]]
        if key in again.undone or node.id in again.reacted:
            fresh |= {key, f"{key}:compensate"}
            children.pop(key, None)
        elif state.attempts and _runs_a_child(node, key):
            children[key] = child_id(f"{x.id}/{key}", state.attempts)
    before = x.lineage
    root = x.id if before is None else before.root
    others = () if before is None else (*before.fresh, *(key for key, _ in before.roots))
    roots = {key: x.key_root(key) for key in others if key not in fresh}
    elsewhere = tuple(sorted((key, other) for key, other in roots.items() if other != root))
    return Lineage(x.id, x.seq, root, tuple(sorted(fresh)), elsewhere, tuple(sorted(children.items())))


def _runs_a_child(node: Node, key: str) -> bool:
    body = node.body if "/" in key and node.body is not None else node
    return body.type == ChildNode.name


def _downstream(workflow: Workflow, node_id: str) -> set[str]:
    """A node and all behind it."""
    if node_id not in workflow.by_id:
        return set()
    found, pending = {node_id}, [node_id]
    while pending:
        for node in workflow.dependents[pending.pop()]:
            if node.id not in found:
                found.add(node.id)
                pending.append(node.id)
    return found


def _check_over(original: Execution) -> None:
    if not original.status.terminal:
        message = f"{original.id} is {original.status} and not over yet: cancel it, or wait for its end"
        raise _refusal("from.execution", message)


def _check_node(workflow: Workflow, target: Workflow, x: Execution, node_id: str) -> None:
    if node_id not in workflow.by_id:
        raise _refusal("from.node", f"there is no node {node_id!r}; there are {names(workflow.by_id)}")
    if node_id not in target.by_id:
        message = f"revision {target.revision} has no node {node_id!r}; there are {names(target.by_id)}"
        raise _refusal("from.node", message)
    node = workflow.by_id[node_id]
    missing = [need for need in node.needs if x.step(need).status not in DONE]
    done = len(node.needs) - len(missing)
    if missing and (node.join is Join.ALL or (node.join is Join.ANY and not done)):
        standing = ", ".join(f"{need!r} ({_standing(x, need)})" for need in missing[:NAMED])
        message = f"{node_id!r} was not reached: it needs {standing}; begin there"
        raise _refusal("from.node", message)


def _standing(x: Execution, node_id: str) -> str:
    status = x.step(node_id).status
    return "which never began" if status is StepStatus.PENDING else f"which is {status}"


def _refusal(path: str, message: str) -> InvalidExecution:
    return InvalidExecution([Problem(path, message)])

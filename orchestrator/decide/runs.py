"""Which attempts start now, each with its `with` evaluated."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from orchestrator import events as e
from orchestrator import expressions
from orchestrator.decide.compensating import next_to_undo
from orchestrator.decide.model import RunNode
from orchestrator.decide.starting import CHILD
from orchestrator.errors import ExpressionError
from orchestrator.model import Status, step_key
from orchestrator.nodes import mapping

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.decide.turn import Turn
    from orchestrator.model import Node

MOST_IN_FLIGHT: Final = 1000  # attempts of one execution at once: bounds a worker's memory, not the graph


def runs(turn: Turn) -> tuple[tuple[RunNode, ...], e.Event | None]:
    """The attempts to start; or the event of a step whose `with` cannot be evaluated."""
    free = MOST_IN_FLIGHT - len(turn.frontier.running)
    try:
        started = tuple(islice(_all(turn), free))
    except _Unfit as unfit:
        if unfit.item is not None:
            turn.frontier.start(unfit.key, turn.execution, unfit.node, unfit.item)
        return (), unfit.event
    for run in started:
        turn.frontier.start(run.key, turn.execution, run.node.id, None if run.undo else run.item)
    return started, None


def beginnings(turn: Turn, started: Sequence[RunNode]) -> list[e.StepStarted]:
    """What is written down before attempts begin whose effect may have to be undone, though nobody may ever hear of it:
    their worker dies, and the execution turns back before they run again.
    """
    return [
        e.StepStarted(turn.now, run.node.id, turn.node_of(run.key).type, run.attempt, run.item)
        for run in started
        if not run.undo and _may_be_lost(turn, run)
    ]


def _may_be_lost(turn: Turn, run: RunNode) -> bool:
    """Whether an attempt has an effect before its result is committed; a child is made in that very commit."""
    can_be_undone = turn.node_of(run.key).undo is not None and run.node.type != CHILD
    return can_be_undone and turn.execution.step(run.key).begun != run.attempt


class _Unfit(Exception):
    """A step that cannot start; `item` is set if it is one of a map's."""

    def __init__(self, event: e.Event, key: str, node: str, item: str | None = None) -> None:
        super().__init__()
        self.event, self.key, self.node, self.item = event, key, node, item


def _all(turn: Turn) -> Iterator[RunNode]:
    x = turn.execution
    if x.status is Status.COMPENSATING:
        undo = next_to_undo(turn)
        if undo is not None:
            yield _backward(turn, *undo)
        return
    if x.status is not Status.RUNNING or turn.held:
        return
    for key in turn.frontier.runnable:
        if turn.may_move(key):
            node = turn.workflow.by_id[key]
            yield _forward(turn, node, node, None)
    for key in turn.frontier.moments.ripe(turn.now):
        if turn.may_move(key):
            node, item = turn.node_of(key), key.partition("/")[2] or None
            if item is not None and turn.gave_up(node):
                continue
            yield _forward(turn, node, node.body if item is not None and node.body else node, item)
    yield from _items(turn)


def _items(turn: Turn) -> Iterator[RunNode]:
    for node_id in turn.frontier.maps_left:
        node, cursor = turn.workflow.by_id[node_id], turn.frontier.maps[node_id]
        free = mapping.concurrency(node.with_) - cursor.active
        if free <= 0 or node.body is None or not turn.may_move(node_id) or turn.gave_up(node):
            continue
        keys = turn.execution.step(node_id).keys
        for place in islice(cursor.pending, free):
            yield _forward(turn, node, node.body, keys[place])


def _forward(turn: Turn, owner: Node, node: Node, item: str | None) -> RunNode:
    x = turn.execution
    key = step_key(owner.id, item)
    if key in turn.prepared:
        return turn.prepared[key]
    scope = turn.scope() if item is None else turn.scope(item=turn.item(owner, item))
    path = turn.path(owner, "with" if item is None else "with.do.with")
    try:
        with_ = expressions.evaluate(node.with_, scope, path)
    except ExpressionError as error:
        raise _Unfit(turn.error(owner, error, item=item), key, owner.id, item) from None
    run = RunNode(key, node, x.step(key).attempts + 1, with_, x.idempotency_key(key), scope, item)
    turn.prepared[key] = run  # a step behind it may be unfit: then all of them are gone through again
    return run


def _backward(turn: Turn, owner: Node, key: str, item: str | None) -> RunNode:
    x = turn.execution
    undo = f"{key}:compensate"
    if owner.undo is None:
        raise AssertionError(f"{key} has no compensation, and is to be undone")
    more = {"result": x.step(key).output} | ({} if item is None else {"item": turn.item(owner, item)})
    scope = turn.scope(**more)
    try:
        with_ = expressions.evaluate(owner.undo.with_, scope, turn.path(owner, "compensate.with"))
    except ExpressionError as error:
        raise _Unfit(turn.error(owner, error, item=item, undo=True), undo, owner.id) from None
    attempt = x.step(undo).attempts + 1
    return RunNode(undo, owner.undo, attempt, with_, x.idempotency_key(undo), scope, item, undo=True)

"""How the node types begin that no worker runs: each a function from a node that may begin to the event of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from orchestrator import events as e
from orchestrator import expressions
from orchestrator.errors import ExpressionError, StepError
from orchestrator.model import Failure
from orchestrator.nodes import approval, child, fail, mapping, signal, switch, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.decide.turn import Turn
    from orchestrator.model import Node

MOST_MESSAGE: Final = 2000  # characters: a longer one could be a failure that no store keeps


def begin(turn: Turn, node: Node) -> e.Event | None:
    """The event with which a decided node begins; None for one that a worker runs."""
    start = _STARTS.get(node.type)
    if start is None:
        return None
    try:
        return start(turn, node)
    except (ExpressionError, StepError) as error:
        return turn.error(node, error)


def evaluated(turn: Turn, node: Node, field: str = "") -> Any:
    """A node's `with`, or one field of it, evaluated."""
    value = node.with_[field] if field else node.with_
    place = f"with.{field}" if field else "with"
    return expressions.evaluate(value, turn.scope(), turn.path(node, place))


def _wait(turn: Turn, node: Node) -> e.Event:
    return e.TimerStarted(turn.now, node.id, node.type, wait.due(evaluated(turn, node), turn.now))


def _switch(turn: Turn, node: Node) -> e.Event:
    scope = turn.scope()
    for index, case in enumerate(node.with_["cases"]):
        path = turn.path(node, f"with.cases[{index}].when")
        if expressions.evaluate_condition(case["when"], scope, path):
            return turn.completed(node, {"case": index, "taken": list(case["to"])})
    return turn.completed(node, {"case": None, "taken": list(node.with_.get("default", ()))})


def _fail(turn: Turn, node: Node) -> e.Event:
    parsed: Any = fail.FailNode.parse(evaluated(turn, node))
    return turn.failed(node, Failure(parsed.kind, parsed.message[:MOST_MESSAGE], node=node.id))


def _signal(turn: Turn, node: Node) -> e.Event:
    with_ = {"timeout": evaluated(turn, node, "timeout")} if "timeout" in node.with_ else {}
    checked = signal.SignalNode if node.type == signal.SignalNode.name else approval.ApprovalNode
    checked.parse(with_)
    return e.SignalAwaited(
        turn.now, node.id, node.type, signal.name_of(node.id, node.with_), signal.until(with_, turn.now)
    )


def _map(turn: Turn, node: Node) -> e.Event:
    if node.id in turn.frontier.refused:
        kind, why = turn.frontier.refused[node.id]
        return turn.failed(node, Failure(kind, why, node=node.id))
    items = mapping.check_items(evaluated(turn, node, "items"))
    template = node.with_.get("key")
    keys: list[Any] = list(range(len(items)))
    if template is not None:
        path = turn.path(node, "with.key")
        keys = [expressions.evaluate(template, turn.scope(item=item), path) for item in items]
    return e.MapStarted(turn.now, node.id, node.type, tuple(items), mapping.check_keys(keys))


_STARTS: Final[Mapping[str, Callable[[Turn, Node], e.Event]]] = {
    wait.WaitNode.name: _wait,
    switch.SwitchNode.name: _switch,
    fail.FailNode.name: _fail,
    signal.SignalNode.name: _signal,
    approval.ApprovalNode.name: _signal,
    mapping.MapNode.name: _map,
}
#: The types whose attempts the engine itself makes, by submitting a child.
CHILD: Final = child.ChildNode.name

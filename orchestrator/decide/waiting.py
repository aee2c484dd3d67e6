"""How a wait ends: a timer fires, a signal arrives or is given up, a child execution ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.decide.starting import evaluated
from orchestrator.errors import ExpressionError
from orchestrator.model import Failure, Status
from orchestrator.nodes import approval
from orchestrator.retry import decide_retry

if TYPE_CHECKING:
    from orchestrator import events as e
    from orchestrator.decide.turn import Turn
    from orchestrator.model import Ended, Signal


def child_ended(turn: Turn) -> e.Event | None:
    """A child's end ends the step that waited for it, whatever was asked for meanwhile: its effect took place."""
    x = turn.execution
    if x.status not in (Status.RUNNING, Status.WAITING, Status.SUSPENDED):
        return None
    key = next(iter(turn.frontier.children_over), None)
    if key is None:
        return None
    return _after_child(turn, key, x.children[x.step(key).child or ""])


def _after_child(turn: Turn, key: str, ended: Ended) -> e.Event:
    node, state = turn.node_of(key), turn.execution.step(key)
    item = key.partition("/")[2] or None
    attempt = state.attempts + 1
    if ended.status is Status.SUCCESS:
        return turn.completed(node, ended.output, attempt=attempt, item=item)
    why = f": {ended.failure.kind}: {ended.failure.message}" if ended.failure else ""
    kind = "ChildFailed" if ended.status is Status.FAILED else "ChildCancelled"
    failure = Failure(kind, f"child execution {state.child} ended {ended.status}{why}", node=node.id)
    decision = decide_retry(
        node.retry,
        failure,
        attempt=attempt,
        first_started_at=state.first_started_at or turn.now,
        now=turn.now,
        chance=turn.chance,
    )
    return turn.failed(node, failure, attempt=attempt, item=item, retry_at=decision.at)


def signal_taken(turn: Turn) -> e.Event | None:
    """The first signal of a name goes to the node that has waited for it longest."""
    if not turn.moving:
        return None
    for arrived in turn.execution.signals:
        key = turn.frontier.listener(arrived.name, turn.may_move)
        if key is not None:
            return _after_signal(turn, key, arrived)
    return None


def _after_signal(turn: Turn, key: str, arrived: Signal) -> e.Event:
    node = turn.workflow.by_id[key]
    payload = arrived.payload
    if node.type == approval.ApprovalNode.name and not isinstance(payload, dict):  # its sender did not check it
        failure = Failure(
            "InvalidSignal", f"signal {arrived.name!r} is no map with approved and approver", node=node.id
        )
        return turn.failed(node, failure, signal=arrived.seq)
    rejected = node.type == approval.ApprovalNode.name and not payload.get("approved")
    if rejected and node.with_.get("onReject", "fail") == "fail":
        comment = f": {payload['comment']}" if payload.get("comment") else ""
        failure = Failure("Rejected", f"rejected by {payload.get('approver')}{comment}", node=node.id)
        return turn.failed(node, failure, signal=arrived.seq)
    if node.type == approval.ApprovalNode.name:
        payload = {"approved": True, "comment": None} | payload
    return turn.completed(node, payload, signal=arrived.seq)


def moment_came(turn: Turn) -> e.Event | None:
    """A timer that is over fires; a signal whose time is over is given up."""
    key = turn.frontier.moments.fired(turn.now, turn.may_move) if turn.moving else None
    if key is None:
        return None
    if turn.execution.step(key).signal is not None:
        return _given_up(turn, key)
    return turn.completed(turn.workflow.by_id[key], None)


def _given_up(turn: Turn, key: str) -> e.Event:
    node, name = turn.workflow.by_id[key], turn.execution.step(key).signal
    if "default" not in node.with_:
        failure = Failure("SignalTimeout", f"signal {name!r} did not come within {node.with_['timeout']}", node=node.id)
        return turn.failed(node, failure)
    try:
        default = evaluated(turn, node, "default")
    except ExpressionError as error:
        return turn.error(node, error)
    if node.type == approval.ApprovalNode.name:
        if not default and node.with_.get("onReject", "fail") == "fail":
            return turn.failed(node, Failure("Rejected", "nobody decided in time, which counts as no", node=node.id))
        default = {"approved": bool(default), "approver": None, "comment": "nobody decided in time"}
    return turn.completed(node, default)

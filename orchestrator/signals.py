"""Signals and approvals from outside: what may be sent to an execution, checked before it is recorded. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.errors import InvalidExecution, Problem
from orchestrator.jsonvalues import first_problem
from orchestrator.model import StepStatus
from orchestrator.nodes import approval, signal
from orchestrator.schemas import input_problems

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.model import Execution, Node, Workflow

_TYPES = (signal.SignalNode.name, approval.ApprovalNode.name)


def receivers(workflow: Workflow, name: str | None = None) -> list[Node]:
    """The nodes that take signals, or those of one name, as they stand in the workflow."""
    nodes = [node for node in workflow.nodes if node.type in _TYPES]
    return [node for node in nodes if name is None or signal_name(node) == name]


def signal_name(node: Node) -> str:
    """The name of the signal that a node waits for."""
    return signal.name_of(node.id, node.with_)


def schema_of(node: Node) -> Mapping[str, Any] | None:
    """What a payload must look like for a node to take it; None: anything goes."""
    return approval.schema_of(node.with_) if node.type == approval.ApprovalNode.name else signal.schema_of(node.with_)


def check_signal(workflow: Workflow, name: str, payload: Any, execution: Execution | None = None) -> list[Problem]:
    """What keeps a signal from being sent; paths are `name` and `payload…`.

    With several nodes of one name it is not known which of them will take it, so the payload has to fit each. With
    the execution only those nodes count that can still take one.
    """
    nodes = receivers(workflow, name)
    if not nodes:
        there_are = ", ".join(sorted({signal_name(node) for node in receivers(workflow)})) or "none"
        return [Problem("name", f"no node waits for a signal {name!r}; signals of {workflow.id}: {there_are}")]
    if execution is not None:
        nodes = [node for node in nodes if not execution.step(node.id).status.terminal]
        if not nodes:
            return [Problem("name", f"every node that waits for {name!r} has had its signal, or will have none")]
    if problem := first_problem(payload, "payload"):
        return [problem]
    return list(dict.fromkeys(p for node in nodes for p in input_problems(schema_of(node), payload, "payload")))


def waiting_approval(workflow: Workflow, execution: Execution) -> Node:
    """The one approval that waits now; raises InvalidExecution when there is none, or more than one."""
    nodes = [node for node in receivers(workflow) if node.type == approval.ApprovalNode.name]
    waiting = [node for node in nodes if execution.step(node.id).status is StepStatus.WAITING]
    if len(waiting) == 1:
        return waiting[0]
    if waiting:
        message = f"several approvals wait: {', '.join(node.id for node in waiting)}; name the node"
    elif nodes:
        message = f"no approval waits now; to decide early, name the node: {', '.join(node.id for node in nodes)}"
    else:
        message = f"{workflow.id} has no approval"
    raise InvalidExecution([Problem("node", message)])


def approval_node(workflow: Workflow, node_id: str) -> Node:
    """An approval by its id; raises InvalidExecution."""
    nodes = {node.id: node for node in receivers(workflow) if node.type == approval.ApprovalNode.name}
    if node_id not in nodes:
        message = f"{node_id!r} is no approval; there are {', '.join(nodes) or 'none'}"
        raise InvalidExecution([Problem("node", message)])
    return nodes[node_id]


def decision(*, approved: bool, approver: str, comment: str | None = None) -> dict[str, Any]:
    """The payload with which a person decides an approval."""
    payload: dict[str, Any] = {"approved": approved, "approver": approver}
    return payload if comment is None else payload | {"comment": comment}

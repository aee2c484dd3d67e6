"""The row of an execution: a function of its events and its pinned workflow, and of nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.model import Execution, Projection, Status, StepStatus, Workflow

if TYPE_CHECKING:
    from orchestrator.decide.frontier import Frontier


def current_node(workflow: Workflow, execution: Execution, frontier: Frontier | None = None) -> str:
    """Where an execution stands, in one word for people.

    The node that failed, else the first that is not over and may go on, else the last. A frontier knows it already.
    """
    if execution.failed_step is not None:
        return execution.failed_step
    if execution.status is Status.PENDING and not execution.steps:
        return ""
    if frontier is not None:
        return frontier.head(execution).id
    for node in workflow.nodes:
        status = execution.step(node.id).status
        began = status is not StepStatus.PENDING
        if not status.terminal and (began or all(execution.step(need).status.terminal for need in node.needs)):
            return node.id
    return workflow.nodes[-1].id


def project(workflow: Workflow, execution: Execution, frontier: Frontier | None = None) -> Projection:
    """What the row of `workflow_executions` says of an execution."""
    failure = execution.failure if execution.status.terminal else None
    return Projection(
        status=execution.status,
        current_node=current_node(workflow, execution, frontier),
        done=execution.done,
        total=len(workflow.nodes),
        retries=execution.retries,
        started_at=execution.started_at,
        finished_at=execution.finished_at,
        output=execution.output,
        failure=failure,
    )

"""What compensation takes back, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.model import StepStatus, step_key

if TYPE_CHECKING:
    from orchestrator.model import Execution, Workflow


def undoable(workflow: Workflow, execution: Execution) -> list[str]:
    """The steps that are to be undone, the one that ended last first; what may still have had an effect comes before.

    A repetition also undoes what it carried: it stands for the execution that did it. A fork that is another request
    does not: what it carried belongs to the original.
    """
    repeats = execution.lineage is not None and execution.lineage.root != execution.id
    found: list[tuple[int, str]] = []
    for node in workflow.nodes:
        if node.undo is None:
            continue
        state = execution.step(node.id)
        keys = [step_key(node.id, key) for key in state.keys] if node.body is not None else [node.id]
        for key in keys:
            step = execution.step(key)
            if step.status is StepStatus.COMPLETED and (step.attempts or repeats):
                found.append((step.ended, key))
            elif step.begun:  # its worker died, or its execution turned back: it may have had its effect
                found.append((execution.seq + 1, key))
            elif node.undo_failed and step.attempts and step.status is not StepStatus.COMPLETED:
                found.append((step.ended or execution.seq + 1, key))
    return [key for _, key in sorted(found, reverse=True)]

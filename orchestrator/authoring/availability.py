"""What a workflow needs of the place that it is to run in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import InvalidWorkflow, Problem
from orchestrator.nodes.container import OFF, ContainerNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.model import Workflow


def check_available(workflow: Workflow, *, containers: bool) -> None:
    """Raise InvalidWorkflow, with paths, for nodes that nobody here could run: without a cluster, `container`."""
    if not containers and (problems := [Problem(path, OFF) for path in _containers(workflow)]):
        raise InvalidWorkflow(problems)


def _containers(workflow: Workflow) -> Iterator[str]:
    for index, node in enumerate(workflow.nodes):
        places = ((node, "type"), (node.body, "with.do.type"), (node.undo, "compensate.type"))
        for one, field in places:
            if one is not None and one.type == ContainerNode.name:
                yield f"spec.nodes[{index}].{field}"

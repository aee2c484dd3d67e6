"""Which concurrency limit an execution is under: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator import expressions
from orchestrator.jsonvalues import canonical

if TYPE_CHECKING:
    from orchestrator.model import Workflow


def limit_key(workflow: Workflow, input_: Any) -> str | None:
    """What divides a workflow's executions: each key has slots of its own. None without a limit.

    Raises ExpressionError if the template cannot be evaluated over the input.
    """
    limit = workflow.concurrency
    if limit is None:
        return None
    if limit.key is None:
        return workflow.id
    value = expressions.evaluate(limit.key, expressions.scope("", input_, {}), "spec.concurrency.key")
    return f"{workflow.id} {value if isinstance(value, str) else canonical(value)}"

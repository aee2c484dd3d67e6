"""What follows when the store refuses a value: the step, or the execution, has failed. To try again would only repeat
what the step does.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING

from orchestrator import events as e
from orchestrator.fold import apply
from orchestrator.model import Failure

if TYPE_CHECKING:
    from orchestrator.decide import Decision
    from orchestrator.model import Execution

_KIND = "InvalidPayload"


def failed_result(result: e.Event, reason: str) -> e.Event:
    """A completion whose output was refused, as the final failure that it is; any other event as it is."""
    if not isinstance(result, e.StepCompleted):
        return result
    failure = Failure(_KIND, reason, retryable=False, node=result.node)
    return e.StepFailed(
        result.at, result.node, result.node_type, result.attempt, failure, result.started_at, result.duration_ms, None
    )


def failed_end(before: Execution, decision: Decision, reason: str) -> Decision:
    """A success whose output was refused, as the failure that it is; any other decision as it is."""
    if not decision.events or not isinstance(decision.events[-1], e.ExecutionSucceeded):
        return decision
    events = (*decision.events[:-1], e.ExecutionFailed(decision.events[-1].at, Failure(_KIND, reason)))
    return replace(decision, events=events, execution=reduce(apply, events, before))

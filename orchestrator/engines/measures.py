"""What V2 counts when a commit made it true."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from orchestrator import events as e
from orchestrator import telemetry

if TYPE_CHECKING:
    from prometheus_client import Histogram

    from orchestrator.model import Execution


@cache
def _checkpoints(node_type: str) -> Histogram:
    return telemetry.CHECKPOINT_SECONDS.labels(node_type)


def observe(events: tuple[e.Event, ...], state: Execution, took: float) -> None:
    """Count what a commit made true."""
    for event in events:
        if isinstance(event, e.StepCompleted):
            _checkpoints(event.node_type).observe(took)
        final = isinstance(event, e.StepCompleted) or (isinstance(event, e.StepFailed) and event.retry_at is None)
        if final and isinstance(event, e.StepCompleted | e.StepFailed) and event.attempt > 1:
            outcome = "success" if isinstance(event, e.StepCompleted) else "failed"
            telemetry.RETRIES.labels("v2", outcome).inc()
    if state.status.terminal:
        telemetry.FINISHED.labels("v2", state.status.value).inc()
        if state.started_at and state.finished_at:
            took = (state.finished_at - state.started_at).total_seconds()
            telemetry.EXECUTION_SECONDS.labels("v2").observe(took)

"""What V2 counts when a commit made it true."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from orchestrator import events as e
from orchestrator import telemetry

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram

    from orchestrator.model import Execution


@cache
def _checkpoints(node_type: str) -> Histogram:
    return telemetry.CHECKPOINT_SECONDS.labels(node_type)


@cache
def _steps(outcome: str, retries: str) -> Counter:
    return telemetry.ENDED_STEPS.labels("v2", outcome, retries)


def _ended(outcome: str, attempt: int) -> None:
    _steps(outcome, telemetry.retries(attempt)).inc()
    if attempt > 1:
        telemetry.RETRIES.labels("v2", outcome).inc()


def observe(events: tuple[e.Event, ...], state: Execution, took: float) -> None:
    """Count what a commit made true."""
    for event in events:
        if isinstance(event, e.StepCompleted):
            _checkpoints(event.node_type).observe(took)
            _ended("success", event.attempt)
        elif isinstance(event, e.StepFailed) and event.retry_at is None:
            _ended("failed", event.attempt)
    if state.status.terminal:
        telemetry.FINISHED.labels("v2", state.status.value).inc()
        if state.started_at and state.finished_at:
            took = (state.finished_at - state.started_at).total_seconds()
            telemetry.EXECUTION_SECONDS.labels("v2").observe(took)

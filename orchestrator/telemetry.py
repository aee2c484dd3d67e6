"""Every metric, declared once. No ids or names of executions as labels.

Counters and histograms live in the process that did the work. What only the store knows (cohorts, running,
long-running, stalled, queue) is exported by the operator's leader; see orchestrator_operator/exporter.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable

STARTED = Counter("orchestrator_executions_started", "Executions that an engine began.", ["engine"])
FINISHED = Counter("orchestrator_executions_finished", "Executions that ended, by how.", ["engine", "status"])
EXECUTION_SECONDS = Histogram(
    "orchestrator_execution_duration_seconds",
    "From the start of an execution to its end.",
    ["engine"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600, 1800, 3600, 21600, 86400),
)
STEPS = Counter("orchestrator_steps", "Attempts of steps, by how they ended.", ["engine", "node_type", "status"])
STEP_SECONDS = Histogram(
    "orchestrator_step_duration_seconds",
    "One attempt of a step.",
    ["engine", "node_type"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
CHECKPOINT_SECONDS = Histogram(
    "orchestrator_checkpoint_duration_seconds",
    "From the end of a step to the durable commit of its checkpoint, as the step saw it.",
    ["node_type"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
ENDED_STEPS = Counter(
    "orchestrator_steps_ended",
    "Steps that ended for good, by how, and by how often they had been retried: 0 … 4, or 5+.",
    ["engine", "status", "retries"],
)
RETRIES = Counter("orchestrator_retries", "Steps that were retried, by how they ended.", ["engine", "outcome"])
FENCED = Counter(
    "orchestrator_fenced_writes",
    "Writes, renewals too, of workers that had lost their lease: refused, nothing changed.",
)
DECISIONS = Counter("orchestrator_router_decisions", "Executions routed, by engine and reason.", ["engine", "reason"])
THREADS_LOST = Gauge(
    "orchestrator_python_threads_lost", "Threads held by plain python functions whose step has given them up."
)

_MANY = 5


def retries(attempt: int) -> str:
    """The label `retries` of a step that ended in its attempt number `attempt`, from 1."""
    return str(attempt - 1) if attempt <= _MANY else f"{_MANY}+"


def begin(engines: Iterable[str]) -> None:
    """Export the zeros of these engines: a rate needs the value before the first failure."""
    for engine in engines:
        STARTED.labels(engine)
        EXECUTION_SECONDS.labels(engine)
        for status in ("success", "failed", "cancelled"):
            FINISHED.labels(engine, status)
        for outcome in ("success", "failed"):
            RETRIES.labels(engine, outcome)
            ENDED_STEPS.labels(engine, outcome, retries(1))

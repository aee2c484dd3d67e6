"""The dashboard of the engines: what runs, how well, how fast, and what is stuck."""

from __future__ import annotations

from typing import Final

from dashboards.board import Board, Row, alarms
from dashboards.panels import BLUE, GREEN, GREY, ORANGE, RED, V1_COLOR, V2_COLOR, YELLOW, Limit, Query, lines, number
from dashboards.promql import RATE, growth, quantile, rate, ratio, series

CHECKPOINT_LIMIT: Final = 0.1  # seconds: what a checkpoint's commit should stay below
_ENGINES = {"v1.*": V1_COLOR, "v2.*": V2_COLOR}
_ENDED = 'status=~"success|failed"'  # a cancelled execution is nobody's failure


def _store(metric: str) -> str:
    """A gauge that stands in the store, all installations together: each one's operators export the same."""
    return f"sum by (engine) (max by (namespace, engine) ({series(metric)}))"


_OLDEST = f"max({series('orchestrator_queue_oldest_seconds')})"  # of all installations


_SUCCESS = ratio(
    rate("orchestrator_executions_finished_total", 'status="success"', by="engine"),
    rate("orchestrator_executions_finished_total", _ENDED, by="engine"),
)
_SUCCESS_NOW = _SUCCESS.replace(RATE, "[1h]")

NOW = Row(
    "",
    [
        number(
            "Success, last hour",
            "The share of executions that succeeded, of those that succeeded or failed, by engine.",
            [Query(_SUCCESS_NOW, "{{engine}}")],
            unit="percentunit",
            base=RED,
            limits=[Limit(0.95, YELLOW), Limit(0.99, GREEN)],
            decimals=2,
            nothing="nothing ended",
        ),
        number(
            "Running",
            "Executions that run now, in the store.",
            [Query(_store("orchestrator_executions_running"), "{{engine}}")],
            base=BLUE,
        ),
        number(
            "Over 10 minutes",
            "Running for longer than that, as the monitoring SQL counts them. Waiting for a timer, a signal or an "
            "approval is not running.",
            [Query(_store("orchestrator_executions_long_running"), "{{engine}}")],
            limits=[Limit(1, YELLOW)],
        ),
        number(
            "Stalled",
            "Without an event within their step's own timeout, or with a lease that ran out. V1's stay so when their "
            "process dies; V2's are taken over by another worker within a lease.",
            [Query(_store("orchestrator_executions_stalled"), "{{engine}}")],
            limits=[Limit(1, RED)],
        ),
        number(
            "Oldest in the queue",
            "How long the execution that has waited longest for a worker has been due. Growing: too few workers.",
            [Query(_OLDEST, "waits for")],
            unit="s",
            limits=[Limit(60, YELLOW), Limit(300, RED)],
            nothing="not known",
        ),
        alarms(),
    ],
)

EXECUTIONS = Row(
    "",
    [
        lines(
            "Executions ended, by engine and status",
            "A second, by how they ended.",
            [Query(rate("orchestrator_executions_finished_total", by="engine, status"), "{{engine}} {{status}}")],
            unit="ops",
            stacked=True,
            colors={"v1 success": V1_COLOR, "v2 success": V2_COLOR, ".*failed": RED, ".*cancelled": GREY},
        ),
        lines(
            "Success",
            "The share that succeeded, by engine. Alerts look at the budget of 1 %: docs/runbook.md.",
            [Query(_SUCCESS, "{{engine}}")],
            unit="percentunit",
            least=None,
            most=1,
            limits=[Limit(0.99, GREEN)],
            colors=_ENGINES,
        ),
        lines(
            "Duration of executions",
            "From start to end, by engine: half of them (dotted), 95 % (dashed) and 99 % were faster.",
            [
                Query(quantile(share, "orchestrator_execution_duration_seconds", by="engine"), "{{engine}} p" + name)
                for share, name in ((0.5, "50"), (0.95, "95"), (0.99, "99"))
            ],
            unit="s",
            colors=_ENGINES,
            dashes={".* p50": (2, 6), ".* p95": (8, 6)},
        ),
    ],
)

STEPS = Row(
    "Steps and checkpoints",
    [
        lines(
            "Steps",
            "Attempts of steps a second, by engine and how they ended.",
            [Query(rate("orchestrator_steps_total", by="engine, status"), "{{engine}} {{status}}")],
            unit="ops",
            colors={"v1 success": V1_COLOR, "v2 success": V2_COLOR, ".*failed": RED},
        ),
        lines(
            "Checkpoint latency, p95 by node type",
            "From the end of a step to the durable commit of its checkpoint, as the step saw it. "
            "V2 only: V1 keeps none. The line is 100 ms.",
            [Query(quantile(0.95, "orchestrator_checkpoint_duration_seconds", by="node_type"), "{{node_type}}")],
            unit="s",
            limits=[Limit(CHECKPOINT_LIMIT, RED)],
        ),
        lines(
            "Checkpoints slower than 100 ms",
            "Their share, by node type. The alert and the default guardrail begin at 5 %.",
            [
                Query(
                    "1 - "
                    + ratio(
                        rate("orchestrator_checkpoint_duration_seconds_bucket", 'le="0.1"', by="node_type"),
                        rate("orchestrator_checkpoint_duration_seconds_count", by="node_type"),
                    ),
                    "{{node_type}}",
                )
            ],
            unit="percentunit",
            limits=[Limit(0.05, RED)],
        ),
    ],
)

RETRIES = Row(
    "Retries",
    [
        lines(
            "Steps that were retried",
            "Steps that ended after at least one retry, by how. V1 never retries by itself.",
            [
                Query(growth("orchestrator_retries_total", by="engine, outcome"), "{{engine}} {{outcome}}"),
            ],
            colors={".*success": GREEN, ".*failed": RED},
        ),
        lines(
            "Success by number of retries",
            "Of the steps that ended after so many retries, the share that succeeded. "
            "Where it falls steeply, more retries do not help any more.",
            [
                Query(
                    ratio(
                        rate("orchestrator_steps_ended_total", 'status="success"', by="engine, retries"),
                        rate("orchestrator_steps_ended_total", by="engine, retries"),
                    ),
                    "{{engine}} after {{retries}}",
                )
            ],
            unit="percentunit",
            most=1,
            points=True,
        ),
        lines(
            "Duration of steps, p95 by node type",
            "One attempt, without the waiting between attempts.",
            [
                Query(
                    quantile(0.95, "orchestrator_step_duration_seconds", by="engine, node_type"),
                    "{{engine}} {{node_type}}",
                )
            ],
            unit="s",
        ),
    ],
)

STUCK = Row(
    "What is stuck",
    [
        lines(
            "Long-running and stalled",
            "Running for more than ten minutes; and without an event within their step's own timeout.",
            [
                Query(_store("orchestrator_executions_long_running"), "{{engine}} over 10 min"),
                Query(_store("orchestrator_executions_stalled"), "{{engine}} stalled"),
            ],
            colors={".*stalled": RED},
        ),
        lines(
            "Queue",
            "How long the execution that has waited longest for a worker has been due. An alert begins at 5 minutes.",
            [Query(_OLDEST, "oldest")],
            unit="s",
            limits=[Limit(300, RED)],
        ),
        lines(
            "Fenced writes and lost threads",
            "Writes of workers that had lost their lease: refused, so nothing is wrong with the data, but workers are "
            "frozen or cut off. Threads: held by plain python functions whose step has given them up.",
            [
                Query(growth("orchestrator_fenced_writes_total"), "fenced writes"),
                Query(f"sum({series('orchestrator_python_threads_lost')})", "lost threads"),
            ],
            colors={"fenced.*": ORANGE, "lost.*": RED},
        ),
        lines(
            "Started, by engine",
            "Executions that an engine began, a second.",
            [Query(rate("orchestrator_executions_started_total", by="engine"), "{{engine}}")],
            unit="ops",
            colors=_ENGINES,
            width=12,
        ),
        lines(
            "Running, by engine",
            "Executions that run now, in the store.",
            [Query(_store("orchestrator_executions_running"), "{{engine}}")],
            colors=_ENGINES,
            width=12,
        ),
    ],
)

BOARD: Final = Board(
    uid="orchestrator-engines",
    title="Orchestrator / Engines",
    description="Executions and steps on both engines: success, duration, checkpoints, retries, what is stuck.",
    since="now-6h",
    rows=[NOW, EXECUTIONS, STEPS, RETRIES, STUCK],
)

"""The seven reports. Their SQL is written once; what the databases spell differently stands between braces (sql.py).

Each answers within a second beside ten million events: it reads an index on a moment, or on what is not over.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from orchestrator.reports.model import LONGEST_RUN_MINUTES, SLOW_MS, Column, Kind, Report

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOUR: Final = timedelta(hours=1)

ACTIVE: Final = Report(
    "active",
    "Engine in use: executions routed in the last {window}, and in flight now",
    "Nothing was routed in the last {window}, and nothing is in flight.",
    _HOUR,
    listed=False,
    columns=(
        Column("engine", "ENGINE", Kind.TEXT, "v1 or v2."),
        Column("routed", "ROUTED", Kind.COUNT, "Lines `Usando Orchestrator V…` in edge_logs."),
        Column("share_percent", "SHARE %", Kind.NUMBER, "Its share of all that were routed."),
        Column("last_routed_at", "LAST ROUTED", Kind.MOMENT, "When the last one was routed."),
        Column("in_flight", "IN FLIGHT", Kind.COUNT, "Executions that are not over."),
    ),
    sql="""\
SELECT engines.engine,
       coalesce(r.routed, 0) AS routed,
       round(100.0 * coalesce(r.routed, 0) / nullif(sum(r.routed) OVER (), 0), 2) AS share_percent,
       r.last_routed_at,
       coalesce(f.in_flight, 0) AS in_flight
  FROM (SELECT 'v1' AS engine UNION ALL SELECT 'v2') engines
  LEFT JOIN (SELECT CASE WHEN el.event_message LIKE '%Usando Orchestrator V2%' THEN 'v2' ELSE 'v1' END AS engine,
                    count(*) AS routed, max(el.timestamp) AS last_routed_at
               FROM {schema}edge_logs el
               JOIN {schema}edge_functions ef ON ef.id = el.function_id
              WHERE ef.name = 'execute-workflow'
                AND el.event_message LIKE '%Usando Orchestrator V%'
                AND el.timestamp > {since}
              GROUP BY 1) r ON r.engine = engines.engine
  LEFT JOIN (SELECT engine, count(*) AS in_flight
               FROM {schema}workflow_executions
              WHERE finished_at IS NULL
              GROUP BY engine) f ON f.engine = engines.engine
 WHERE r.routed IS NOT NULL OR f.in_flight IS NOT NULL
 ORDER BY engines.engine""",
)

SUCCESS: Final = Report(
    "success",
    "Executions started in the last {window}, by status",
    "No execution started in the last {window}.",
    _HOUR,
    listed=False,
    columns=(
        Column("status", "STATUS", Kind.TEXT, "How they stand now."),
        Column("executions", "EXECUTIONS", Kind.COUNT, "How many, on both engines."),
        Column("share_percent", "SHARE %", Kind.NUMBER, "Their share of all that started."),
        Column("v1", "ON V1", Kind.COUNT, "How many of them on V1."),
        Column("v2", "ON V2", Kind.COUNT, "How many of them on V2."),
    ),
    sql="""\
SELECT status,
       count(*) AS executions,
       round(100.0 * count(*) / sum(count(*)) OVER (), 2) AS share_percent,
       count(*) FILTER (WHERE engine = 'v1') AS v1,
       count(*) FILTER (WHERE engine = 'v2') AS v2
  FROM {schema}workflow_executions
 WHERE started_at > {since}
 GROUP BY status
 ORDER BY executions DESC, status""",
)

CHECKPOINTS: Final = Report(
    "checkpoints",
    "What checkpoints of the last {window} took, by type of node",
    "No checkpoint was committed in the last {window}.",
    _HOUR,
    listed=False,
    columns=(
        Column("node_type", "NODE TYPE", Kind.TEXT, "The type of the nodes whose steps were kept."),
        Column("checkpoints", "CHECKPOINTS", Kind.COUNT, "How many were committed."),
        Column("avg_ms", "AVG ms", Kind.NUMBER, "What a commit took on average; none while no time is known yet."),
        Column("max_ms", "MAX ms", Kind.NUMBER, "The slowest one."),
        Column("slow", f"OVER {SLOW_MS} ms", Kind.COUNT, f"How many took more than {SLOW_MS} ms."),
    ),
    sql="""\
SELECT node_type,
       count(*) AS checkpoints,
       round(avg({duration_ms}), 2) AS avg_ms,
       round(max({duration_ms}), 2) AS max_ms,
       count(*) FILTER (WHERE {duration_ms} > {slow_ms}) AS slow
  FROM {schema}workflow_checkpoints
 WHERE created_at > {since}
 GROUP BY node_type
 ORDER BY avg_ms DESC NULLS LAST, node_type""",
)

RETRIES: Final = Report(
    "retries",
    "Steps that ended in the last {window}, by how often they were retried",
    "No step ended in the last {window}.",
    _HOUR,
    listed=False,
    columns=(
        Column("retry_count", "RETRIES", Kind.COUNT, "How often a step was tried again."),
        Column("steps", "STEPS", Kind.COUNT, "How many steps ended after so many retries."),
        Column("successes", "SUCCESSES", Kind.COUNT, "How many of them succeeded."),
        Column("success_percent", "SUCCESS %", Kind.NUMBER, "Their share."),
    ),
    sql="""\
SELECT retry_count,
       count(*) AS steps,
       count(*) FILTER (WHERE status = 'success') AS successes,
       round(100.0 * count(*) FILTER (WHERE status = 'success') / count(*), 2) AS success_percent
  FROM {schema}workflow_metrics
 WHERE recorded_at > {since}
 GROUP BY retry_count
 ORDER BY retry_count""",
)

SLOW: Final = Report(
    "slow",
    f"Checkpoints of the last {{window}} that took more than {SLOW_MS} ms, the slowest first",
    f"No checkpoint of the last {{window}} took more than {SLOW_MS} ms.",
    _HOUR,
    listed=True,
    columns=(
        Column("execution_id", "EXECUTION", Kind.TEXT, "Whose step it was."),
        Column("node_id", "NODE", Kind.TEXT, "The step's node."),
        Column("node_type", "TYPE", Kind.TEXT, "The node's type."),
        Column("version", "VERSION", Kind.COUNT, "The checkpoint's number in its execution: `seq` of its event."),
        Column("duration_ms", "TOOK ms", Kind.NUMBER, "What its commit took, as the step saw it."),
        Column("created_at", "AT", Kind.MOMENT, "When it was made."),
    ),
    sql="""\
SELECT execution_id, node_id, node_type, version,
       round({duration_ms}, 2) AS duration_ms, created_at
  FROM {schema}workflow_checkpoints
 WHERE {duration_ms} > {slow_ms}
   AND created_at > {since}
 ORDER BY {duration_ms} DESC, execution_id, version
 LIMIT {limit}""",
)

STUCK: Final = Report(
    "stuck",
    f"Executions that have been running for more than {LONGEST_RUN_MINUTES} minutes, the oldest first",
    f"No execution has been running for more than {LONGEST_RUN_MINUTES} minutes.",
    None,
    listed=True,
    columns=(
        Column("id", "EXECUTION", Kind.TEXT, "Its id."),
        Column("workflow_id", "WORKFLOW", Kind.TEXT, "namespace/name."),
        Column("engine", "ENGINE", Kind.TEXT, "v1 or v2."),
        Column("current_node_id", "NODE", Kind.TEXT, "Where it stands."),
        Column("minutes", "MINUTES", Kind.NUMBER, "Since it started."),
        Column("completed_steps", "STEPS", Kind.COUNT, "How many are done; V1 keeps no account of them."),
    ),
    sql="""\
SELECT we.id, we.workflow_id, we.engine, we.current_node_id,
       {minutes_since_start} AS minutes,
       (SELECT count(*) FROM {schema}workflow_step_executions wse
         WHERE wse.execution_id = we.id AND wse.status = 'success') AS completed_steps
  FROM {schema}workflow_executions we
 WHERE we.status = 'running'
   AND we.started_at < {long_ago}
 ORDER BY we.started_at, we.id
 LIMIT {limit}""",
)

ERRORS: Final = Report(
    "errors",
    "ERROR lines of the last {window}, the newest first",
    "No ERROR line in the last {window}.",
    timedelta(minutes=10),
    listed=True,
    columns=(
        Column("timestamp", "AT", Kind.MOMENT, "When it was written."),
        Column("event_message", "MESSAGE", Kind.TEXT, "The line."),
    ),
    sql="""\
SELECT el.timestamp, el.event_message
  FROM {schema}edge_logs el
  JOIN {schema}edge_functions ef ON ef.id = el.function_id
 WHERE ef.name = 'execute-workflow'
   AND el.event_message LIKE '%ERROR%'
   AND el.timestamp > {since}
 ORDER BY el.timestamp DESC, el.id DESC
 LIMIT {limit}""",
)

#: Every report by its name, in the order in which a person wants to read them.
REPORTS: Final[Mapping[str, Report]] = {
    report.name: report for report in (ACTIVE, SUCCESS, CHECKPOINTS, RETRIES, SLOW, STUCK, ERRORS)
}

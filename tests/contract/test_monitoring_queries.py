"""The monitoring SQL that people run already, as they wrote it, on our PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest_asyncio

from tests.support import monitored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.postgres import LocalPostgres

    Query = Callable[[str], list[tuple[Any, ...]]]

STATUS_SHARES = """
SELECT status, count(*) AS count, round(count(*) * 100.0 / sum(count(*)) OVER (), 2) AS percentage
  FROM workflow_executions
 WHERE started_at > now() - interval '1 hour'
 GROUP BY status
 ORDER BY status"""
CHECKPOINTS_BY_TYPE = """
SELECT node_type, avg((metadata->>'duration_ms')::numeric) AS avg_ms, max((metadata->>'duration_ms')::numeric) AS max_ms
  FROM workflow_checkpoints
 WHERE created_at > now() - interval '1 hour'
 GROUP BY node_type
 ORDER BY avg_ms DESC NULLS LAST"""
SUCCESS_BY_RETRIES = """
SELECT retry_count, count(*) AS total, count(*) FILTER (WHERE status = 'success') AS successes,
       round(count(*) FILTER (WHERE status = 'success') * 100.0 / count(*), 2) AS success_rate
  FROM workflow_metrics
 WHERE recorded_at > now() - interval '1 hour'
 GROUP BY retry_count
 ORDER BY retry_count"""
SLOW_CHECKPOINTS = """
SELECT execution_id, node_id, node_type, version, (metadata->>'duration_ms')::numeric AS duration_ms, created_at
  FROM workflow_checkpoints
 WHERE (metadata->>'duration_ms')::numeric > 100
   AND created_at > now() - interval '1 hour'
 ORDER BY (metadata->>'duration_ms')::numeric DESC
 LIMIT 10"""
LONG_RUNNING = """
SELECT we.id, we.workflow_id, we.current_node_id, extract(epoch FROM (now() - we.started_at)) / 60 AS minutes,
       count(wse.node_id) AS completed_steps
  FROM workflow_executions we
  LEFT JOIN workflow_step_executions wse ON wse.execution_id = we.id AND wse.status IN ('success', 'completed')
 WHERE we.status = 'running' AND we.started_at < now() - interval '10 minutes'
 GROUP BY we.id, we.workflow_id, we.current_node_id, we.started_at
 ORDER BY minutes DESC"""
RECENT_ERRORS = """
SELECT ef.name, el.event_message, el.timestamp
  FROM edge_logs el
  JOIN edge_functions ef ON ef.id = el.function_id
 WHERE el.event_message LIKE '%ERROR%' AND ef.name = 'execute-workflow'
   AND el.timestamp > now() - interval '10 minutes'
 ORDER BY el.timestamp DESC"""
ENGINE_IN_USE = """
SELECT CASE WHEN el.event_message LIKE '%Usando Orchestrator V2%' THEN 'V2' ELSE 'V1' END AS engine, count(*)
  FROM edge_logs el
  JOIN edge_functions ef ON ef.id = el.function_id
 WHERE ef.name = 'execute-workflow' AND el.event_message LIKE '%Usando Orchestrator V%'
   AND el.timestamp > now() - interval '1 hour'
 GROUP BY 1
 ORDER BY 1"""
STEPS = """
SELECT execution_id, node_id, attempt, status FROM workflow_step_executions ORDER BY execution_id, node_id"""
EVENTS = """
SELECT execution_id, seq, type, schema_version, data->>'reason', created_at
  FROM workflow_events WHERE execution_id = 'slow' ORDER BY seq"""


@pytest_asyncio.fixture
async def query(postgres: LocalPostgres) -> AsyncIterator[Query]:
    """Runs SQL on a store with the story of tests/support/monitored.py."""
    url = postgres.create_database()
    await monitored.fill(url)
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        yield lambda sql: connection.execute(sql.encode()).fetchall()


def test_the_share_of_executions_by_status(query: Query) -> None:
    rows = [(status, count, float(share)) for status, count, share in query(STATUS_SHARES)]
    assert rows == [("failed", 1, 33.33), ("running", 1, 33.33), ("success", 1, 33.33)]


def test_the_time_of_checkpoints_by_node_type(query: Query) -> None:
    rows = [(node_type, float(average), float(most)) for node_type, average, most in query(CHECKPOINTS_BY_TYPE)]
    assert rows == [("transform", 150.5, 150.5), ("http", 3.25, 3.25)]


def test_the_share_of_successes_by_retries(query: Query) -> None:
    rows = [(retries, total, good, float(share)) for retries, total, good, share in query(SUCCESS_BY_RETRIES)]
    assert rows == [(0, 3, 2, 66.67), (1, 1, 1, 100.0)]


def test_the_slowest_checkpoints(query: Query) -> None:
    ((execution, node, node_type, version, took, created),) = query(SLOW_CHECKPOINTS)
    assert (execution, node, node_type, version, float(took)) == ("ok", "a", "transform", 4, 150.5)
    assert created.tzinfo is not None


def test_what_has_run_for_more_than_ten_minutes(query: Query) -> None:
    ((execution, workflow_id, node, minutes, steps),) = query(LONG_RUNNING)
    assert (execution, workflow_id, node, round(minutes), steps) == ("slow", "default/chain", "b", 20, 1)


def test_the_errors_of_the_last_ten_minutes(query: Query) -> None:
    assert [(name, message) for name, message, _ in query(RECENT_ERRORS)] == [
        ("execute-workflow", "ERROR execution bad: HttpStatus: 503")
    ]


def test_which_engine_is_in_use(query: Query) -> None:
    assert query(ENGINE_IN_USE) == [("V1", 1), ("V2", 3)]


def test_one_row_a_completed_step(query: Query) -> None:
    assert query(STEPS) == [("ok", "a", 2, "success"), ("ok", "b", 1, "success"), ("slow", "a", 1, "success")]


def test_the_events_in_their_order(query: Query) -> None:
    assert [(seq, kind, version) for _, seq, kind, version, _, _ in query(EVENTS)] == [
        (1, "ExecutionSubmitted", 1),
        (2, "ExecutionStarted", 1),
        (3, "StepCompleted", 1),
    ]

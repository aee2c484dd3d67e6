"""The tables and the views over the events: the names and columns of the contract, and what we need beside them.

Events are written once. `workflow_checkpoints`, `workflow_step_executions` and `workflow_metrics` are views over them.
What a checkpoint's commit took is known only after it: the execution's next append carries it (`timed_append`,
`timed_ms`), so it is NULL until then, and after the last one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB


class Moment(sa.TypeDecorator[datetime]):
    """An aware UTC datetime: `timestamptz` on PostgreSQL, sortable text on SQLite."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002 — SQLAlchemy's signature
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

metadata = sa.MetaData()

facts = sa.Table(
    "orchestrator_facts",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

revisions = sa.Table(
    "workflow_revisions",
    metadata,
    sa.Column("workflow_id", sa.Text, primary_key=True),
    sa.Column("revision", sa.Text, primary_key=True),
    sa.Column("definition", JSON, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
)

executions = sa.Table(
    "workflow_executions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("workflow_id", sa.Text, nullable=False),
    sa.Column("revision", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("engine", sa.Text, nullable=False),
    sa.Column("assignment", sa.Text, nullable=False),
    sa.Column("percent", sa.Text, nullable=False),
    sa.Column("attempt", sa.Text, nullable=False),
    sa.Column("routing_key", sa.Text),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("current_node_id", sa.Text, nullable=False),
    sa.Column("done", sa.Integer, nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("retries", sa.Integer, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("input", JSON),  # of V1 only: V2's stands in its first event
    sa.Column("output", JSON),
    sa.Column("error", JSON),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("started_at", Moment),
    sa.Column("finished_at", Moment),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("last_append", sa.Text, nullable=False),
    sa.Column("owner", sa.Text),
    sa.Column("due_at", Moment),  # claimable from then on; while a worker holds it, its lease's end
    sa.Column("longest_timeout", sa.Float, nullable=False),  # seconds, over its nodes
    sa.Column("step_deadline", Moment),
    sa.Column("cancel_requested", sa.Boolean, nullable=False),
    sa.Column("suspend_requested", sa.Boolean, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("written_version", sa.Integer, nullable=False),
    sa.Column("written_status", sa.Text),
    sa.Column("written_at", Moment),
    sa.Column("ages", JSON),
    sa.Column("next_age", sa.Integer, nullable=False),
    sa.Column("next_age_at", Moment),
)
sa.Index(
    "workflow_executions_key",
    executions.c.workflow_id,
    executions.c.idempotency_key,
    unique=True,
    postgresql_where=executions.c.idempotency_key.is_not(None),
    sqlite_where=executions.c.idempotency_key.is_not(None),
)
for _name, _columns, _where in (
    ("workflow_executions_due", ("engine", "due_at"), executions.c.due_at.is_not(None)),
    ("workflow_executions_dirty", ("written_at",), sa.text("version > written_version AND name <> ''")),
    ("workflow_executions_age", ("next_age_at",), executions.c.next_age_at.is_not(None)),
    ("workflow_executions_active", ("engine", "status"), executions.c.finished_at.is_(None)),
):
    sa.Index(_name, *(executions.c[c] for c in _columns), postgresql_where=_where, sqlite_where=_where)
sa.Index("workflow_executions_created", executions.c.created_at)

events = sa.Table(
    "workflow_events",
    metadata,
    sa.Column("execution_id", sa.Text, primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("node_id", sa.Text),
    sa.Column("node_type", sa.Text),
    sa.Column("attempt", sa.Integer),
    sa.Column("data", JSON, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("append_seq", sa.Integer, nullable=False),
    sa.Column("timed_append", sa.Integer),
    sa.Column("timed_ms", sa.Float),
)
sa.Index("workflow_events_created", events.c.created_at)
sa.Index(
    "workflow_events_timed",
    events.c.execution_id,
    events.c.timed_append,
    postgresql_where=events.c.timed_append.is_not(None),
    sqlite_where=events.c.timed_append.is_not(None),
)

edge_functions = sa.Table(
    "edge_functions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
)

edge_logs = sa.Table(
    "edge_logs",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("function_id", sa.Integer, sa.ForeignKey(edge_functions.c.id), nullable=False),
    sa.Column("event_message", sa.Text, nullable=False),
    sa.Column("timestamp", Moment, nullable=False),
)
sa.Index("edge_logs_timestamp", edge_logs.c.timestamp)

cohorts = sa.Table(
    "rollout_cohorts",
    metadata,
    sa.Column("attempt", sa.Text, primary_key=True),
    sa.Column("engine", sa.Text, primary_key=True),
    sa.Column("criterion", sa.Text, primary_key=True),
    sa.Column("outcome", sa.Text, primary_key=True),
    sa.Column("assignment", sa.Text, primary_key=True),
    sa.Column("percent", sa.Text, primary_key=True),
    sa.Column("age", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

totals = sa.Table(
    "rollout_totals",
    metadata,
    sa.Column("attempt", sa.Text, primary_key=True),
    sa.Column("restart", sa.Integer, primary_key=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("totals", JSON, nullable=False),
)

_METADATA = {
    "postgresql": "jsonb_build_object('duration_ms', t.timed_ms, 'attempt', e.attempt)",
    "sqlite": "json_object('duration_ms', t.timed_ms, 'attempt', e.attempt)",
}


def views(dialect: str, schema: str = "") -> dict[str, str]:
    """The SQL of each view, by name; `schema` is a prefix such as `public.`, quoted already."""
    return {
        "workflow_checkpoints": f"""
            SELECT e.execution_id, e.node_id, e.node_type, e.seq AS version,
                   {_METADATA[dialect]} AS metadata, e.created_at
              FROM {schema}workflow_events e
              LEFT JOIN {schema}workflow_events t
                     ON t.execution_id = e.execution_id AND t.timed_append = e.append_seq
             WHERE e.type = 'StepCompleted'""",
        "workflow_step_executions": f"""
            SELECT execution_id, node_id, attempt, 'success' AS status, created_at
              FROM {schema}workflow_events WHERE type = 'StepCompleted'""",
        "workflow_metrics": f"""
            SELECT execution_id, node_id, attempt - 1 AS retry_count,
                   CASE WHEN type = 'StepCompleted' THEN 'success' ELSE 'failed' END AS status,
                   created_at AS recorded_at
              FROM {schema}workflow_events
             WHERE type = 'StepCompleted'
                OR (type = 'StepFailed' AND data ->> 'retry_at' IS NULL)""",
    }


#: Names of the contract that older systems may own already: a migration refuses to touch tables it did not make.
CONTRACT_NAMES = frozenset(
    {
        "workflow_executions",
        "workflow_checkpoints",
        "workflow_step_executions",
        "workflow_events",
        "workflow_metrics",
        "edge_functions",
        "edge_logs",
    }
)

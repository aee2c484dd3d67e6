"""The tables: the names and columns of the contract, and what we need beside them. The views stand in views.py.

`workflow_executions` is written at every step. PostgreSQL keeps such a write to one page (a HOT update) when it changes
no indexed column: so what a step changes (`seq`, `current_node_id`, `version`, …) stands in no index and in no index's
condition, and every page has room for new versions of its rows (`fillfactor`).
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

# Compared as bytes: quicker than by a language's rules, and the order in which rows are locked is everywhere the same.
Id = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

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

current = sa.Table(  # the revision that was put last
    "workflow_current",
    metadata,
    sa.Column("workflow_id", sa.Text, primary_key=True),
    sa.Column("revision", sa.Text, nullable=False),
)

limits = sa.Table(  # one row a key in use: its lock makes counting and taking slots one step
    "workflow_limits",
    metadata,
    sa.Column("limit_key", Id, primary_key=True),
    sa.Column("workflow_id", sa.Text, nullable=False),
    sa.Column("slots", sa.Integer),  # NULL: the workflow has no limit any more
)

executions = sa.Table(
    "workflow_executions",
    metadata,
    sa.Column("id", Id, primary_key=True),
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
    sa.Column("parent", Id),  # the execution that waits for it
    sa.Column("origin", Id),  # the execution that it was forked from
    sa.Column("limit_key", Id),  # of the concurrency limit that it is under …
    sa.Column("slots", sa.Integer),  # … which had so many slots when it was submitted
    sa.Column("queued", sa.Boolean, nullable=False),  # it waits for a slot
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("dirty", sa.Boolean, nullable=False),  # its resource does not say yet what it says
    sa.Column("written_version", sa.Integer, nullable=False),
    sa.Column("written_status", sa.Text),
    sa.Column("written_at", Moment),
    sa.Column("ages", JSON),
    sa.Column("next_age", sa.Integer, nullable=False),
    sa.Column("next_age_at", Moment),
    postgresql_with={"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.05},
)
sa.Index(
    "workflow_executions_key",
    executions.c.workflow_id,
    executions.c.idempotency_key,
    unique=True,
    postgresql_where=executions.c.idempotency_key.is_not(None),
    sqlite_where=executions.c.idempotency_key.is_not(None),
)
_open = executions.c.finished_at.is_(None)
for _name, _columns, _where in (
    ("due", ("engine", "due_at"), executions.c.due_at.is_not(None)),
    ("dirty", ("written_at",), sa.text("dirty")),
    ("age", ("next_age_at",), executions.c.next_age_at.is_not(None)),
    ("active", ("created_at", "id"), _open),
    ("running", ("started_at",), sa.text("status = 'running'")),
    ("failed", ("created_at", "id"), sa.text("status = 'failed'")),
    ("started", ("started_at",), executions.c.started_at.is_not(None)),
    ("finished", ("finished_at",), executions.c.finished_at.is_not(None)),
    ("limits", ("limit_key", "queued", "created_at", "id"), sa.text("limit_key IS NOT NULL AND finished_at IS NULL")),
    ("parent", ("parent",), executions.c.parent.is_not(None)),
    ("origin", ("origin",), executions.c.origin.is_not(None)),
):
    sa.Index(
        f"workflow_executions_{_name}",
        *(executions.c[c] for c in _columns),
        postgresql_where=_where,
        sqlite_where=_where,
    )
sa.Index("workflow_executions_created", executions.c.created_at)

events = sa.Table(
    "workflow_events",
    metadata,
    sa.Column("execution_id", Id, primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("node_id", sa.Text),
    sa.Column("node_type", sa.Text),
    sa.Column("attempt", sa.Integer),
    sa.Column("data", JSON, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("append_seq", sa.Integer, nullable=False),
    sa.Column("timed_append", sa.Integer),  # it also tells how long the commit of the append before took …
    sa.Column("timed_ms", sa.Float),
    sa.Column("delivery", sa.Text),  # of an event from outside that may be delivered twice: what tells it from others
)
sa.Index("workflow_events_created", events.c.created_at)
sa.Index(
    "workflow_events_timed",
    events.c.execution_id,
    events.c.timed_append,
    postgresql_where=events.c.timed_append.is_not(None),
    postgresql_include=["timed_ms"],  # so that what a checkpoint took is read from the index alone
    sqlite_where=events.c.timed_append.is_not(None),
)

sa.Index(
    "workflow_events_delivery",
    events.c.execution_id,
    events.c.delivery,
    unique=True,
    postgresql_where=events.c.delivery.is_not(None),
    sqlite_where=events.c.delivery.is_not(None),
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

baselines = sa.Table(  # how V1 did in the week before an attempt; the row of no workflow says that it was taken
    "rollout_baselines",
    metadata,
    sa.Column("attempt", sa.Text, primary_key=True),
    sa.Column("workflow_id", sa.Text, primary_key=True),
    sa.Column("executions", sa.Integer, nullable=False),
    sa.Column("bad", sa.Integer, nullable=False),
    sa.Column("p95_seconds", sa.Float, nullable=False),
)

bins = sa.Table(  # what a user's own counters grew by, bin by bin: samples outlive no Prometheus, evidence must
    "rollout_bins",
    metadata,
    sa.Column("attempt", sa.Text, primary_key=True),
    sa.Column("criterion", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),  # from 0
    sa.Column("until", Moment, nullable=False),  # where it closed, and the next one began
    sa.Column("k1", sa.Float, nullable=False),
    sa.Column("n1", sa.Float, nullable=False),
    sa.Column("k2", sa.Float, nullable=False),
    sa.Column("n2", sa.Float, nullable=False),
)

decisions = sa.Table(  # appended to, never changed: each row bears the hash of the one before
    "rollout_decisions",
    metadata,
    sa.Column("rollout", Id, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("attempt", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),  # no jsonb: that would not keep a number as it was written
    sa.Column("prev_hash", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
)

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

"""The first schema: executions, their events, the views over them, logs, cohort counts."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from orchestrator.store.tables import JSON, Id, Moment
from orchestrator.store.views import views

revision = "0001"
down_revision = None
readable_from = "0001"  # see orchestrator/store/migrate.py

_FUNCTIONS = Path(__file__).parent.parent / "functions"
_FUNCTION_FILES = ("limits_1", "record_1", "admit_1", "submit_1", "append_1", "claim_1", "lease_1", "heal_1")


def upgrade() -> None:
    """Make everything."""
    op.create_table(
        "edge_functions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "orchestrator_facts",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "rollout_baselines",
        sa.Column("attempt", sa.Text(), nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("executions", sa.Integer(), nullable=False),
        sa.Column("bad", sa.Integer(), nullable=False),
        sa.Column("p95_seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("attempt", "workflow_id"),
    )
    op.create_table(
        "rollout_bins",
        sa.Column("attempt", sa.Text(), nullable=False),
        sa.Column("criterion", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("until", Moment(), nullable=False),
        sa.Column("k1", sa.Float(), nullable=False),
        sa.Column("n1", sa.Float(), nullable=False),
        sa.Column("k2", sa.Float(), nullable=False),
        sa.Column("n2", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("attempt", "criterion", "number"),
    )
    op.create_table(
        "rollout_cohorts",
        sa.Column("attempt", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("criterion", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("assignment", sa.Text(), nullable=False),
        sa.Column("percent", sa.Text(), nullable=False),
        sa.Column("age", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("attempt", "engine", "criterion", "outcome", "assignment", "percent", "age"),
    )
    op.create_table(
        "rollout_totals",
        sa.Column("attempt", sa.Text(), nullable=False),
        sa.Column("restart", sa.Integer(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column(
            "totals",
            JSON,
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("attempt", "restart"),
    )
    op.create_table(
        "rollout_decisions",
        sa.Column("rollout", Id, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Text(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("prev_hash", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("rollout", "number"),
    )
    op.create_table(
        "workflow_current",
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("workflow_id"),
    )
    op.create_table(
        "workflow_limits",
        sa.Column("limit_key", Id, nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("limit_key"),
    )
    op.create_table(
        "workflow_executions",
        sa.Column("id", Id, nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("assignment", sa.Text(), nullable=False),
        sa.Column("percent", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Text(), nullable=False),
        sa.Column("routing_key", sa.Text(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("current_node_id", sa.Text(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("retries", sa.Integer(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column(
            "input",
            JSON,
            nullable=True,
        ),
        sa.Column(
            "output",
            JSON,
            nullable=True,
        ),
        sa.Column(
            "error",
            JSON,
            nullable=True,
        ),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("started_at", Moment(), nullable=True),
        sa.Column("finished_at", Moment(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("last_append", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("due_at", Moment(), nullable=True),
        sa.Column("longest_timeout", sa.Float(), nullable=False),
        sa.Column("step_deadline", Moment(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("suspend_requested", sa.Boolean(), nullable=False),
        sa.Column("parent", Id, nullable=True),
        sa.Column("origin", Id, nullable=True),
        sa.Column("limit_key", Id, nullable=True),
        sa.Column("slots", sa.Integer(), nullable=True),
        sa.Column("queued", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("dirty", sa.Boolean(), nullable=False),
        sa.Column("written_version", sa.Integer(), nullable=False),
        sa.Column("written_status", sa.Text(), nullable=True),
        sa.Column("written_at", Moment(), nullable=True),
        sa.Column(
            "ages",
            JSON,
            nullable=True,
        ),
        sa.Column("next_age", sa.Integer(), nullable=False),
        sa.Column("next_age_at", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        postgresql_with={"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.05},
    )
    op.create_index("workflow_executions_created", "workflow_executions", ["created_at"])
    op.create_index(
        "workflow_executions_key",
        "workflow_executions",
        ["workflow_id", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
    )
    for name, columns, where in (
        ("active", ["created_at", "id"], "finished_at IS NULL"),
        ("age", ["next_age_at"], "next_age_at IS NOT NULL"),
        ("dirty", ["written_at"], "dirty"),
        ("due", ["engine", "due_at"], "due_at IS NOT NULL"),
        ("failed", ["created_at", "id"], "status = 'failed'"),
        ("finished", ["finished_at"], "finished_at IS NOT NULL"),
        ("limits", ["limit_key", "queued", "created_at", "id"], "limit_key IS NOT NULL AND finished_at IS NULL"),
        ("origin", ["origin"], "origin IS NOT NULL"),
        ("parent", ["parent"], "parent IS NOT NULL"),
        ("running", ["started_at"], "status = 'running'"),
        ("started", ["started_at"], "started_at IS NOT NULL"),
    ):
        op.create_index(
            f"workflow_executions_{name}",
            "workflow_executions",
            columns,
            postgresql_where=sa.text(where),
            sqlite_where=sa.text(where),
        )
    op.create_table(
        "workflow_revisions",
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column(
            "definition",
            JSON,
            nullable=False,
        ),
        sa.Column("created_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("workflow_id", "revision"),
    )
    op.create_table(
        "edge_logs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("function_id", sa.Integer(), nullable=False),
        sa.Column("event_message", sa.Text(), nullable=False),
        sa.Column("timestamp", Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["function_id"],
            ["edge_functions.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("edge_logs_timestamp", "edge_logs", ["timestamp"], unique=False)
    op.create_table(
        "workflow_events",
        sa.Column("execution_id", Id, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("schema_version", sa.Integer(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=True),
        sa.Column("node_type", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column(
            "data",
            JSON,
            nullable=False,
        ),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("append_seq", sa.Integer(), nullable=False),
        sa.Column("timed_append", sa.Integer(), nullable=True),
        sa.Column("timed_ms", sa.Float(), nullable=True),
        sa.Column("delivery", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("execution_id", "seq"),
    )
    op.create_index("workflow_events_created", "workflow_events", ["created_at"], unique=False)
    op.create_index(
        "workflow_events_timed",
        "workflow_events",
        ["execution_id", "timed_append"],
        unique=False,
        postgresql_where=sa.text("timed_append IS NOT NULL"),
        postgresql_include=["timed_ms"],
        sqlite_where=sa.text("timed_append IS NOT NULL"),
    )
    op.create_index(
        "workflow_events_delivery",
        "workflow_events",
        ["execution_id", "delivery"],
        unique=True,
        postgresql_where=sa.text("delivery IS NOT NULL"),
        sqlite_where=sa.text("delivery IS NOT NULL"),
    )
    schema = op.get_context().version_table_schema
    prefix = f'"{schema}".' if schema else ""
    database = op.get_bind()
    for name, sql in views(database.dialect.name, prefix).items():
        database.exec_driver_sql(f"CREATE VIEW {prefix}{name} AS {sql}")
    if database.dialect.name == "postgresql":
        for name in _FUNCTION_FILES:
            database.exec_driver_sql((_FUNCTIONS / f"{name}.sql").read_text().replace("{s}", prefix))


def downgrade() -> None:
    """There is nothing below the first schema."""
    raise NotImplementedError("drop the database instead")

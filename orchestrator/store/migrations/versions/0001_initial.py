"""The first schema: executions, their events, the views over them, logs, cohort counts."""

import sqlalchemy as sa
from alembic import op

from orchestrator.store.tables import JSON, Moment, views

revision = "0001"
down_revision = None


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
        "workflow_executions",
        sa.Column("id", sa.Text(), nullable=False),
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
        sa.Column("version", sa.Integer(), nullable=False),
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
    )
    op.create_index(
        "workflow_executions_active",
        "workflow_executions",
        ["engine", "status"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NULL"),
        sqlite_where=sa.text("finished_at IS NULL"),
    )
    op.create_index(
        "workflow_executions_age",
        "workflow_executions",
        ["next_age_at"],
        unique=False,
        postgresql_where=sa.text("next_age_at IS NOT NULL"),
        sqlite_where=sa.text("next_age_at IS NOT NULL"),
    )
    op.create_index("workflow_executions_created", "workflow_executions", ["created_at"], unique=False)
    op.create_index(
        "workflow_executions_dirty",
        "workflow_executions",
        ["written_at"],
        unique=False,
        postgresql_where=sa.text("version > written_version AND name <> ''"),
        sqlite_where=sa.text("version > written_version AND name <> ''"),
    )
    op.create_index(
        "workflow_executions_due",
        "workflow_executions",
        ["engine", "due_at"],
        unique=False,
        postgresql_where=sa.text("due_at IS NOT NULL"),
        sqlite_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "workflow_executions_key",
        "workflow_executions",
        ["workflow_id", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
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
        sa.Column("execution_id", sa.Text(), nullable=False),
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
        sa.PrimaryKeyConstraint("execution_id", "seq"),
    )
    op.create_index("workflow_events_created", "workflow_events", ["created_at"], unique=False)
    op.create_index(
        "workflow_events_timed",
        "workflow_events",
        ["execution_id", "timed_append"],
        unique=False,
        postgresql_where=sa.text("timed_append IS NOT NULL"),
        sqlite_where=sa.text("timed_append IS NOT NULL"),
    )
    schema = op.get_context().version_table_schema
    prefix = f'"{schema}".' if schema else ""
    for name, sql in views(op.get_bind().dialect.name, prefix).items():
        op.execute(f"CREATE VIEW {prefix}{name} AS {sql}")


def downgrade() -> None:
    """There is nothing below the first schema."""
    raise NotImplementedError("drop the database instead")

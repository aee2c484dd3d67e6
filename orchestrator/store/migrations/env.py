"""Alembic's entry: runs on the connection that migrate.py hands over, inside its transaction."""

from alembic import context

from orchestrator.store.tables import metadata

config = context.config
context.configure(
    connection=config.attributes["connection"],
    target_metadata=metadata,
    version_table="orchestrator_schema_version",
    version_table_schema=config.attributes["schema"],
    transaction_per_migration=False,
)
context.run_migrations()

"""The store on PostgreSQL."""

from orchestrator.store.postgres.lines import Lines
from orchestrator.store.postgres.store import PostgresStore

__all__ = ["Lines", "PostgresStore"]

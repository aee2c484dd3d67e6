"""The store on SQLite: the same contract in one file, for one machine."""

from orchestrator.store.sqlite.store import SqliteStore
from orchestrator.store.sqlite.thread import Thread, configure, sqlalchemy_begin

__all__ = ["SqliteStore", "Thread", "configure", "sqlalchemy_begin"]

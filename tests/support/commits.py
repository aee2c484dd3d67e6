"""How many transactions wrote to a database: found out from the database, whatever made them.

SQLite: the last frame of each transaction in the write-ahead log says so. PostgreSQL: triggers note the transactions in
which any statement wrote to any of our tables.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from orchestrator.store.tables import metadata
from tests.support.stores import engine_of

_HEADER, _FRAME_HEADER = 32, 24  # bytes; https://www.sqlite.org/fileformat2.html#the_write_ahead_log

_NOTE = """
CREATE SCHEMA test_commits;
CREATE UNLOGGED TABLE test_commits.seen (transaction text PRIMARY KEY);
CREATE FUNCTION test_commits.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO test_commits.seen VALUES (pg_current_xact_id()::text) ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
"""
_TRIGGER = """
CREATE TRIGGER test_commits AFTER INSERT OR UPDATE OR DELETE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION test_commits.note()"""


class Commits(Protocol):
    def count(self) -> int:
        """So far."""


def watched(url: str) -> Commits:
    """The commits of a migrated database. On PostgreSQL `watch` has to have been called once."""
    return _Sqlite(Path(str(sa.make_url(url).database))) if url.startswith("sqlite") else _Postgres(url)


def watch(url: str) -> None:
    """Make a PostgreSQL database note its transactions from now on."""
    with engine_of(url).begin() as connection:
        connection.execute(sa.text(_NOTE))
        for table in metadata.sorted_tables:
            connection.execute(sa.text(_TRIGGER.format(table=table.name)))


class _Sqlite:
    def __init__(self, path: Path) -> None:
        self._log = path.with_name(f"{path.name}-wal")

    def count(self) -> int:
        log = self._log.read_bytes() if self._log.exists() else b""
        if len(log) < _HEADER:
            return 0
        (page,), salt = struct.unpack(">I", log[8:12]), log[16:24]
        starts = range(_HEADER, len(log) - _FRAME_HEADER, _FRAME_HEADER + page)
        frames = (struct.unpack(">II8s", log[start : start + 16]) for start in starts)
        return sum(size_after_commit > 0 and own == salt for _, size_after_commit, own in frames)


class _Postgres:
    def __init__(self, url: str) -> None:
        self._url = url

    def count(self) -> int:
        with engine_of(self._url).connect() as connection:
            return int(connection.scalar(sa.text("SELECT count(*) FROM test_commits.seen")) or 0)

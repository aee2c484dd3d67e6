"""Fill a store with executions by the hundred thousand: copies of real ones, made by the database itself.

A template is an execution that the engine really ran; its row and its events are copied with other ids and earlier
times. So whatever columns the tables have, the copies have what the engine writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Mapping

_SERIES = {
    "postgresql": "generate_series(1, :copies) AS g(i)",
    "sqlite": "(WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM s WHERE i < :copies) SELECT i FROM s) AS g",
}
_ID = {
    "postgresql": "md5(:salt || g.i::text)",
    "sqlite": "printf('%s%08x%08x', :salt, (g.i * 2654435761) % 4294967296, g.i)",  # scattered, as real ids are
}
_EARLIER = {
    "postgresql": "t.{column} - make_interval(secs => g.i * CAST(:apart AS float8))",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', t.{column}, '-' || (g.i * :apart) || ' seconds') || '000'",
}
_CHANCE = {"postgresql": "random()", "sqlite": "(abs(random() % 1000000) / 1000000.0)"}


class Filler:
    """Copies templates in one database; `close` makes it fit for queries."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url)
        self._dialect = self._engine.dialect.name
        self._postponed: list[str] = []

    def copy_execution(
        self,
        template: str,
        copies: int,
        apart: float,
        *,
        row: Mapping[str, str] | None = None,
        last_seq: int | None = None,
    ) -> int:
        """Copy an execution so many times, `apart` seconds from one to the next into the past; how many events.

        `row` replaces columns of the row by SQL; only events up to `last_seq` are copied.
        """
        salt = f"{template[:8]}-{copies}-"
        self._copy(
            "workflow_executions", "id", template, copies, apart, salt, {"id": _ID[self._dialect], **(row or {})}
        )
        chance = _CHANCE[self._dialect]
        timed = f"CASE WHEN t.timed_ms IS NULL THEN NULL WHEN {chance} < 0.001 THEN 100 + 400 * {chance} "
        changes = {"execution_id": _ID[self._dialect], "timed_ms": timed + f"ELSE 1 + 20 * {chance} END"}
        only = "" if last_seq is None else f"AND t.seq <= {last_seq}"
        return self._copy("workflow_events", "execution_id", template, copies, apart, salt, changes, only)

    def copy_log_line(self, contains: str, copies: int, apart: float) -> int:
        """Copy the first log line that contains a text."""
        with self._engine.connect() as connection:
            query = sa.text("SELECT min(id) FROM edge_logs WHERE event_message LIKE :like")
            first = connection.execute(query, {"like": f"%{contains}%"}).scalar_one()
        return self._copy("edge_logs", "id", first, copies, apart, "", {"id": ""})

    def postpone_indexes(self, table: str) -> None:
        """Drop the indexes of a table, to be made again by `close`: much faster for millions of rows (PostgreSQL)."""
        if self._dialect != "postgresql":
            return
        constraints = (
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE conrelid = CAST(:table AS regclass) AND contype = 'p'"
        )
        indexes = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = :table"
        with self._engine.begin() as connection:
            for name, definition in connection.execute(sa.text(constraints), {"table": table}).all():
                connection.execute(sa.text(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"'))
                self._postponed.append(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')
            for name, definition in connection.execute(sa.text(indexes), {"table": table}).all():
                connection.execute(sa.text(f'DROP INDEX "{name}"'))
                self._postponed.append(definition)

    def close(self) -> None:
        """Make the indexes, and tell the planner what is there, as autovacuum does in time."""
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if self._dialect == "postgresql":
                connection.execute(sa.text("SET maintenance_work_mem = '1GB'"))
            for statement in self._postponed:
                connection.execute(sa.text(statement))
            connection.execute(sa.text("VACUUM ANALYZE" if self._dialect == "postgresql" else "ANALYZE"))
            if self._dialect == "postgresql":
                connection.execute(sa.text("CHECKPOINT"))
        self._engine.dispose()

    def _copy(
        self,
        table: str,
        key: str,
        template: Any,
        copies: int,
        apart: float,
        salt: str,
        changes: Mapping[str, str],
        only: str = "",
    ) -> int:
        """`changes` maps columns to SQL; an empty text leaves a column to its default."""
        selected = {}
        for column in sa.inspect(self._engine).get_columns(table):
            name = column["name"]
            shifted = isinstance(column["type"], sa.DateTime) and name not in changes
            selected[name] = _EARLIER[self._dialect].format(column=name) if shifted else changes.get(name, f"t.{name}")
        selected = {name: expression for name, expression in selected.items() if expression}
        statement = sa.text(
            f"INSERT INTO {table} ({', '.join(selected)}) SELECT {', '.join(selected.values())} "
            f"FROM {table} t CROSS JOIN {_SERIES[self._dialect]} WHERE t.{key} = :template {only}"
        )
        values = {"template": template, "copies": copies, "apart": apart, "salt": salt}
        used = {name: value for name, value in values.items() if f":{name}" in statement.text}
        with self._engine.begin() as connection:
            if self._dialect == "postgresql":
                connection.execute(sa.text("SET LOCAL synchronous_commit = off"))  # copies can be made again
            return connection.execute(statement, used).rowcount

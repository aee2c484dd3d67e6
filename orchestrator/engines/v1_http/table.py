"""The legacy engine's table of executions, read and never written: one query for many executions, again and again."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from orchestrator.engines.v1_http.reports import LARGEST, BadReport, from_fields
from orchestrator.engines.v1_http.settings import variable
from orchestrator.errors import InvalidInput, Problem, StoreUnavailable
from orchestrator.masks import MASKS, SHORTEST
from orchestrator.store.open import database_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence

    from orchestrator.engines.v1_http.reports import Report
    from orchestrator.engines.v1_http.settings import V1HttpSettings

log = structlog.get_logger(__name__)

_MOST: Final = 500  # executions a query
_LONGEST_PAUSE: Final = 60.0  # seconds, while the database is away
_OURS: Final = frozenset({"fence", "last_append", "written_version"})  # columns that only our own table has
_CONNECT: Final = {"connect_timeout": 10, "prepare_threshold": None, "tcp_user_timeout": 20_000}


class LegacyTable:
    """Reads it; close it with `aclose`."""

    def __init__(self, settings: V1HttpSettings) -> None:
        self._settings = settings
        self._engine = _engine(settings)
        self._query: sa.Select[Any] | None = None
        self._ids: Callable[[str], Any] = str
        self._json: frozenset[str] = frozenset()  # labels of columns that hold JSON
        self._puzzling: set[str] = set()  # executions whose rows could not be read, to be told once

    async def aclose(self) -> None:
        await self._engine.dispose()

    async def check(self) -> None:
        """Look at the table's columns; raises InvalidInput (a setting is wrong) or StoreUnavailable."""
        try:
            async with self._engine.connect() as connection:
                columns = await connection.run_sync(self._columns)
        except (sa.exc.DBAPIError, OSError) as error:
            raise StoreUnavailable(f"the legacy database did not answer: {_reason(error)}") from error
        self._prepare(columns)

    async def look(self, ids: Sequence[str]) -> dict[str, Report | BadReport]:
        """What the table says of executions; those that are not in it (yet) are missing. Raises StoreUnavailable."""
        if self._query is None:
            await self.check()
        wanted = {self._ids(execution_id): execution_id for execution_id in ids if self._fits(execution_id)}
        found: dict[str, Report | BadReport] = {}
        try:
            async with self._engine.connect() as connection:
                for chunk in _chunks(list(wanted), _MOST):
                    rows = await connection.execute(self._prepared, {"ids": chunk})
                    found |= {wanted[row.id]: self._report(row) for row in rows if row.id in wanted}
        except (sa.exc.SQLAlchemyError, OSError) as error:
            # Whatever it is (a right that was taken away, a column that was dropped): a person may mend it.
            raise StoreUnavailable(f"the legacy table cannot be read: {_reason(error)}") from error
        return found

    async def follow(
        self, watched: Callable[[], Collection[str]], learned: Callable[[str, Report], Awaitable[object]]
    ) -> None:
        """Look for as long as this runs, and pass on what is there."""
        patience = AsyncRetrying(
            retry=retry_if_exception_type((StoreUnavailable, InvalidInput)),
            wait=wait_random_exponential(multiplier=self._settings.poll.total_seconds(), max=_LONGEST_PAUSE),
            before_sleep=lambda state: log.warning(
                "the legacy table cannot be read; trying again",
                attempt=state.attempt_number,
                error=str(state.outcome.exception()) if state.outcome else "",
            ),
        )
        while True:
            try:
                await self._pass_on(patience, watched, learned)
            except Exception:
                log.exception("the legacy table is looked at again")  # nothing else would tell the outcomes

    async def _pass_on(
        self,
        patience: AsyncRetrying,
        watched: Callable[[], Collection[str]],
        learned: Callable[[str, Report], Awaitable[object]],
    ) -> None:
        pause = self._settings.poll.total_seconds() * random.uniform(0.7, 1.3)  # noqa: S311 - spreads load, hides nothing
        await asyncio.sleep(pause)
        ids = sorted(watched())
        self._puzzling.intersection_update(ids)
        if not ids:
            return
        found: dict[str, Report | BadReport] = await patience(self.look, ids)
        for execution_id, report in found.items():
            if isinstance(report, BadReport):
                self._tell_once(execution_id, report)
        readable = {id_: report for id_, report in found.items() if not isinstance(report, BadReport)}
        results = await asyncio.gather(*(learned(id_, r) for id_, r in readable.items()), return_exceptions=True)
        for execution_id, result in zip(readable, results, strict=True):
            if isinstance(result, Exception):  # the next look finds it again
                log.warning("an outcome could not be kept", execution=execution_id, error=str(result))

    def _tell_once(self, execution_id: str, report: BadReport) -> None:
        if execution_id not in self._puzzling:
            self._puzzling.add(execution_id)
            log.error("a row of the legacy table cannot be read", execution=execution_id, error=str(report))

    @property
    def _prepared(self) -> sa.Select[Any]:
        if self._query is None:
            raise StoreUnavailable("the legacy table was not looked at yet")
        return self._query

    def _columns(self, connection: sa.Connection) -> dict[str, Any]:
        schema, _, name = self._settings.table.rpartition(".")
        try:
            columns = sa.inspect(connection).get_columns(name, schema=schema or None)
        except sa.exc.NoSuchTableError:
            message = f"there is no table {self._settings.table!r}, or this login may not see it"
            raise InvalidInput([Problem(variable("table"), message)]) from None
        return {column["name"]: column["type"] for column in columns}

    def _prepare(self, columns: dict[str, Any]) -> None:
        s = self._settings
        if columns.keys() >= _OURS:
            message = f"{s.table!r} is Orchestrator's own table in this database: name the legacy engine's"
            raise InvalidInput([Problem(variable("table"), message)])
        problems = []
        chosen: dict[str, Any] = {}
        for name in ("table_id", "table_status", "table_output", "table_error", "table_node"):
            column, label = getattr(s, name), name.removeprefix("table_")
            if column in columns:
                chosen[label] = sa.column(column, columns[column])
            elif name in ("table_id", "table_status") or name in s.model_fields_set:
                shown = ", ".join(sorted(columns))
                problems.append(Problem(variable(name), f"{s.table!r} has no column {column!r}; it has {shown}"))
            else:
                chosen[label] = sa.null()
        if not problems and not isinstance(columns[s.table_id], sa.String | sa.Uuid):
            message = f"the column {s.table_id!r} is {columns[s.table_id]}: it must be text or uuid, to hold the id"
            problems.append(Problem(variable("table_id"), message))
        if problems:
            raise InvalidInput(problems)
        self._ids = UUID if isinstance(columns[s.table_id], sa.Uuid) else str
        named = {"output": s.table_output, "error": s.table_error}
        self._json = frozenset(label for label, name in named.items() if isinstance(columns.get(name), sa.JSON))
        self._query = _query(s.table, chosen)

    def _fits(self, execution_id: str) -> bool:
        try:
            self._ids(execution_id)
        except ValueError:  # no UUID: it cannot be in the table
            return False
        return True

    def _report(self, row: Any) -> Report | BadReport:
        if row.output is not None and len(row.output) > LARGEST:
            return BadReport("output", f"is longer than {LARGEST} characters")
        output, error = (
            _parsed(text) if text is not None and label in self._json else text
            for label, text in (("output", row.output), ("error", row.error))
        )
        try:
            return from_fields(row.status, output, error, row.node or "", self._settings.statuses)
        except BadReport as bad:
            return bad


def _query(table: str, chosen: dict[str, Any]) -> sa.Select[Any]:
    """Everything but the id as text, whatever its type: enums, JSON, numbers."""
    schema, _, name = table.rpartition(".")
    texts = [sa.cast(column, sa.Text).label(label) for label, column in chosen.items() if label != "id"]
    return (
        sa.select(chosen["id"].label("id"), *texts)
        .select_from(sa.table(name, schema=schema or None))
        .where(chosen["id"].in_(sa.bindparam("ids", expanding=True)))
    )


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # SQLite's JSON columns hold any text
        return text


def _engine(settings: V1HttpSettings) -> AsyncEngine:
    database = settings.table_database
    if database is None:
        raise InvalidInput([Problem(variable("table_database"), "is required to read a table")])
    try:
        url = database_url(database.get_secret_value())
    except InvalidInput as error:
        raise InvalidInput([Problem(variable("table_database"), p.message) for p in error.problems]) from None
    if url.password and len(url.password) >= SHORTEST:
        MASKS.add(url.password)  # a driver's message may quote it
    if url.get_backend_name() == "sqlite":
        path = Path(str(url.database)).absolute().as_uri()
        read_only = sa.URL.create("sqlite+aiosqlite", database=path, query={"mode": "ro", "uri": "true"})
        return create_async_engine(read_only)
    return create_async_engine(
        url,
        pool_size=1,
        max_overflow=1,
        pool_pre_ping=True,
        connect_args=_CONNECT,
        # Said to the server, too: this login reads.
        execution_options={"postgresql_readonly": True},
    )


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _reason(error: BaseException) -> str:
    """The first line of what the driver says: those after it quote the statement."""
    return str(getattr(error, "orig", None) or error).partition("\n")[0]

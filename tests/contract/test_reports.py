"""`orchestrator report`: the same answers on both databases, by a login that may only read, without changing them."""

from __future__ import annotations

import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import pytest_asyncio

from orchestrator.dialect import Dialect
from orchestrator.errors import InvalidInput, SchemaConflict, StoreError, StoreUnavailable
from orchestrator.reports import REPORTS, ask, render
from orchestrator.store.readonly import open_reader
from tests.support import monitored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from orchestrator.reports import Answer
    from tests.support.postgres import LocalPostgres

PATIENCE = timedelta(seconds=10)
SCHEMA = "Other_schema"  # in capitals: it has to be quoted


class Filled:
    """A database with the story, and what is asked of it."""

    def __init__(self, url: str, now: datetime) -> None:
        self.url, self.now = url, now
        self.dialect = Dialect.SQLITE if url.startswith("sqlite") else Dialect.POSTGRESQL
        self.schema = SCHEMA if self.dialect is Dialect.POSTGRESQL else "public"

    def reader(self, url: str | None = None) -> Any:
        return open_reader(url or self.url, schema=self.schema, patience=PATIENCE)

    async def ask(self, name: str, *, at: datetime | None = None, **options: Any) -> Answer:
        async with self.reader() as reader:
            return await ask(reader, REPORTS[name], at or self.now, **{"limit": 10} | options)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stories(
    postgres: LocalPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, Filled]]:
    """The story on both databases, told once."""
    urls = {
        "sqlite": f"sqlite:///{tmp_path_factory.mktemp('story') / 'store.db'}",
        "postgresql": postgres.create_database(),
    }
    yield {kind: Filled(url, await monitored.fill(url, schema=SCHEMA)) for kind, url in urls.items()}


@pytest.fixture(params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, stories: dict[str, Filled]) -> Filled:
    return stories[request.param]


ANSWERS = {
    "active": [("v1", 1, 25.0, 0, 1), ("v2", 3, 75.0, 0, 1)],
    "success": [("failed", 1, 33.33, 0, 1), ("running", 1, 33.33, 0, 1), ("success", 1, 33.33, 0, 1)],
    "checkpoints": [("transform", 2, 150.5, 150.5, 1), ("http", 1, 3.25, 3.25, 0)],
    "retries": [(0, 3, 2, 66.67), (1, 1, 1, 100.0)],
    "slow": [("ok", "a", "transform", 4, 150.5, 0)],
    "stuck": [("slow", "default/chain", "v2", "b", 20.0, 1)],
    "errors": [(0, "ERROR execution bad: HttpStatus: 503")],
}


def test_every_report_has_an_answer_that_is_known() -> None:
    assert ANSWERS.keys() == REPORTS.keys()


@pytest.mark.parametrize("name", REPORTS)
async def test_a_report_answers_the_same_on_both_databases(filled: Filled, name: str) -> None:
    answer = await filled.ask(name)
    # Moments as seconds before the story's now.
    shown = [
        tuple(round((filled.now - value).total_seconds()) if isinstance(value, datetime) else value for value in row)
        for row in answer.rows
    ]
    assert shown == ANSWERS[name]
    assert [
        type(value) for row in answer.rows for value in row if isinstance(value, datetime) and not value.tzinfo
    ] == []


@pytest.mark.parametrize("name", REPORTS)
async def test_the_sql_that_is_printed_gives_the_answer_that_is_printed(filled: Filled, name: str) -> None:
    sql = render(REPORTS[name], filled.dialect, schema=filled.schema)
    async with filled.reader() as reader:
        pasted = await reader.rows(sql)
    answer = await filled.ask(name, at=datetime.now(UTC))
    columns = len(REPORTS[name].columns)
    assert (len(pasted), {len(row) for row in pasted}) == (len(answer.rows), {columns})
    counted = [number for number, column in enumerate(REPORTS[name].columns) if column.kind == "count"]
    assert [[row[n] for n in counted] for row in pasted] == [[row[n] for n in counted] for row in answer.rows]


@pytest.mark.parametrize("name", [name for name, report in REPORTS.items() if report.window])
async def test_what_is_older_than_since_is_left_out(filled: Filled, name: str) -> None:
    answer = await filled.ask(name, at=filled.now + timedelta(hours=1), since=timedelta(minutes=5))
    assert [row for row in answer.rows if name != "active"] == []
    if name == "active":  # what is in flight stays so
        assert [(row[1], row[4]) for row in answer.rows] == [(0, 1), (0, 1)]


async def test_since_reaches_further_back_than_a_report_does_by_itself(filled: Filled) -> None:
    answer = await filled.ask("errors", since=timedelta(minutes=30))
    assert [row[1] for row in answer.rows] == ["ERROR execution bad: HttpStatus: 503", "ERROR of long ago"]


async def test_a_list_ends_at_its_limit_and_says_that_there_is_more(filled: Filled) -> None:
    answer = await filled.ask("errors", since=timedelta(minutes=30), limit=1)
    assert (len(answer.rows), answer.more) == (1, True)
    assert not (await filled.ask("errors", since=timedelta(minutes=30), limit=2)).more


async def test_a_reader_changes_nothing(filled: Filled) -> None:
    table = "edge_logs" if filled.dialect is Dialect.SQLITE else f'"{SCHEMA}".edge_logs'
    async with filled.reader() as reader:
        with pytest.raises(StoreError, match=r"read-only|readonly"):
            await reader.rows(f"DELETE FROM {table}")


async def test_a_login_that_may_only_select_is_enough(stories: dict[str, Filled]) -> None:
    filled = stories["postgresql"]
    with psycopg.connect(filled.url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE ROLE watcher LOGIN")
        connection.execute(f'GRANT USAGE ON SCHEMA "{SCHEMA}" TO watcher')
    watcher = filled.url.replace("postgres@", "watcher@")
    async with filled.reader(watcher) as reader:
        with pytest.raises(StoreError, match="GRANT USAGE"):
            await ask(reader, REPORTS["success"], filled.now, limit=10)
        with psycopg.connect(filled.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA "{SCHEMA}" TO watcher')
        assert (await ask(reader, REPORTS["success"], filled.now, limit=10)).rows


async def test_a_file_that_may_only_be_read_is_enough(stories: dict[str, Filled], tmp_path: Path) -> None:
    original = stories["sqlite"].url.removeprefix("sqlite:///")
    copy = tmp_path / "copy.db"
    shutil.copyfile(original, copy)
    copy.chmod(0o444)
    async with open_reader(str(copy), schema="public", patience=PATIENCE) as reader:
        assert (await ask(reader, REPORTS["success"], datetime.now(UTC), limit=10)).rows


async def test_a_database_without_our_tables_is_not_given_any(database: str, tmp_path: Path) -> None:
    if database.startswith("sqlite"):
        sqlite3.connect(tmp_path / "store.db").execute("CREATE TABLE mine (a)")
    for _ in range(2):  # the first question made none
        async with open_reader(database, schema="public", patience=PATIENCE) as reader:
            with pytest.raises(SchemaConflict, match="no tables of Orchestrator"):
                await ask(reader, REPORTS["success"], datetime.now(UTC), limit=10)


async def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no database"):
        async with open_reader(str(tmp_path / "no.db"), schema="public", patience=PATIENCE):
            pass
    assert list(tmp_path.iterdir()) == []


ENDLESS = {
    Dialect.SQLITE: "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
    Dialect.POSTGRESQL: "SELECT pg_sleep(300)",
}


async def test_an_answer_that_takes_too_long_is_given_up(filled: Filled) -> None:
    async with open_reader(filled.url, schema=filled.schema, patience=timedelta(milliseconds=200)) as reader:
        with pytest.raises(StoreUnavailable, match=r"within 0\.2 s"):
            await reader.rows(ENDLESS[filled.dialect])


async def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    away = "postgresql://ada:canary-password@127.0.0.1:1/shop"
    async with open_reader(away, schema="public", patience=PATIENCE) as reader:
        with pytest.raises(StoreUnavailable, match=r"ada:\*\*\*@127\.0\.0\.1:1/shop") as told:
            await reader.rows("SELECT 1")
    assert "canary-password" not in str(told.value)


@pytest.mark.parametrize(
    ("since", "postgresql", "sqlite"),
    [
        (timedelta(hours=1), "interval '1 hour'", "'-1 hour'"),
        (timedelta(minutes=90), "interval '90 minutes'", "'-90 minutes'"),
        (timedelta(days=7), "interval '7 days'", "'-7 days'"),
        (timedelta(seconds=1.5), "interval '2 seconds'", "'-2 seconds'"),
    ],
)
def test_a_window_is_written_as_people_say_it(since: timedelta, postgresql: str, sqlite: str) -> None:
    assert postgresql in render(REPORTS["success"], Dialect.POSTGRESQL, since=since)
    assert sqlite in render(REPORTS["success"], Dialect.SQLITE, since=since)


async def test_a_schemas_name_that_is_none_never_reaches_sql() -> None:
    with pytest.raises(InvalidInput, match="no plain name"):
        async with open_reader("postgresql://localhost/shop", schema='x"; DROP', patience=PATIENCE):
            pass

"""The legacy engine's table as it is found in the wild: its types, its columns, its rights, on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from orchestrator.engines.v1_http.reports import BadReport, Report, failed
from orchestrator.engines.v1_http.table import LegacyTable as Reader
from orchestrator.errors import InvalidInput, StoreUnavailable
from orchestrator.masks import MASKS
from orchestrator.model import Status
from orchestrator.store import open_store
from tests.support.legacy import LegacyTable, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.postgres import LocalPostgres

    Open = Callable[..., Reader]

HEX = "0b7c5a8d4d1e4f5d9a3c2b1e0f9d8c7b"


@pytest.fixture
async def reader() -> AsyncIterator[Open]:
    opened: list[Reader] = []

    def make(table: LegacyTable, /, **settings: str) -> Reader:
        opened.append(Reader(read("https://legacy.example", **(table.settings() | settings))))
        return opened[-1]

    yield make
    for one in opened:
        await one.aclose()


async def problems(reader: Reader) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        await reader.check()
    return {problem.path.removeprefix("ORCHESTRATOR_V1_"): problem.message for problem in caught.value.problems}


async def test_rows_are_read_and_missing_ones_are_missing(database: str, reader: Open) -> None:
    table = LegacyTable(database)
    table.put(id="x1", status="completed", output={"n": [1, None, "ü"]}, error=None, current_node_id="b")
    table.put(id="x2", status="error", error="no stock")
    table.put(id="x3", status="RUNNING", current_node_id="b")
    table.put(id="x4", status="purple")
    table.put(id="other", status="success")
    found = await reader(table).look(["x1", "x2", "x3", "x4", "x5"])
    puzzle = found.pop("x4")
    assert found == {
        "x1": Report(Status.SUCCESS, output={"n": [1, None, "ü"]}),
        "x2": failed("V1Failed", "no stock"),
        "x3": Report(Status.RUNNING, node="b"),
    }
    assert isinstance(puzzle, BadReport)


async def test_more_than_a_query_holds_are_read(database: str, reader: Open) -> None:
    table = LegacyTable(database)
    ids = [f"x{i}" for i in range(1201)]
    with table.engine.begin() as connection:
        connection.execute(sa.insert(table.table), [{"id": id_, "status": "success"} for id_ in ids])
    assert set(await reader(table).look([*ids, "missing"])) == set(ids)


async def test_a_status_that_is_no_text_is_a_report_that_cannot_be_read(database: str, reader: Open) -> None:
    table = LegacyTable(database, status=sa.Integer)
    table.put(id="x1", status=3)
    found = await reader(table, statuses="4=success").look(["x1"])
    assert isinstance(found["x1"], BadReport)
    table.change("x1", status=4)
    assert (await reader(table, statuses="4=success").look(["x1"]))["x1"] == Report(Status.SUCCESS)


async def test_names_of_columns_may_be_any(database: str, reader: Open) -> None:
    table = LegacyTable(database, "Runs", Key=sa.Text, order=sa.Text, result=sa.Text)
    with table.engine.begin() as connection:
        connection.execute(sa.insert(table.table).values({"id": "1", "Key": "x1", "order": "done", "result": "7"}))
    found = await reader(table, table_id="Key", table_status="order", table_output="result").look(["x1"])
    assert found == {"x1": Report(Status.SUCCESS, output="7")}  # text stays text


async def test_columns_that_nobody_named_need_not_exist(database: str, reader: Open) -> None:
    table = LegacyTable(database, output=None, error=None, current_node_id=None)
    table.put(id="x1", status="success")
    table.put(id="x2", status="failed")
    found = await reader(table).look(["x1", "x2"])
    assert found["x1"] == Report(Status.SUCCESS)
    assert found["x2"] == failed("V1Failed", "the legacy engine says 'failed' and no more")


async def test_columns_that_were_named_have_to_exist(database: str, reader: Open) -> None:
    table = LegacyTable(database, status=None)
    found = await problems(reader(table, table_output="result"))
    assert set(found) == {"TABLE_STATUS", "TABLE_OUTPUT"}
    assert "it has current_node_id, error, id, output" in found["TABLE_OUTPUT"]


async def test_a_table_that_is_not_there_is_told(database: str, reader: Open) -> None:
    assert "there is no table 'others'" in (await problems(reader(LegacyTable(database), table="others")))["TABLE"]


async def test_an_id_column_that_cannot_hold_the_id_is_told(database: str, reader: Open) -> None:
    found = await problems(reader(LegacyTable(database, id=sa.Integer)))
    assert "must be text or uuid" in found["TABLE_ID"]


async def test_our_own_table_is_refused(database: str, reader: Open) -> None:
    """Its rows would say `running` until the deadline, whatever the legacy engine does."""
    store = await open_store(database)
    await store.close()
    found = await problems(reader(LegacyTable(database), table="workflow_executions"))
    assert "Orchestrator's own table" in found["TABLE"]


async def test_an_output_that_is_too_large_is_told(database: str, reader: Open) -> None:
    table = LegacyTable(database, output=sa.Text)
    table.put(id="x1", status="success", output="x" * ((1 << 20) + 1))
    found = (await reader(table).look(["x1"]))["x1"]
    assert isinstance(found, BadReport)
    assert found.problems[0].path == "output"


async def test_a_value_of_an_execution_is_never_part_of_the_statement(database: str, reader: Open) -> None:
    table = LegacyTable(database)
    hostile = "x') OR 1=1; DROP TABLE runs; --"
    table.put(id=hostile, status="success")
    table.put(id="x1", status="failed")
    assert await reader(table).look([hostile]) == {hostile: Report(Status.SUCCESS)}


async def test_the_table_is_never_written(database: str, reader: Open) -> None:
    table = LegacyTable(database)
    opened: Any = reader(table)
    with pytest.raises(sa.exc.DBAPIError, match=r"read-?only"):
        async with opened._engine.begin() as connection:
            await connection.execute(sa.insert(table.table).values(id="x1"))


async def test_a_database_that_is_not_there_is_unavailable(database: str, reader: Open) -> None:
    away = "sqlite:////no/such/folder/x.db" if database.startswith("sqlite") else "postgresql://me:pw@127.0.0.1:1/x"
    opened = reader(LegacyTable(database), table_database=away)
    with pytest.raises(StoreUnavailable):
        await opened.check()
    with pytest.raises(StoreUnavailable):
        await opened.look(["x1"])


# -- PostgreSQL alone


@pytest.mark.parametrize("id_", [HEX, str(UUID(HEX)), str(UUID(HEX)).upper()])
async def test_a_uuid_column_finds_an_id_however_it_is_spelt(postgres: LocalPostgres, reader: Open, id_: str) -> None:
    table = LegacyTable(postgres.create_database(), id=sa.Uuid)
    table.put(id=UUID(HEX), status="success")
    assert await reader(table).look([id_, "no-uuid"]) == {id_: Report(Status.SUCCESS)}


async def test_enums_and_jsonb_in_a_schema_of_their_own_are_read(postgres: LocalPostgres, reader: Open) -> None:
    table = LegacyTable(postgres.create_database())
    with table.engine.begin() as connection:
        for statement in (
            "CREATE SCHEMA legacy",
            "CREATE TYPE legacy.state AS ENUM ('Running', 'Done', 'Broken')",
            "CREATE TABLE legacy.runs (id varchar(40), status legacy.state, output jsonb, error jsonb)",
            """INSERT INTO legacy.runs VALUES ('x1', 'Done', '{"n": 1.50}'), ('x2', 'Broken', NULL)""",
            """UPDATE legacy.runs SET error = '{"message": "no stock", "code": "E7"}' WHERE id = 'x2'""",
        ):
            connection.exec_driver_sql(statement)
    found = await reader(table, table="legacy.runs", statuses="broken=failed").look(["x1", "x2"])
    assert found == {"x1": Report(Status.SUCCESS, output={"n": 1.5}), "x2": failed("V1Failed", "E7: no stock")}


async def test_a_right_that_is_missing_is_waited_for(postgres: LocalPostgres, reader: Open) -> None:
    table = LegacyTable(postgres.create_database())
    with table.engine.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE reader_of_runs LOGIN PASSWORD 'canary-password'")
    login = sa.make_url(table.url).set(username="reader_of_runs", password="canary-password")
    opened = reader(table, table_database=login.render_as_string(hide_password=False))
    with pytest.raises(StoreUnavailable, match="permission denied") as caught:
        await opened.look(["x1"])
    assert "SELECT" not in str(caught.value)
    assert MASKS.text("canary-password") == "***"
    with table.engine.begin() as connection:
        connection.exec_driver_sql("GRANT SELECT ON runs TO reader_of_runs")
    assert await opened.look(["x1"]) == {}

"""PostgreSQL schemas: a configured one, one that a person made, and one that stands in the way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from orchestrator import events as e
from orchestrator.model import Engine, Status
from orchestrator.store import Control, Store, open_store
from tests.support.engine import ended, node, spec, working
from tests.support.stores import LEASE, START, submission, workflow

if TYPE_CHECKING:
    from tests.support.postgres import LocalPostgres


@pytest.fixture
def url(postgres: LocalPostgres) -> str:
    return postgres.create_database()


def run(url: str, *statements: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    engine.dispose()


def tables(url: str, schema: str) -> set[str]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        found = {*inspector.get_table_names(schema=schema), *inspector.get_view_names(schema=schema)}
    engine.dispose()
    return found


async def use(store: Store) -> None:
    """Everything that a store does, once."""
    await store.submit([submission("r1", suspended="Restored", attempt="r", ages=(1.0,), log_line="hello")], START)
    await store.control("r1", Control.CANCEL, START)
    flow = workflow(spec(node("a"), node("w", "a", type_="wait", **{"with": {"duration": "20ms"}}), node("b", "w")))
    await store.submit([submission("x1", workflow=flow), submission("v1", engine=Engine.V1)], START)
    assert [line for _, line in await store.edge_logs(START)] == ["hello"]
    async with working(store):
        records = await ended(store, ["x1", "v1", "r1"])
    assert [record.status for record in records] == [Status.SUCCESS, Status.SUCCESS, Status.CANCELLED]
    assert isinstance((await store.events("x1"))[-1].event, e.ExecutionSucceeded)
    await store.count_cohorts(START + LEASE)
    assert (await store.gauges(START, LEASE)).running[Engine.V2] == 0


async def test_everything_lives_in_the_configured_schema(url: str) -> None:
    store = await open_store(url, schema="orders_2")
    try:
        await use(store)
    finally:
        await store.close()
    assert {"workflow_executions", "workflow_checkpoints", "orchestrator_schema_version"} <= tables(url, "orders_2")
    assert tables(url, "public") == set()
    run(url, "SELECT (metadata->>'duration_ms')::numeric FROM orders_2.workflow_checkpoints")


async def test_two_schemas_of_one_database_are_two_stores(url: str) -> None:
    one, other = await open_store(url, schema="one"), await open_store(url, schema="other")
    try:
        await one.submit([submission("x1")], START)
        assert await other.get("x1") is None
        assert (await other.submit([submission("x1")], START))[0].created
    finally:
        await one.close()
        await other.close()


async def test_public_means_public_even_if_the_user_has_a_schema_of_its_own(url: str) -> None:
    run(url, "CREATE SCHEMA postgres")  # of the user's name: it comes first in PostgreSQL's search path
    store = await open_store(url)
    try:
        await use(store)
    finally:
        await store.close()
    assert tables(url, "postgres") == set()


async def test_a_schema_that_a_person_made_needs_no_right_to_make_schemas(url: str) -> None:
    run(
        url,
        "DROP ROLE IF EXISTS plain",
        "CREATE ROLE plain LOGIN",
        "CREATE SCHEMA given AUTHORIZATION plain",
    )
    store = await open_store(sa.make_url(url).set(username="plain").render_as_string(), schema="given")
    try:
        await store.submit([submission("x1")], START)
    finally:
        await store.close()
    run(url, "DROP OWNED BY plain", "DROP ROLE plain")


async def test_several_processes_may_make_the_same_schema_at_once(url: str) -> None:
    stores = await asyncio.gather(*(open_store(url, schema="shared") for _ in range(6)))
    for store in stores:
        await store.close()

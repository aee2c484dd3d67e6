"""What only databases have: a second process, migrations, views, and somebody else's tables."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from orchestrator.errors import SchemaConflict, StoreUnavailable
from orchestrator.store import open_store
from orchestrator.store.migrate import VERSION_TABLE
from orchestrator.store.tables import metadata
from orchestrator.store.views import views
from tests.support.stores import LEASE, START, append, claim_one, commit, completed, submission, workflow

if TYPE_CHECKING:
    from orchestrator.store import Store
    from tests.support.postgres import LocalPostgres


async def test_a_workflow_revision_is_known_to_a_later_process(sql_store: Store, database: str) -> None:
    await sql_store.put_workflow(workflow())
    other = await open_store(database)
    try:
        assert await other.workflow("default/chain", workflow().revision) == workflow()
        assert await other.current("default/chain") == workflow()
    finally:
        await other.close()


async def test_a_revision_put_elsewhere_becomes_the_current_one_here(sql_store: Store, database: str) -> None:
    """What is kept once needs no second look; what is current does."""
    old, new = workflow(), workflow({"nodes": [{"id": "z", "type": "transform", "with": {}}]})
    await sql_store.put_workflow(old)
    assert await sql_store.current(old.id) == old
    other = await open_store(database)
    try:
        await other.put_workflow(new)
        assert await sql_store.current(old.id) == new
        await sql_store.put_workflow(old)
        assert await other.current(old.id) == old
    finally:
        await other.close()


async def test_monitoring_views_tell_the_commit_time_of_a_checkpoint_once_it_is_known(
    sql_store: Store, database: str
) -> None:
    await sql_store.submit([submission("x1")], START)
    claim = await claim_one(sql_store)
    await commit(sql_store, claim, completed("a"))
    await commit(sql_store, claim, completed("b"), first_seq=4, timed_append=3, timed_ms=12.5)
    url = sa.make_url(database)
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        value = (
            "metadata ->> 'duration_ms'"
            if url.get_backend_name() == "sqlite"
            else "(metadata->>'duration_ms')::numeric"
        )
        rows = connection.execute(
            sa.text(f"SELECT node_id, version, {value} FROM workflow_checkpoints ORDER BY version")
        ).all()
        steps = connection.execute(sa.text("SELECT node_id, attempt, status FROM workflow_step_executions")).all()
        metrics = connection.execute(sa.text("SELECT node_id, retry_count, status FROM workflow_metrics")).all()
    engine.dispose()
    assert [(r[0], r[1], r[2] if r[2] is None else float(r[2])) for r in rows] == [("a", 3, 12.5), ("b", 4, None)]
    assert sorted(tuple(r) for r in steps) == [("a", 1, "success"), ("b", 1, "success")]
    assert sorted(tuple(r) for r in metrics) == [("a", 0, "success"), ("b", 0, "success")]


async def test_opening_again_keeps_the_epoch(sql_store: Store, database: str) -> None:
    again = await open_store(database)
    try:
        assert await again.epoch() == await sql_store.epoch()
    finally:
        await again.close()


async def test_several_processes_may_make_the_same_database_at_once(database: str) -> None:
    stores = await asyncio.gather(*(open_store(database) for _ in range(6)))
    epochs = {await store.epoch() for store in stores}
    for store in stores:
        await store.close()
    assert len(epochs) == 1


async def test_tables_that_we_did_not_make_are_not_touched(database: str) -> None:
    engine = sa.create_engine(sa.make_url(database))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE workflow_executions (id int)"))
    with pytest.raises(SchemaConflict, match="workflow_executions"):
        await open_store(database)
    with engine.begin() as connection:
        assert VERSION_TABLE not in sa.inspect(connection).get_table_names()
    engine.dispose()


async def test_the_migrations_make_exactly_the_declared_tables(sql_store: Store, database: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = sa.create_engine(sa.make_url(database))
    known = {*metadata.tables, *views("sqlite")}
    options = {"include_name": lambda name, kind, _parents: kind != "table" or name in known}
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        differences = [d for d in compare_metadata(context, metadata) if d[0] != "modify_type"]
    engine.dispose()
    assert differences == []


async def test_a_server_that_became_read_only_is_away_for_writers(postgres: LocalPostgres) -> None:
    """After a failover a connection may end at the old primary: what it refuses is not our data's fault."""
    url = postgres.create_database()
    store = await open_store(url)
    try:
        await store.submit([submission("x1")], START)
        claim = await claim_one(store)
    finally:
        await store.close()
    store = await open_store(url)
    try:
        admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            name = sa.make_url(url).database
            connection.execute(sa.text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
            connection.execute(  # so that every connection from now on is a new one
                sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid <> :own"),
                {"name": name, "own": connection.scalar(sa.text("SELECT pg_backend_pid()"))},
            )
        admin.dispose()
        with pytest.raises(StoreUnavailable):
            await store.append([append(claim, completed("a"))])
        with pytest.raises(StoreUnavailable):
            await store.renew({"x1": claim.fence}, LEASE, START)
    finally:
        await store.close()

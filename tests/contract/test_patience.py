"""A PostgreSQL that is reached and does not answer, and a client that stands still: neither is waited for for ever."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy as sa

from orchestrator.errors import StoreUnavailable
from orchestrator.model import Status
from orchestrator.store import open_store
from orchestrator.store.sql.connections import translated
from tests.support.engine import ended, working
from tests.support.postgres import plain_url
from tests.support.stores import submission

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgres import LocalPostgres


@pytest.fixture
def frozen() -> Iterator[set[int]]:
    """Processes that go on when the test is over."""
    pids: set[int] = set()
    yield pids
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def test_an_answer_that_never_comes_is_given_up_and_asked_for_anew(
    postgres: LocalPostgres, frozen: set[int]
) -> None:
    store = await open_store(database := postgres.create_database(), patience=timedelta(milliseconds=500))
    try:
        await store.submit([submission("x1")], datetime.now(UTC))
        assert len(await store.events("x1")) == 1
        assert await store.get("x1") is not None
        frozen |= await backends(database)
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        for ask in (store.events, store.get):  # the two kinds of connections
            with pytest.raises(StoreUnavailable):
                await asyncio.wait_for(ask("x1"), 60)
            assert await asyncio.wait_for(ask("x1"), 60)
    finally:
        await store.close()


async def test_a_transaction_that_stands_still_is_ended_by_the_server(postgres: LocalPostgres) -> None:
    database = postgres.create_database()
    still, store = await open_store(database, patience=timedelta(seconds=1)), await open_store(database)
    try:
        await store.submit([submission("x1")], datetime.now(UTC))
        stands_still = await still._engine.connect()  # type: ignore[attr-defined]  # PostgreSQL's store has it
        await stands_still.execute(sa.text("SELECT 1 FROM workflow_executions FOR UPDATE"))
        async with working(store):
            (record,) = await ended(store, ["x1"], within=60)
        with pytest.raises(StoreUnavailable), translated():
            await stands_still.commit()
        assert record.status is Status.SUCCESS
        await stands_still.invalidate()
        await stands_still.close()
    finally:
        await still.close()
        await store.close()


async def backends(database: str) -> set[int]:
    """The server's ends of all other connections to a database."""
    query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    async with await psycopg.AsyncConnection.connect(plain_url(database), autocommit=True) as connection:
        return {pid for (pid,) in await (await connection.execute(query)).fetchall()}

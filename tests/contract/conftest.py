"""One suite, every store: in memory, SQLite, a real PostgreSQL."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from orchestrator.faults import Moment
from orchestrator.store import open_store
from orchestrator.testing import MemoryStore, faults
from tests.support.commits import watch, watched
from tests.support.stores import empty

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from orchestrator.store import Store
    from tests.support.postgres import LocalPostgres


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which store."""
    return str(request.param)


async def make(url: str) -> None:
    await (await open_store(url)).close()


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with all its tables, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "empty.db"
    asyncio.run(make(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def shared_database(postgres: LocalPostgres) -> str:
    """The one that these tests share: to make another one takes longer than a test."""
    url = postgres.create_database()
    asyncio.run(make(url))
    watch(url)
    return url


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database with all its tables; nothing in memory."""
    if kind == "memory":
        return ""
    if kind == "sqlite":
        shutil.copyfile(request.getfixturevalue("empty_file"), tmp_path / "store.db")
        return f"sqlite:///{tmp_path / 'store.db'}"
    shared: str = request.getfixturevalue("shared_database")
    empty(shared)
    return shared


@pytest_asyncio.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """An open, empty store, of each kind in turn."""
    opened = await open_store(url) if url else MemoryStore()
    commits = watched(url) if url else None
    before = commits.count() if commits is not None else 0
    with faults.record() as reached:
        yield opened
    found = commits.count() - before if commits is not None else 0
    await opened.close()
    announced = sum(times for (_, moment), times in reached.items() if moment is Moment.BEFORE)
    assert found <= announced, f"{found} transactions wrote, {announced} were announced by orchestrator.faults.reach"


@pytest_asyncio.fixture
async def sql_store(database: str) -> AsyncIterator[Store]:
    """An open store on a database that the test may look into by itself (the fixture `database`)."""
    opened = await open_store(database)
    yield opened
    await opened.close()

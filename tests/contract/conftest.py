"""One suite, every store: in memory, SQLite, a real PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from orchestrator.store import open_store
from orchestrator.testing import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from orchestrator.store import Store
    from tests.support.postgres import LocalPostgres


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which store."""
    return str(request.param)


@pytest_asyncio.fixture
async def store(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An open, empty store, of each kind in turn."""
    if kind == "memory":
        yield MemoryStore()
        return
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'store.db'}"
    else:
        server: LocalPostgres = request.getfixturevalue("postgres")
        url = server.create_database()
    opened = await open_store(url)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def sql_store(database: str) -> AsyncIterator[Store]:
    """An open store on a database that the test may look into by itself (the fixture `database`)."""
    opened = await open_store(database)
    yield opened
    await opened.close()

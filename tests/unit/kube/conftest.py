"""An operator without a cluster: a fake API server, a real SQLite store, a clock that stands still."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from orchestrator.store import open_store
from orchestrator.testing import FakeClock
from tests.support.cluster import FakeKubernetes, Operator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from orchestrator.store import Store


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def kubernetes(clock: FakeClock) -> FakeKubernetes:
    return FakeKubernetes(clock)


@pytest_asyncio.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(str(tmp_path / "store.db"))
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def operator(kubernetes: FakeKubernetes, sqlite: Store, clock: FakeClock) -> AsyncIterator[Operator]:
    made = Operator(kubernetes, sqlite, clock)
    yield made
    await made.submissions.aclose()

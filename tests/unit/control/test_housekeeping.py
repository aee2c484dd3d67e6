"""The chores: what is dropped, what stays, and that a store which does not answer ends none of them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from orchestrator import housekeeping
from orchestrator.errors import InvalidInput, StoreUnavailable
from orchestrator.model import Engine
from orchestrator.settings import Settings
from orchestrator.testing import FakeClock, MemoryStore
from tests.support.polling import until
from tests.support.stores import LEASE, START, after, end, submission

if TYPE_CHECKING:
    from datetime import datetime


async def finished(store: MemoryStore, count: int) -> None:
    await store.submit([submission(f"x{number}") for number in range(count)], START)
    for claim in await store.claim("worker-1", Engine.V2, count, LEASE, START):
        await end(store, claim)


async def test_everything_that_ended_before_the_moment_goes_in_batches() -> None:
    store = MemoryStore()
    await finished(store, 450)
    assert await housekeeping.sweep_finished(store, after(1)) == 450
    assert await store.known([f"x{number}" for number in range(450)]) == set()


async def test_what_ended_later_stays() -> None:
    store = MemoryStore()
    await finished(store, 3)
    assert await housekeeping.sweep_finished(store, START) == 0


def test_without_a_retention_nothing_finished_is_a_chore() -> None:
    assert "finished executions dropped" not in [chore.name for chore in housekeeping.chores(None)]
    assert "finished executions dropped" in [chore.name for chore in housekeeping.chores(timedelta(days=30))]


async def test_a_store_that_does_not_answer_ends_no_chore(monkeypatch: pytest.MonkeyPatch) -> None:
    store, seen = MemoryStore(), []

    async def away(before: datetime, limit: int = 1000) -> int:
        seen.append(before)
        raise StoreUnavailable("away")

    monkeypatch.setattr(store, "drop_logs", away)
    monkeypatch.setattr(housekeeping, "_SWEEP", timedelta(milliseconds=1))
    task = asyncio.create_task(housekeeping.keep_house(store, FakeClock()))
    await until(lambda: len(seen) >= 3, "a third try")
    task.cancel()


@pytest.mark.parametrize(("text", "kept"), [("off", None), ("", None), ("30d", timedelta(days=30))])
def test_the_setting_is_a_duration_or_off(text: str, kept: timedelta | None) -> None:
    assert Settings.read({"ORCHESTRATOR_RETENTION": text}).retention == kept


@pytest.mark.parametrize("text", ["1m", "never", "0s"])
def test_a_retention_that_would_drop_what_is_still_looked_for_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="ORCHESTRATOR_RETENTION"):
        Settings.read({"ORCHESTRATOR_RETENTION": text})

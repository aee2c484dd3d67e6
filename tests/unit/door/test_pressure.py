"""The count behind 429: one for all callers, also when the store hangs or is away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from orchestrator.door.pressure import Pressure
from orchestrator.errors import StoreUnavailable
from orchestrator.store.records import Backlog
from orchestrator.testing import FakeClock

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.store import Store


class Counting:
    """The one question that is asked of the store; it answers when `go` is set."""

    def __init__(self, *failures: Exception) -> None:
        self.asked, self.failures, self.go = 0, list(failures), asyncio.Event()

    async def backlog(self, _now: datetime, _most: int) -> Backlog:
        self.asked += 1
        await self.go.wait()
        if self.failures:
            raise self.failures.pop(0)
        return Backlog(0, None)


def pressure(store: Counting, deadline: float = 60) -> Pressure:
    return Pressure(cast("Store", store), FakeClock(), 10, lambda: 100.0, deadline)


async def test_callers_share_one_count() -> None:
    store = Counting()
    shared = pressure(store)
    callers = [asyncio.create_task(shared.retry_after()) for _ in range(5)]
    await asyncio.sleep(0)
    store.go.set()
    assert (await asyncio.gather(*callers), await shared.retry_after(), store.asked) == ([None] * 5, None, 1)


async def test_a_store_that_hangs_holds_all_callers_for_one_deadline() -> None:
    """Not each of them in turn: the last of many would wait for minutes."""
    store = Counting()
    shared = pressure(store, deadline=0.05)
    answers = await asyncio.gather(*(shared.retry_after() for _ in range(50)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {StoreUnavailable}
    with pytest.raises(StoreUnavailable, match=r"not counted within 0\.05 s"):
        await shared.retry_after()  # what is known to be away is not asked again at once
    assert store.asked == 1


async def test_a_store_that_is_away_is_asked_again_after_a_moment_and_not_before() -> None:
    store = Counting(StoreUnavailable("the cable is out"))
    store.go.set()
    shared = pressure(store)
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="the cable is out"):
            await shared.retry_after()
    shared._counted_at = 0.0  # a quarter of a second has passed
    assert (await shared.retry_after(), store.asked) == (None, 2)


async def test_who_hangs_up_does_not_end_the_count_of_the_others() -> None:
    store = Counting()
    shared = pressure(store)
    first, second = (asyncio.create_task(shared.retry_after()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    store.go.set()
    assert (await second, store.asked) == (None, 1)


async def test_at_the_end_of_the_process_nothing_is_counted_any_more() -> None:
    shared = pressure(Counting())
    caller = asyncio.create_task(shared.retry_after())
    await asyncio.sleep(0)
    await shared.aclose()
    with pytest.raises(asyncio.CancelledError):
        await caller

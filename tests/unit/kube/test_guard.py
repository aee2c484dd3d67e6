"""The border between one object's trouble and everybody's."""

from __future__ import annotations

import asyncio

import pytest
from orchestrator_operator.adapters.kubernetes import NotFound
from orchestrator_operator.handlers.guard import Guard
from orchestrator_operator.specs import EXECUTIONS

from orchestrator.errors import StoreUnavailable


class Recorder:
    """A handler that fails as it is told."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures, self.calls, self.quarantined = list(failures), 0, list[str]()
        self.inside = self.most = 0
        self.well = asyncio.Event()

    async def handle(self) -> None:
        self.calls += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(0)
        self.inside -= 1
        if self.failures:
            raise self.failures.pop(0)
        self.well.set()

    async def quarantine(self, why: str) -> None:
        self.quarantined.append(why)


async def test_a_defect_is_quarantined_and_not_raised() -> None:
    one = Recorder(ZeroDivisionError("oops"))
    await Guard().call(EXECUTIONS, "k", one.handle, one.quarantine)
    assert one.quarantined == ["ZeroDivisionError: oops"]


async def test_a_quarantine_that_fails_is_not_raised_either() -> None:
    one = Recorder(ZeroDivisionError())

    async def broken(_: str) -> None:
        raise RuntimeError("worse")

    await Guard().call(EXECUTIONS, "k", one.handle, broken)
    assert one.calls == 1


async def test_a_deleted_object_is_left_alone() -> None:
    one = Recorder(NotFound("gone"))
    guard = Guard()
    await guard.call(EXECUTIONS, "k", one.handle, one.quarantine)
    assert (one.quarantined, guard._again) == ([], {})


async def test_a_store_that_is_away_is_tried_again_until_it_is_back() -> None:
    one, guard = Recorder(StoreUnavailable("away"), StoreUnavailable("away")), Guard()
    await guard.call(EXECUTIONS, "k", one.handle, one.quarantine)
    loop = asyncio.create_task(guard.run())
    async with asyncio.timeout(20):
        await one.well.wait()
    loop.cancel()
    assert (one.calls, one.quarantined) == (3, [])


async def test_a_newer_success_ends_the_repeating() -> None:
    one, two, guard = Recorder(StoreUnavailable("away")), Recorder(), Guard()
    await guard.call(EXECUTIONS, "k", one.handle, one.quarantine)
    await guard.call(EXECUTIONS, "k", two.handle, two.quarantine)
    assert guard._again == {}


async def test_one_object_is_handled_by_one_at_a_time_and_others_beside_it() -> None:
    one, other, guard = Recorder(), Recorder(), Guard()
    calls = [guard.call(EXECUTIONS, "k", one.handle, one.quarantine) for _ in range(5)]
    await asyncio.gather(*calls, guard.call(EXECUTIONS, "l", other.handle, other.quarantine))
    assert (one.calls, one.most, other.calls) == (5, 1, 1)
    assert guard._locks == {}


async def test_a_cancellation_passes() -> None:
    one = Recorder(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await Guard().call(EXECUTIONS, "k", one.handle, one.quarantine)
    assert one.quarantined == []

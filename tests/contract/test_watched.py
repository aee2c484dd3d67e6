"""Watches on V1 executions that run elsewhere, on every store: one worker posts, any end counts once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.errors import InvalidPayload
from orchestrator.model import Engine, Failure, Status
from orchestrator.store import Control, Store
from orchestrator.store.records import V1_GRACE
from orchestrator.store.sql.watched import End, Ended, Note, Noted, Watched, WatchStore
from tests.support.stores import LEASE, START, submission

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.store import ExecutionRecord
    from orchestrator.store.sql.watched import Watch

HOUR = timedelta(hours=1)


@pytest.fixture
def watches(store: Store) -> WatchStore:
    if not isinstance(store, Watched):
        pytest.skip("V1 behind HTTP runs on databases only: this store keeps no watches")
    return store


def later(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


async def submit(store: Store, *ids: str, **changes: Any) -> None:
    await store.submit([submission(id_, **({"engine": Engine.V1} | changes)) for id_ in ids], START)


async def take(watches: WatchStore, at: datetime = START, owner: str = "me", limit: int = 10) -> list[Watch]:
    return await watches.watch(owner, limit, LEASE, HOUR, at)


async def record_of(store: Store, id_: str) -> ExecutionRecord:
    record = await store.get(id_)
    assert record is not None
    return record


def end(id_: str, status: Status = Status.SUCCESS, at: datetime = START, output: Any = None) -> End:
    failure = Failure("V1Failed", "no") if status is Status.FAILED else None
    return End(id_, status, at, output, failure)


async def test_pending_executions_are_taken_once_oldest_first(watches: WatchStore) -> None:
    for second, id_ in enumerate(("c", "a", "b")):
        await watches.submit([submission(id_, engine=Engine.V1)], later(second))
    await submit(watches, "v2", engine=Engine.V2)
    taken = await take(watches, later(10), limit=2)
    assert [watch.claim.id for watch in taken] == ["c", "a"]
    assert [(w.claim.begun, w.posted, w.started_at, w.deadline) for w in taken] == [
        (True, False, later(10), later(10) + HOUR)
    ] * 2
    assert taken[0].claim.input == {"n": 1}
    assert [watch.claim.id for watch in await take(watches, later(10))] == ["b"]
    assert await take(watches, later(10)) == []
    assert (await record_of(watches, "c")).status is Status.RUNNING


async def test_takers_at_once_never_share_one(watches: WatchStore) -> None:
    ids = [f"x{i}" for i in range(30)]
    await submit(watches, *ids)
    taken = await asyncio.gather(*(take(watches, owner=f"w{i}") for i in range(5)))
    assert sorted(watch.claim.id for some in taken for watch in some) == sorted(ids)


async def test_a_watch_that_ended_is_taken_over_with_its_deadline(watches: WatchStore) -> None:
    await submit(watches, "x1")
    (first,) = await take(watches)
    assert await take(watches, later(14)) == []
    (second,) = await take(watches, later(16), owner="other")
    assert second.claim.fence > first.claim.fence
    assert (second.claim.begun, second.started_at, second.deadline) == (False, START, START + HOUR)


async def test_a_renewed_watch_is_not_taken_over(watches: WatchStore) -> None:
    await submit(watches, "x1")
    (watch,) = await take(watches)
    assert await watches.watch_on({"x1": watch.claim.fence}, LEASE, later(14)) == {"x1": False}
    assert await take(watches, later(16)) == []


async def test_a_lost_watch_is_not_renewed_and_notes_nothing(watches: WatchStore) -> None:
    await submit(watches, "x1")
    (first,) = await take(watches)
    (second,) = await take(watches, later(16))
    assert await watches.watch_on({"x1": first.claim.fence}, LEASE, later(17)) == {}
    assert await watches.watch_note([Note("x1", first.claim.fence, "a")]) == [Noted(held=False, cancel_requested=False)]
    assert not (await take(watches, later(40)))[0].posted
    assert second.claim.fence != first.claim.fence


async def test_what_was_noted_counts_as_posted(watches: WatchStore) -> None:
    await submit(watches, "x1", "x2")
    fences = {watch.claim.id: watch.claim.fence for watch in await take(watches)}
    noted = await watches.watch_note([Note("x1", fences["x1"], "b"), Note("gone", 1, "b")])
    assert noted == [Noted(held=True, cancel_requested=False), Noted(held=False, cancel_requested=False)]
    assert {watch.claim.id: watch.posted for watch in await take(watches, later(16))} == {"x1": True, "x2": False}
    assert (await record_of(watches, "x1")).current_node == "b"


async def test_a_cancel_is_told_to_whoever_watches(watches: WatchStore) -> None:
    await submit(watches, "x1")
    (watch,) = await take(watches)
    await watches.control("x1", Control.CANCEL, START)
    fence = watch.claim.fence
    assert await watches.watch_note([Note("x1", fence, "a")]) == [Noted(held=True, cancel_requested=True)]
    assert await watches.watch_on({"x1": fence}, LEASE, START) == {"x1": True}
    assert (await take(watches, later(16)))[0].cancel_requested
    assert (await record_of(watches, "x1")).status is Status.RUNNING


async def test_a_cancel_waits_for_the_next_watcher_when_the_first_one_died(watches: WatchStore) -> None:
    await submit(watches, "x1")
    await take(watches)
    assert await watches.control("x1", Control.CANCEL, later(1))
    (again,) = await take(watches, later(16), owner="other")
    assert (again.claim.id, again.cancel_requested) == ("x1", True)


async def test_a_cancel_ends_what_nobody_watches_any_more_and_whose_time_is_over(watches: WatchStore) -> None:
    await submit(watches, "x1", "x2")
    fences = {watch.claim.id: watch.claim.fence for watch in await take(watches)}
    late = START + HOUR + V1_GRACE + timedelta(seconds=1)
    assert await watches.watch_on({"x2": fences["x2"]}, LEASE, late)  # somebody asks the legacy engine still
    assert [await watches.control(id_, Control.CANCEL, late) for id_ in ("x1", "x2")] == [True, True]
    assert [(await record_of(watches, id_)).status for id_ in ("x1", "x2")] == [Status.CANCELLED, Status.RUNNING]


async def test_the_first_end_is_final_whoever_watches(watches: WatchStore) -> None:
    await submit(watches, "x1")
    await take(watches)
    first = end("x1", output={"n": [1, "ü", None]}, at=later(5))
    other = end("x1", Status.FAILED, at=later(6))
    assert await watches.watch_end([first, other]) == [
        Ended(ours=True, status=Status.SUCCESS, started_at=START),
        Ended(ours=False, status=Status.SUCCESS, started_at=START),
    ]
    before = await record_of(watches, "x1")
    assert await watches.watch_end([other]) == [Ended(ours=False, status=Status.SUCCESS, started_at=START)]
    assert await record_of(watches, "x1") == before
    assert (before.output, before.failure, before.finished_at) == (first.output, None, later(5))
    assert (before.done, before.due_at) == (before.total, None)


async def test_a_repeated_end_is_recognised(watches: WatchStore) -> None:
    """The answer to the first may have been lost."""
    await submit(watches, "x1")
    await take(watches)
    failed = end("x1", Status.FAILED, at=later(5) + timedelta(microseconds=123))
    assert await watches.watch_end([failed]) == await watches.watch_end([failed])
    record = await record_of(watches, "x1")
    assert (record.status, record.failure, record.done) == (Status.FAILED, failed.failure, 0)


async def test_an_end_is_for_running_v1_executions_only(watches: WatchStore) -> None:
    await submit(watches, "pending")
    await submit(watches, "v2", engine=Engine.V2)
    await watches.claim("me", Engine.V2, 10, LEASE, START)
    answers = await watches.watch_end([end("pending"), end("v2"), end("unknown")])
    assert [answer.ours for answer in answers] == [False, False, False]
    assert [answer.status for answer in answers] == [Status.PENDING, Status.RUNNING, None]
    assert (await record_of(watches, "v2")).status is Status.RUNNING


@pytest.mark.parametrize("output", ["a\x00b", "\ud800", float("nan")])
async def test_an_output_that_no_store_keeps_is_refused_and_changes_nothing(watches: WatchStore, output: Any) -> None:
    await submit(watches, "x1", "x2")
    await take(watches)
    with pytest.raises(InvalidPayload):
        await watches.watch_end([end("x1"), end("x2", output=output)])
    assert (await record_of(watches, "x1")).status is Status.RUNNING


async def test_an_ended_execution_is_watched_by_nobody(watches: WatchStore) -> None:
    await submit(watches, "x1")
    (watch,) = await take(watches)
    await watches.watch_end([end("x1")])
    fence = watch.claim.fence
    assert await watches.watch_on({"x1": fence}, LEASE, START) == {}
    assert await watches.watch_note([Note("x1", fence, "b")]) == [Noted(held=False, cancel_requested=False)]
    await watches.watch_off({"x1": fence}, START)
    assert await take(watches, later(3600)) == []


async def test_what_was_let_go_is_taken_at_once(watches: WatchStore) -> None:
    await submit(watches, "x1")
    (watch,) = await take(watches)
    await watches.watch_off({"x1": watch.claim.fence - 1}, START)  # not ours
    assert await take(watches, later(1)) == []
    await watches.watch_off({"x1": watch.claim.fence}, later(1))
    assert await watches.watch_on({"x1": watch.claim.fence}, LEASE, later(1)) == {}
    assert [w.claim.id for w in await take(watches, later(1), owner="other")] == ["x1"]


async def test_the_built_in_v1s_executions_are_left_alone(watches: WatchStore) -> None:
    await submit(watches, "x1")
    await watches.claim("builtin", Engine.V1, 10, LEASE, START)
    assert await take(watches, later(100_000)) == []


async def test_a_cancelled_caller_leaves_no_lock_behind(watches: WatchStore) -> None:
    await submit(watches, "x1")
    (watch,) = await take(watches)
    held = {"x1": watch.claim.fence}
    for turn in range(72):  # cancelled wherever it may wait
        call = asyncio.ensure_future(watches.watch_on(held, LEASE, START))
        await asyncio.sleep(turn % 24 * 0.00025)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        async with asyncio.timeout(10):
            assert await watches.watch_on(held, LEASE, START) == {"x1": False}

"""Appends: all of it or nothing, once, and only by the owner."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator import events as e
from orchestrator.errors import InvalidPayload
from orchestrator.model import Engine, Failure, Status
from orchestrator.store import Control, Outcome, Release, Store, codec
from tests.support.stores import (
    LEASE,
    START,
    after,
    append,
    claim_one,
    commit,
    completed,
    end,
    kinds,
    projection,
    row,
    submission,
)


async def test_an_append_commits_events_and_row_together(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    failure = Failure("HttpStatus", "503", retryable=True, node="b", status=503)
    wanted = projection(current_node="b", done=1, retries=2, output={"y": [1]}, failure=failure)
    await commit(store, claim, completed("a", {"x": 1}), projection=wanted, step_deadline=after(9))
    record = await row(store)
    assert (record.status, record.current_node, record.done, record.retries) == (Status.RUNNING, "b", 1, 2)
    assert (record.output, record.failure, record.seq, record.step_deadline) == ({"y": [1]}, failure, 3, after(9))
    assert (await kinds(store))[2:] == ["StepCompleted"]


async def test_events_are_read_back_as_they_were(store: Store) -> None:
    await store.submit([submission("x1")], START)
    event = completed("a", {"x": [1, None, "é\u2028"]}, after(0.000001), item="k/1", undo=True, signal=4)
    await commit(store, await claim_one(store), event)
    recorded = (await store.events("x1"))[-1]
    assert (recorded.event, recorded.seq, recorded.schema_version) == (event, 3, e.SCHEMA_VERSION)


async def test_only_the_events_after_a_place_are_read(store: Store) -> None:
    await store.submit([submission("x1")], START)
    await commit(store, await claim_one(store), completed("a"), completed("b"))
    assert [recorded.seq for recorded in await store.events("x1", after=2)] == [3, 4]
    assert await store.events("x1", after=4) == []


async def test_an_append_tells_what_the_one_before_it_took(store: Store) -> None:
    await store.submit([submission("x1")], START)
    events = (completed("a"), completed("b"))
    await commit(store, await claim_one(store), *events, timed_append=2, timed_ms=12.5)
    timed = [(recorded.timed_append, recorded.timed_ms) for recorded in await store.events("x1")]
    assert timed == [(None, None), (None, None), (2, 12.5), (None, None)]


async def test_the_same_append_again_is_recognised(store: Store) -> None:
    await store.submit([submission("x1")], START)
    same = append(await claim_one(store), completed("a"))
    await store.append([same])
    assert await store.append([same]) == [Outcome.COMMITTED]
    assert [r.seq for r in await store.events("x1")] == [1, 2, 3]


async def test_the_same_append_again_is_recognised_after_a_request_was_recorded(store: Store) -> None:
    await store.submit([submission("x1")], START)
    same = append(await claim_one(store), completed("a"))
    await store.append([same])
    await store.control("x1", Control.CANCEL, START)
    assert await store.append([same]) == [Outcome.COMMITTED]
    assert len(await store.events("x1")) == 4


async def test_the_same_append_again_is_recognised_after_another_worker_claimed_it(store: Store) -> None:
    await store.submit([submission("x1")], START)
    same = append(await claim_one(store), completed("a"))
    await store.append([same])
    await claim_one(store, at=START + LEASE, owner="worker-2")
    assert await store.append([same]) == [Outcome.COMMITTED]
    assert len(await store.events("x1")) == 3


async def test_a_worker_that_lost_its_lease_can_change_nothing(store: Store) -> None:
    await store.submit([submission("x1")], START)
    zombie = await claim_one(store)
    await claim_one(store, at=START + LEASE, owner="worker-2")
    before = await row(store)
    assert await store.append([append(zombie, completed("a"))]) == [Outcome.FENCED]
    assert (await row(store), len(await store.events("x1"))) == (before, 2)


async def test_a_zombie_is_told_so_although_a_request_was_recorded(store: Store) -> None:
    await store.submit([submission("x1")], START)
    zombie = await claim_one(store)
    await claim_one(store, at=START + LEASE, owner="worker-2")
    await store.control("x1", Control.CANCEL, START)
    assert await store.append([append(zombie, completed("a"))]) == [Outcome.FENCED]


@pytest.mark.parametrize("zombie_first", [True, False])
async def test_a_zombie_in_the_same_flush_as_its_successor_changes_nothing(store: Store, zombie_first: bool) -> None:
    await store.submit([submission("x1")], START)
    late = append(await claim_one(store), completed("a", "zombie"))
    good = append(await claim_one(store, at=START + LEASE, owner="worker-2"), completed("a", "successor"))
    wanted = [Outcome.FENCED, Outcome.COMMITTED]
    batch = [late, good]
    outcomes = await store.append(batch if zombie_first else batch[::-1])
    assert outcomes == (wanted if zombie_first else wanted[::-1])
    assert [r.event.output for r in await store.events("x1") if isinstance(r.event, e.StepCompleted)] == ["successor"]


async def test_a_request_recorded_meanwhile_makes_an_append_stale_not_lost(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    assert await store.control("x1", Control.CANCEL, START)
    assert await store.append([append(claim, completed("a"))]) == [Outcome.STALE]
    assert await store.append([append(claim, completed("a"), first_seq=4)]) == [Outcome.COMMITTED]
    assert [r.seq for r in await store.events("x1")] == [1, 2, 3, 4]


async def test_an_append_to_nobody_is_refused(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    assert await store.append([append(replace(claim, id="nobody"), completed("a"))]) == [Outcome.FENCED]


async def test_the_outcomes_of_a_batch_keep_its_order(store: Store) -> None:
    ids = ["x3", "x1", "x2"]
    await store.submit([submission(id_) for id_ in ids], START)
    claims = {claim.id: claim for claim in await store.claim("w", Engine.V2, 10, LEASE, START)}
    await store.control("x1", Control.CANCEL, START)
    await store.release({"x2": Release(claims["x2"].fence, 2, START)}, START)
    await claim_one(store, "x2")
    outcomes = await store.append([append(claims[id_], completed("a")) for id_ in ids])
    assert outcomes == [Outcome.COMMITTED, Outcome.STALE, Outcome.FENCED]


async def test_an_append_leaves_its_lease_as_it_is(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    await store.renew({"x1": claim.fence}, LEASE, START + LEASE / 2)
    await commit(store, claim, completed("a"))
    record = await row(store)
    assert (record.owner, record.due_at) == ("worker-1", START + 1.5 * LEASE)


async def test_an_append_that_lets_go_says_when_it_is_due(store: Store) -> None:
    await store.submit([submission("x1")], START)
    waiting = projection(Status.WAITING)
    until = after(3600)
    await commit(
        store, await claim_one(store), e.ExecutionWaiting(START), projection=waiting, release=True, due_at=until
    )
    record = await row(store)
    assert (record.owner, record.due_at, record.status) == (None, until, Status.WAITING)
    assert await store.claim("w", Engine.V2, 10, LEASE, after(3599)) == []
    assert len(await store.claim("w", Engine.V2, 10, LEASE, until)) == 1


@pytest.mark.parametrize("status", [Status.SUCCESS, Status.FAILED, Status.CANCELLED])
async def test_what_is_over_is_never_claimed_again(store: Store, status: Status) -> None:
    await store.submit([submission("x1")], START)
    await end(store, await claim_one(store), status)
    record = await row(store)
    assert (record.status, record.finished_at, record.owner) == (status, START, None)
    assert await store.claim("w", Engine.V2, 10, LEASE, START + timedelta(days=1)) == []


async def test_the_end_is_final_whoever_appends(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    await end(store, claim)
    assert await store.append([append(claim, completed("a"), first_seq=4)]) == [Outcome.STALE]
    assert (await kinds(store))[-1] == "ExecutionCancelled"


async def test_events_of_one_append_bear_the_number_of_its_first(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    await commit(store, claim, completed("a"), completed("b"))
    await commit(store, claim, e.ExecutionWaiting(START), first_seq=5)
    assert [recorded.append_seq for recorded in await store.events("x1")] == [1, 2, 3, 3, 5]


async def test_every_append_is_a_new_version_for_readers(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    before = (await row(store)).version
    await commit(store, claim, completed("a"))
    assert (await row(store)).version > before


async def test_the_texts_handed_in_are_what_is_stored(store: Store) -> None:
    """They are made and checked once, where they are made; the store does not make them again."""
    await store.submit([submission("x1")], START)
    event = completed("a", {"x": 1})
    other = completed("a", {"x": 2})
    await commit(store, await claim_one(store), event, data=(codec.encode(other),))
    assert (await store.events("x1"))[-1].event == other


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "a\x00b", "\ud800", {"k\x00": 1}, {1, 2}, b"bytes"])
def test_a_value_that_no_store_can_keep_is_refused_where_its_text_is_made(value: object) -> None:
    with pytest.raises(InvalidPayload):
        codec.encode(completed("a", value))


@pytest.mark.parametrize("value", [float("nan"), "a\x00b", "\ud800"])
async def test_an_output_that_no_store_can_keep_is_refused_as_a_whole(store: Store, value: object) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    with pytest.raises(InvalidPayload):
        await store.append([append(claim, completed("a"), projection=projection(output=value))])
    assert len(await store.events("x1")) == 2


@pytest.mark.parametrize("value", [float("nan"), "a\x00b", "\ud800"])
async def test_an_input_that_no_store_can_keep_is_refused(store: Store, value: object) -> None:
    with pytest.raises(InvalidPayload, match="input"):
        await store.submit([submission("x1", input={"n": value})], START)
    assert await store.get("x1") is None


@pytest.mark.parametrize("value", ["a\\u0000b", "\\ud800", "\U0001f600", "\x01", "\x7f", "a\u2028b", "é" * 1000])
async def test_texts_that_only_look_dangerous_are_kept(store: Store, value: str) -> None:
    await store.submit([submission("x1", input={"n": value})], START)
    await commit(store, await claim_one(store), completed("a", {value: value}), projection=projection(output=value))
    last = (await store.events("x1"))[-1].event
    assert isinstance(last, e.StepCompleted)
    assert (last.output, (await row(store)).output) == ({value: value}, value)


@pytest.mark.parametrize("value", [2**53 - 1, -(2**53) + 1, 0.1, 1e22, 5e-324, -0.0, 12345678901234567890])
async def test_numbers_come_back_as_they_were(store: Store, value: float) -> None:
    await store.submit([submission("x1")], START)
    await commit(store, await claim_one(store), completed("a", value))
    last = (await store.events("x1"))[-1].event
    assert isinstance(last, e.StepCompleted)
    assert last.output == value

"""How V1 did before a rollout and does now, what started on V2 late, and the bins of a user's own counters."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from orchestrator.model import Assignment, Engine, Lineage, Status
from orchestrator.store import Baseline, Control, Ended, KeptBin, Store
from tests.support.stores import START, after, claim_one, end, submission, v1_ends, workflow

V1 = {"engine": Engine.V1}
CHAIN, OTHER = "default/chain", "default/other"


async def ran(store: Store, seconds: dict[str, float], status: Status = Status.SUCCESS, **fields: object) -> None:
    """Executions of V1 that were submitted at START and ended so many seconds later."""
    await store.submit([submission(id_, **V1 | fields) for id_ in seconds], START)
    await v1_ends(store, seconds, status)


async def test_the_95th_percentile_is_that_of_the_nearest_rank(store: Store) -> None:
    await ran(store, {f"v{i}": i / 8 for i in range(1, 31)})
    await store.take_baselines("r-1", START, after(60))
    assert await store.baselines("r-1") == [Baseline(CHAIN, 30, 0, 29 / 8)]  # ⌈28.5⌉ of 30


async def test_each_workflow_has_a_baseline_of_its_own_with_its_failures(store: Store) -> None:
    await ran(store, {"a": 1.0, "b": 2.0})
    await ran(store, {"c": 3.0}, Status.FAILED)
    await ran(store, {"d": 4.0}, workflow=workflow(name="other"))
    await store.take_baselines("r-1", START, after(60))
    assert await store.baselines("r-1") == [Baseline(CHAIN, 3, 1, 3.0), Baseline(OTHER, 1, 0, 4.0)]


async def test_only_v1_s_own_ends_within_the_time_are_measured(store: Store) -> None:
    await ran(store, {"measured": 10.0, "too-soon": 9.0, "too-late": 20.0})
    await ran(store, {"asked-for": 15.0}, assignment=Assignment.EXPLICIT)
    await ran(store, {"child": 15.0}, parent="p")
    await ran(store, {"fork": 15.0}, lineage=Lineage("x0", 1, "x0"))
    await ran(store, {"cancelled": 15.0}, Status.CANCELLED)
    await store.submit([submission("unfinished", **V1), submission("x1")], START)
    await end(store, await claim_one(store), Status.SUCCESS, after(15))
    await store.take_baselines("r-1", after(10), after(20))
    assert await store.baselines("r-1") == [Baseline(CHAIN, 1, 0, 10.0)]


async def test_baselines_that_were_not_taken_are_told_from_those_that_found_nothing(store: Store) -> None:
    assert await store.baselines("r-1") is None
    await store.take_baselines("r-1", START, after(60))
    assert await store.baselines("r-1") == []
    assert await store.baselines("r-2") is None


async def test_the_baselines_that_were_taken_first_stay(store: Store) -> None:
    await store.take_baselines("r-1", START, after(60))
    await ran(store, {"v": 1.0})
    await store.take_baselines("r-1", START, after(60))
    assert await store.baselines("r-1") == []


async def test_of_two_that_take_baselines_at_once_one_is_kept_whole(store: Store) -> None:
    await ran(store, {"a": 1.0})
    await ran(store, {"b": 2.0}, workflow=workflow(name="other"))
    await asyncio.gather(
        store.take_baselines("r-1", START, after(1.5)), store.take_baselines("r-1", after(1.5), after(9))
    )
    assert await store.baselines("r-1") in ([Baseline(CHAIN, 1, 0, 1.0)], [Baseline(OTHER, 1, 0, 2.0)])


@pytest.mark.parametrize("engine", Engine)
async def test_what_an_engine_ended_since_then_is_counted_by_workflow(store: Store, engine: Engine) -> None:
    await ran(store, {"a": 10.0, "b": 20.0, "c": 9.0})
    await ran(store, {"d": 10.0}, Status.FAILED)
    await ran(store, {"e": 10.0}, Status.FAILED, workflow=workflow(name="other"))
    expected = {Engine.V1: [Ended(CHAIN, 3, 1), Ended(OTHER, 1, 1)], Engine.V2: []}
    assert await store.ended(engine, after(10)) == expected[engine]


async def test_only_what_the_router_sent_counts_as_a_start(store: Store) -> None:
    at = after(60)
    await store.submit([submission("too-soon")], at - timedelta(milliseconds=1))
    routed = [submission("coin"), submission("key", assignment=Assignment.KEY)]
    others = [
        submission("asked-for", assignment=Assignment.EXPLICIT),
        submission("child", parent="p"),
        submission("fork", lineage=Lineage("x0", 1, "x0")),
        submission("v1", **V1),
    ]
    await store.submit([*routed, *others], at)
    await store.control("key", Control.CANCEL, at)  # it was started all the same
    assert await store.routed_since(Engine.V2, at) == 2


# -- bins


def a_bin(number: int, k2: float = 1.0) -> KeptBin:
    return KeptBin(number, after(60 * number), 1.5, 30.0, k2, 2.0)


async def test_bins_are_read_back_in_order_from_the_one_that_is_asked_for(store: Store) -> None:
    await store.save_bins("r-1", "refunds", [a_bin(0), a_bin(1)])
    await store.save_bins("r-1", "refunds", [a_bin(2), a_bin(10)])
    assert await store.bins("r-1", "refunds") == [a_bin(0), a_bin(1), a_bin(2), a_bin(10)]
    assert await store.bins("r-1", "refunds", 2) == [a_bin(2), a_bin(10)]


async def test_bins_beside_those_that_were_kept_first_are_not_kept(store: Store) -> None:
    """Another operator went on from the same bin: its bins and these lie across each other."""
    await store.save_bins("r-1", "refunds", [a_bin(0)])
    await store.save_bins("r-1", "refunds", [a_bin(0, k2=9.0), a_bin(1)])
    assert await store.bins("r-1", "refunds") == [a_bin(0)]
    await store.save_bins("r-1", "refunds", [a_bin(1), a_bin(2)])
    assert await store.bins("r-1", "refunds") == [a_bin(0), a_bin(1), a_bin(2)]


async def test_of_two_that_keep_bins_at_once_one_s_are_kept_whole(store: Store) -> None:
    ours, theirs = [a_bin(0), a_bin(1)], [a_bin(0, k2=9.0), a_bin(1, k2=9.0), a_bin(2, k2=9.0)]
    await asyncio.gather(store.save_bins("r-1", "refunds", ours), store.save_bins("r-1", "refunds", theirs))
    assert await store.bins("r-1", "refunds") in (ours, theirs)


async def test_bins_of_other_attempts_and_criteria_are_apart(store: Store) -> None:
    await store.save_bins("r-1", "refunds", [a_bin(0)])
    assert await store.bins("r-2", "refunds") == await store.bins("r-1", "other") == []
    await store.save_bins("r-1", "refunds", [])
    assert await store.bins("r-1", "refunds") == [a_bin(0)]

"""What is deleted in the end, some at a time, and what stays for now."""

from __future__ import annotations

from datetime import timedelta

from orchestrator.housekeeping import LOGS_KEPT, sweep_logs
from orchestrator.model import Engine, Status
from orchestrator.store import Control, Filter, KeptBin, Store, Totals
from tests.support.stores import START, after, claim_one, end, row, submission

LATER = START + timedelta(days=30)


async def over(store: Store, *ids: str, seconds: float = 0, **fields: object) -> None:
    for id_ in ids:
        await store.submit([submission(id_, **fields)], after(seconds))
        await end(store, await claim_one(store, id_, at=after(seconds)), at=after(seconds))


async def test_what_ended_long_ago_is_deleted_with_its_events(store: Store) -> None:
    await over(store, "x1")
    assert await store.drop_finished(LATER) == 1
    assert (await store.get("x1"), await store.events("x1")) == (None, [])


async def test_what_ended_since_then_stays(store: Store) -> None:
    await over(store, "x1", seconds=1)
    await over(store, "x2", seconds=2)
    assert await store.drop_finished(after(2)) == 1
    assert await store.known(["x1", "x2"]) == {"x2"}


async def test_what_is_not_over_stays(store: Store) -> None:
    await store.submit([submission("x1"), submission("x2", suspended="Restored")], START)
    await claim_one(store)
    assert await store.drop_finished(LATER) == 0


async def test_v1_is_deleted_alike(store: Store) -> None:
    await store.submit([submission("x1", engine=Engine.V1)], START)
    await store.control("x1", Control.CANCEL, START)
    assert await store.drop_finished(LATER) == 1
    assert await store.get("x1") is None


async def test_it_goes_on_where_it_was_interrupted(store: Store) -> None:
    await over(store, *(f"x{i}" for i in range(5)))
    assert [await store.drop_finished(LATER, limit=2) for _ in range(4)] == [2, 2, 1, 0]
    assert await store.executions(Filter()) == []


async def test_a_child_stays_while_its_parent_goes_on(store: Store) -> None:
    await store.submit([submission("p")], START)
    parent = await claim_one(store, "p")
    await over(store, "c", parent="p")
    assert await store.drop_finished(LATER) == 0
    await end(store, parent)
    while await store.drop_finished(LATER):
        pass
    assert await store.known(["p", "c"]) == set()


async def test_a_child_whose_parent_is_gone_is_deleted(store: Store) -> None:
    await over(store, "c", parent="gone")
    assert await store.drop_finished(LATER) == 1


async def test_children_that_stay_do_not_keep_others(store: Store) -> None:
    """However many must stay, the sweep gets past them."""
    await store.submit([submission("p")], START)
    parent = await claim_one(store, "p")
    await over(store, *(f"c{i}" for i in range(5)), parent="p")
    await over(store, "x1", seconds=1)
    assert await store.drop_finished(LATER, limit=2) == 1
    assert await store.get("x1") is None
    assert parent.id == "p"


async def test_what_a_resource_does_not_say_yet_stays(store: Store) -> None:
    await over(store, "x1", name="one")
    assert await store.drop_finished(LATER) == 0
    record = await row(store)
    await store.written({"x1": (record.version, record.status)}, START)
    assert await store.drop_finished(LATER) == 1


async def test_evidence_that_was_not_counted_yet_stays(store: Store) -> None:
    await over(store, "x1", attempt="r-1", ages=(60.0,), percent="5")
    assert await store.drop_finished(LATER) == 0
    await store.count_cohorts(after(60))
    assert await store.drop_finished(LATER) == 1


async def test_an_id_that_was_deleted_is_free_again(store: Store) -> None:
    await over(store, "x1", idempotency_key="k")
    await store.drop_finished(LATER)
    (answer,) = await store.submit([submission("x1", idempotency_key="k")], LATER)
    assert answer.created
    assert (await row(store)).status is Status.PENDING


async def test_log_lines_are_kept_for_a_bounded_time(store: Store) -> None:
    later = START + LOGS_KEPT
    await store.log_edge([f"old {i}" for i in range(2500)], START - timedelta(seconds=1))
    await store.log_edge(["young"], START)
    assert await sweep_logs(store, later) == 2500
    assert [line for _, line in await store.edge_logs(START - timedelta(days=1))] == ["young"]
    assert await sweep_logs(store, later) == 0


async def test_the_newest_log_lines_come_first(store: Store) -> None:
    await store.log_edge(["one", "two"], START)
    await store.log_edge(["three"], after(1))
    assert await store.edge_logs(START, limit=2) == [(after(1), "three"), (START, "two")]


async def test_log_lines_are_found_by_what_they_contain(store: Store) -> None:
    await store.log_edge(["100%", "1000", "a_b", "axb"], START)
    assert [line for _, line in await store.edge_logs(START, contains="0%")] == ["100%"]
    assert [line for _, line in await store.edge_logs(START, contains="a_b")] == ["a_b"]


# -- the evidence of rollouts that are gone


async def keep_evidence(store: Store, attempt: str) -> None:
    await store.save_totals(attempt, Totals(1, START, {"failures@1m": []}))
    await store.save_bins(
        attempt, "own", [KeptBin(0, START, 0.0, 1.0, 0.0, 1.0), KeptBin(1, after(1), 0.0, 1.0, 0.0, 1.0)]
    )
    await store.take_baselines(attempt, START, after(60))


async def kept_evidence(store: Store, attempt: str) -> tuple[int, int, bool]:
    totals, bins = await store.totals(attempt), await store.bins(attempt, "own")
    return len(totals), len(bins), await store.baselines(attempt) is not None


async def test_the_evidence_of_all_attempts_of_a_rollout_is_deleted_at_once(store: Store) -> None:
    for attempt in ("3f2a9c1e-1", "3f2a9c1e-12"):
        await keep_evidence(store, attempt)
    assert await store.drop_evidence("3f2a9c1e-") == 8
    assert [await kept_evidence(store, f"3f2a9c1e-{n}") for n in (1, 12)] == [(0, 0, False)] * 2
    assert await store.drop_evidence("3f2a9c1e-") == 0


async def test_the_evidence_of_other_rollouts_stays(store: Store) -> None:
    for attempt in ("3f2a9c1e-1", "3f2a9c1f-1", "3f2a_c1e-1"):
        await keep_evidence(store, attempt)
    await store.drop_evidence("3f2a_c1e-")
    assert [await kept_evidence(store, attempt) for attempt in ("3f2a9c1e-1", "3f2a9c1f-1")] == [(1, 2, True)] * 2

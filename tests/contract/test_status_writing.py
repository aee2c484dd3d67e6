"""What resources do not say yet, and that they say it now."""

from __future__ import annotations

from datetime import timedelta

from orchestrator.authoring import compile_workflow
from orchestrator.model import Engine, Status
from orchestrator.store import Control, Store
from tests.support.stores import (
    CHAIN,
    LEASE,
    START,
    after,
    claim_one,
    commit,
    completed,
    end,
    projection,
    row,
    submission,
)

EVERY = timedelta(seconds=5)


async def dirty(store: Store, seconds: float = 0, limit: int = 10) -> list[str]:
    return [record.id for record in await store.dirty(after(seconds), limit, EVERY)]


async def new(store: Store, seconds: float) -> list[str]:
    """With a grace of one second."""
    return [record.id for record in await store.dirty(after(seconds), 10, EVERY, timedelta(seconds=1))]


async def write(store: Store, execution_id: str = "x1", seconds: float = 0) -> None:
    record = await row(store, execution_id)
    await store.written({execution_id: (record.version, record.status)}, after(seconds))


async def test_dirty_rows_are_offered_until_they_are_written(store: Store) -> None:
    await store.submit([submission("x1", name="one"), submission("x2")], START)
    assert await dirty(store) == ["x1"]
    assert await dirty(store) == ["x1"]
    await write(store)
    assert await dirty(store, 99) == []


async def test_what_has_no_name_has_no_resource(store: Store) -> None:
    await store.submit([submission("x1")], START)
    await claim_one(store)
    assert await dirty(store, 99) == []


async def test_a_changed_node_is_written_at_most_once_in_a_while(store: Store) -> None:
    await store.submit([submission("x1", name="one")], START)
    claim = await claim_one(store)
    await write(store)
    await commit(store, claim, completed("a"))
    assert await dirty(store, 4.9) == []
    assert await dirty(store, 5) == ["x1"]


async def test_a_changed_status_is_written_at_once(store: Store) -> None:
    await store.submit([submission("x1", name="one")], START)
    claim = await claim_one(store)
    await write(store)
    await end(store, claim)
    assert await dirty(store) == ["x1"]


async def test_a_status_that_changed_beside_others_is_written_at_once(store: Store) -> None:
    await store.submit([submission("x1", name="one")], START)
    claim = await claim_one(store)
    await write(store)
    await commit(store, claim, completed("a"), projection=projection(Status.WAITING))
    await commit(store, claim, completed("b"), first_seq=4, projection=projection(Status.WAITING))
    assert await dirty(store) == ["x1"]


async def test_a_row_that_changed_while_it_was_written_is_offered_again(store: Store) -> None:
    await store.submit([submission("x1", name="one")], START)
    (read,) = await store.dirty(START, 10, timedelta(0))
    await claim_one(store)
    await store.written({"x1": (read.version, read.status)}, START)
    (again,) = await store.dirty(after(5), 10, EVERY)
    assert again.version > read.version


async def test_a_request_is_shown(store: Store) -> None:
    await store.submit([submission("x1", name="one")], START)
    await write(store)
    await store.control("x1", Control.SUSPEND, after(1))
    assert await dirty(store, 6) == ["x1"]


async def test_who_has_waited_longest_comes_first(store: Store) -> None:
    await store.submit([submission("x1", name="one")], START)
    await write(store)
    await end(store, await claim_one(store))
    await store.submit([submission("x2", name="two")], after(1))
    assert await dirty(store, 99) == ["x1", "x2"]  # or ends would wait for as long as new ones come


async def test_a_changed_status_comes_before_a_changed_node(store: Store) -> None:
    await store.submit([submission(id_, name=id_) for id_ in ("x1", "x2")], START)
    claims = {claim.id: claim for claim in await store.claim("w", Engine.V2, 2, LEASE, START)}
    await write(store, "x1", 1)
    await write(store, "x2", 2)
    await commit(store, claims["x1"], completed("a"))
    await end(store, claims["x2"])
    assert await dirty(store, 99) == ["x2", "x1"]


async def test_a_new_one_is_not_written_within_its_grace(store: Store) -> None:
    await store.submit([submission("x1", name="one")], START)
    assert await new(store, 0.9) == []
    await claim_one(store)
    assert await new(store, 0.9) == []
    assert await new(store, 1) == ["x1"]


async def test_an_end_within_the_grace_is_written_at_once(store: Store) -> None:
    await store.submit([submission("x1", name="one")], START)
    await end(store, await claim_one(store))
    assert await new(store, 0.1) == ["x1"]


async def test_the_start_of_one_that_was_told_as_pending_can_wait_and_its_end_cannot(store: Store) -> None:
    await store.submit([submission("x1", name="one")], START)
    await write(store)
    claim = await claim_one(store)
    assert await dirty(store, 4.9) == []
    assert await dirty(store, 5) == ["x1"]
    await end(store, claim)
    assert await dirty(store) == ["x1"]


async def test_those_that_were_written_longest_ago_come_next(store: Store) -> None:
    await store.submit([submission(id_, name=id_) for id_ in ("x1", "x2", "x3")], START)
    for seconds, id_ in ((3, "x1"), (1, "x2"), (2, "x3")):
        await write(store, id_, seconds)
    for id_ in ("x1", "x2", "x3"):
        await store.control(id_, Control.SUSPEND, after(4))
    assert await dirty(store, 99, limit=2) == ["x2", "x3"]


async def test_one_namespace_can_be_asked_for(store: Store) -> None:
    here, there = (compile_workflow(CHAIN, namespace=name, name="w") for name in ("a_b", "axb"))
    await store.submit(
        [submission("x1", name="one", workflow=here), submission("x2", name="two", workflow=there)], START
    )
    assert [record.id for record in await store.dirty(START, 10, EVERY, namespace="a_b")] == ["x1"]


async def test_writing_what_is_gone_is_no_error(store: Store) -> None:
    await store.written({"gone": (1, Status.SUCCESS)}, START)
    await store.written({}, START)
    assert await store.get("gone") is None

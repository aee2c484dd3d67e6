"""A store that came out of a backup: nothing goes on by itself, and a person can let each go on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from orchestrator.functions import Functions
from orchestrator.model import Engine, Status
from orchestrator.restoring import hold
from orchestrator.store import Control, Filter
from orchestrator.worker import WorkerSettings
from tests.support.engine import ended, node, spec, working
from tests.support.stores import LEASE, START, row, submission, workflow

if TYPE_CHECKING:
    from orchestrator.nodes.base import StepContext
    from orchestrator.store import Store

CALL = {"type": "python", "with": {"call": "effect"}}
FLOW = workflow(spec({"id": "a", **CALL}, {"id": "b", "needs": ["a"], **CALL}))
UNDONE = workflow(
    spec({"id": "a", **CALL, "compensate": CALL}, node("no", "a", type_="fail", **{"with": {"message": "x"}}))
)
SETTINGS = WorkerSettings(poll=timedelta(milliseconds=20), lease=timedelta(seconds=1))


class Effects:
    """What steps did."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.functions = Functions()
        self.functions.register(self._effect, "effect")

    async def _effect(self, context: StepContext) -> None:
        self.keys.append(context.idempotency_key)


@pytest.fixture
def effects() -> Effects:
    return Effects()


async def in_flight(store: Store) -> None:
    """Some that nobody has begun yet, of both engines."""
    flows = {"pending": FLOW, "running": FLOW, "undone": UNDONE}
    await store.submit([submission(id_, workflow=flow) for id_, flow in flows.items()], START)
    await store.submit([submission("v1", workflow=FLOW, engine=Engine.V1)], START)


async def test_nothing_that_was_in_flight_goes_on(store: Store, effects: Effects) -> None:
    await in_flight(store)
    await store.claim("a worker that is gone", Engine.V2, 2, LEASE, START)
    held = await hold(store, datetime.now(UTC))
    assert (held.suspended, held.put_away, held.lost) == (3, 1, 0)
    async with working(store, effects.functions, SETTINGS):
        await store.submit([submission("new", workflow=FLOW)], datetime.now(UTC))
        await ended(store, ["new"])
        await settled(store)
    assert {key.partition("/")[0] for key in effects.keys} == {"new"}


async def settled(store: Store) -> None:
    """Until whoever works has written that these wait."""
    async with asyncio.timeout(20):
        while {(await row(store, id_)).status for id_ in ("pending", "running", "undone", "v1")} != {Status.SUSPENDED}:
            await asyncio.sleep(0.02)


async def test_a_person_lets_each_go_on(store: Store, effects: Effects) -> None:
    await in_flight(store)
    await hold(store, datetime.now(UTC))
    async with working(store, effects.functions, SETTINGS):
        await settled(store)
        for id_ in ("pending", "running", "undone", "v1"):
            await store.control(id_, Control.RESUME, datetime.now(UTC))
        records = await ended(store, ["pending", "running", "undone", "v1"])
    assert {record.id: record.status for record in records} == {
        "pending": Status.SUCCESS,
        "running": Status.SUCCESS,
        "undone": Status.FAILED,
        "v1": Status.SUCCESS,
    }


async def test_what_was_being_undone_is_not_undone_further_until_a_person_says_so(
    store: Store, effects: Effects
) -> None:
    await store.submit([submission("x1", workflow=UNDONE)], START)
    stuck = asyncio.Event()

    async def until_undoing(context: StepContext) -> None:
        effects.keys.append(context.idempotency_key)
        if context.idempotency_key.endswith(":compensate"):
            stuck.set()
            await asyncio.Event().wait()

    functions = Functions()
    functions.register(until_undoing, "effect")
    quick = WorkerSettings(poll=timedelta(milliseconds=20), drain=timedelta(0))
    async with working(store, functions, quick):
        await asyncio.wait_for(stuck.wait(), 20)
    assert (await row(store)).status is Status.COMPENSATING
    assert (await hold(store, datetime.now(UTC))).put_away == 1
    before = list(effects.keys)
    async with working(store, effects.functions, SETTINGS):
        await store.submit([submission("new", workflow=FLOW)], datetime.now(UTC))
        await ended(store, ["new"])
        assert [key for key in effects.keys if not key.startswith("new/")] == before
        await store.control("x1", Control.RESUME, datetime.now(UTC))
        (record,) = await ended(store, ["x1"])
    assert record.status is Status.FAILED
    assert effects.keys[-1] == "x1/a:compensate"


async def test_the_epoch_is_the_moment_of_the_restore_and_what_is_over_stays_as_it_is(
    store: Store, effects: Effects
) -> None:
    await store.submit([submission("x1", workflow=FLOW)], START)
    async with working(store, effects.functions, SETTINGS):
        await ended(store, ["x1"])
    before, now = await store.executions(Filter()), datetime.now(UTC)
    assert await store.epoch() < now
    await hold(store, now)
    again = await hold(store, now)
    assert await store.epoch() == now
    assert await store.executions(Filter()) == before
    assert (again.suspended, again.put_away) == (0, 0)

"""What is promised of PostgreSQL alone: cheap writes, one order of locks, connections that may be lost."""

from __future__ import annotations

import asyncio
import itertools
import random
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import pytest_asyncio

from orchestrator import events as e
from orchestrator.errors import StoreUnavailable
from orchestrator.model import Engine, OnLimit, Status
from orchestrator.store import Control, Delivery, Filter, Outcome, Release, open_store
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
    limited,
    projection,
    submission,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from orchestrator.store import Append, Claim, Store, Submission
    from tests.support.postgres import LocalPostgres

TABLES = ("workflow_executions", "workflow_events", "workflow_limits")


@pytest.fixture
def url(postgres: LocalPostgres) -> str:
    return postgres.create_database()


@pytest_asyncio.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = await open_store(url)
    yield opened
    await opened.close()


@asynccontextmanager
async def asking(url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A connection of the test's own."""
    async with await psycopg.AsyncConnection.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


async def counted(url: str, *columns: str) -> list[int]:
    """What the server counted on our tables, once everything is counted."""
    async with asking(url) as c:
        await c.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        gone = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        async with asyncio.timeout(20):
            while await (await c.execute(gone)).fetchone() != (0,):
                await asyncio.sleep(0.01)
        sums = ", ".join(f"sum({column})::int" for column in columns)
        found = await c.execute(
            f"SELECT {sums} FROM pg_stat_user_tables WHERE relname = ANY(%s)".encode(), (list(TABLES),)
        )
        return list(await found.fetchone() or ())


async def family(store: Store, many: int, **fields: Any) -> list[Claim]:
    await store.submit([submission(f"x{i:03}", **fields) for i in range(many)], START)
    return await store.claim("w", Engine.V2, many, LEASE, START)


def step(claim: Claim, number: int, **fields: Any) -> Append:
    row = projection(current_node=f"n{number}", done=number, total=99)
    return append(claim, completed(f"n{number}"), first_seq=claim.seq + number, projection=row, **fields)


@pytest.mark.parametrize("name", ["", "a-resource"])
async def test_a_step_changes_no_index(store: Store, url: str, name: str) -> None:
    """Else every commit of a step would write into every index of the table, and leave as much to clean up."""
    claims = await family(store, 40, name=name)
    await store.append([step(claim, 1) for claim in claims])
    before = await counted(url, "n_tup_upd", "n_tup_hot_upd")
    for number in range(2, 22):
        await store.append([step(claim, number, timed_append=number, timed_ms=1.5) for claim in claims])
    updated, hot = (
        now - then for now, then in zip(await counted(url, "n_tup_upd", "n_tup_hot_upd"), before, strict=True)
    )
    assert updated == 20 * len(claims)
    assert hot == updated


async def test_nothing_that_workers_do_reads_a_whole_table(store: Store, url: str) -> None:
    """A function keeps its plans: those made for a table that was new and small must do when it has grown."""
    (before,) = await counted(url, "seq_scan")
    for round_ in range(8):
        flow = limited(3, OnLimit.REPLACE if round_ % 2 else OnLimit.QUEUE)
        ids = [f"{round_}-{i}" for i in range(6)]
        await store.submit([submission(id_, workflow=flow, idempotency_key=id_) for id_ in ids], after(round_))
        claims = await store.claim("w", Engine.V2, 10, LEASE, after(round_))
        assert claims
        await store.renew({claim.id: claim.fence for claim in claims}, LEASE, START)
        signal = e.SignalReceived(START, "go", None, str(round_))
        await store.deliver([Delivery(ids[-1], signal), Delivery(ids[-1], signal)])
        seqs = {claim.id: (await store.events(claim.id))[-1].seq for claim in claims}
        child = submission(f"child-{round_}", workflow=flow, parent=claims[0].id)
        batch = [append(claim, completed("a"), first_seq=seqs[claim.id] + 1) for claim in claims]
        batch[0] = replace(batch[0], submissions=(child,), deliveries=(Delivery(ids[-1], signal),))
        assert await store.append(batch) == [Outcome.COMMITTED] * len(claims)
        over, kept = claims[:2], claims[2:]
        now = {claim.id: (await store.events(claim.id))[-1].seq for claim in claims}
        ends = [
            append(
                claim, e.ExecutionCancelled(START), first_seq=now[claim.id] + 1, projection=projection(Status.CANCELLED)
            )
            for claim in over
        ]
        await store.append(ends)
        await store.release({claim.id: Release(claim.fence, now[claim.id], START) for claim in kept}, START)
        await store.heal_limits(START)
    (scanned,) = await counted(url, "seq_scan")
    assert scanned == before


class Storm:
    """Ends that free slots, children, deliveries, replacements, requests, renewals and status writers at once."""

    def __init__(self, store: Store) -> None:
        self.store, self.chance, self.over = store, random.Random(11), asyncio.Event()
        self.flows = [limited(3, policy, name=policy.value) for policy in OnLimit]
        self.numbers = itertools.count()

    def fresh(self, **fields: Any) -> Submission:
        id_ = f"{self.chance.randrange(1000):03}-{next(self.numbers)}"
        return submission(id_, workflow=self.chance.choice(self.flows), name=id_, idempotency_key=id_, **fields)

    def signal(self, id_: str) -> Delivery:
        return Delivery(id_, e.SignalReceived(START, "go", None, str(next(self.numbers))))

    async def submit(self) -> None:
        for _ in range(25):
            await self.store.submit([self.fresh() for _ in range(6)], START)

    async def work(self) -> None:
        while not self.over.is_set():
            claims = await self.store.claim("w", Engine.V2, 10, LEASE, START)
            self.chance.shuffle(claims)
            ids = [record.id for record in await self.store.active()] or ["nobody"]
            batch = [await self.ending(claim, ids) for claim in claims]
            outcomes = await self.store.append(batch) if batch else []
            assert Outcome.FENCED not in outcomes
            stale = [a for a, outcome in zip(batch, outcomes, strict=True) if outcome is Outcome.STALE]
            await self.store.release({a.execution_id: Release(a.fence, 0, START) for a in stale}, START)

    async def ending(self, claim: Claim, ids: list[str]) -> Append:
        return append(
            claim,
            e.ExecutionCancelled(START),
            first_seq=(await self.store.events(claim.id))[-1].seq + 1,
            projection=projection(Status.CANCELLED),
            deliveries=tuple(self.signal(self.chance.choice(ids)) for _ in range(3)),
            submissions=(self.fresh(parent=claim.id),) if self.chance.random() < 0.3 else (),
        )

    async def disturb(self) -> None:
        while not self.over.is_set():
            records = await self.store.active()
            self.chance.shuffle(records)
            some = records[:20]
            await self.store.renew({record.id: record.fence for record in some}, LEASE, START)
            await self.store.written({record.id: (record.version, record.status) for record in some}, START)
            for record in some[:2]:
                await self.store.control(record.id, self.chance.choice(list(Control)), START)
            await self.store.deliver([self.signal(record.id) for record in some[:9]])

    async def run(self) -> None:
        async with asyncio.timeout(120), asyncio.TaskGroup() as group:
            for hand in (self.work, self.work, self.disturb):
                group.create_task(hand())
            await asyncio.gather(self.submit(), self.submit())
            while await self.store.active():
                await asyncio.sleep(0.01)
            self.over.set()


async def test_whatever_takes_slots_and_tells_others_never_waits_in_a_ring(store: Store, url: str) -> None:
    await Storm(store).run()
    for record in await store.executions(Filter(limit=1000)):
        assert (record.seq, record.queued) == (len(await store.events(record.id)), False)
    async with asking(url) as c:
        found = await c.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        assert await found.fetchone() == (0,)


@asynccontextmanager
async def all_rows_locked(url: str) -> AsyncIterator[None]:
    async with asking(url) as c, c.transaction():
        await c.execute("SELECT 1 FROM workflow_executions FOR UPDATE")
        yield


async def until_waiting(url: str, many: int, *, cut: bool = False) -> None:
    """Until so many connections of this database wait for a lock; then perhaps cut them."""
    waiting = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.timeout(20), asking(url) as c:
        while await (await c.execute(f"SELECT count(*) {waiting}".encode())).fetchone() != (many,):
            await asyncio.sleep(0.01)
        if cut:
            await c.execute(f"SELECT pg_terminate_backend(pid) {waiting}".encode())


async def test_a_second_try_that_meets_its_first_is_told_that_it_is_committed(store: Store, url: str) -> None:
    (claim,) = await family(store, 1)
    item = append(claim, completed("a"))
    async with all_rows_locked(url):
        tries = [asyncio.create_task(store.append([item])) for _ in range(2)]
        await until_waiting(url, 2)
    assert await asyncio.gather(*tries) == [[Outcome.COMMITTED]] * 2
    assert await kinds(store, claim.id) == ["ExecutionSubmitted", "ExecutionStarted", "StepCompleted"]


async def test_a_connection_that_the_server_closed_while_it_was_idle_is_not_used_again(store: Store, url: str) -> None:
    (claim,) = await family(store, 1)
    await counted(url, "seq_scan")  # cuts all connections
    await commit(store, claim, completed("a"))


async def test_a_connection_that_is_cut_in_the_middle_costs_one_call(store: Store, url: str) -> None:
    (claim,) = await family(store, 1)
    item = append(claim, completed("a"))
    async with all_rows_locked(url):
        cut = asyncio.create_task(store.append([item]))
        await until_waiting(url, 1, cut=True)
        with pytest.raises(StoreUnavailable):
            await cut
    assert await store.append([item]) == [Outcome.COMMITTED]


async def test_a_call_that_is_cancelled_leaves_no_answer_to_the_next_one(store: Store, url: str) -> None:
    (claim,) = await family(store, 1)
    async with all_rows_locked(url):
        held = asyncio.create_task(store.append([append(claim, completed("a"))]))
        await until_waiting(url, 1)
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)
        assert await store.histories(["nobody"]) == {"nobody": []}
    assert [c.id for c in await store.claim("w2", Engine.V2, 1, LEASE, START + LEASE)] == [claim.id]


async def test_limits_that_nobody_is_under_are_forgotten(store: Store, url: str) -> None:
    flow = limited(1, key="${input.n}")
    await store.submit([submission(f"x{n}", workflow=flow, input={"n": n}) for n in range(5)], START)
    claims = await store.claim("w", Engine.V2, 10, LEASE, START)
    for claim in claims[1:]:
        await end(store, claim)
    await store.heal_limits(after(1))
    async with asking(url) as c:
        keys = await (await c.execute("SELECT limit_key FROM workflow_limits")).fetchall()
    assert keys == [((await store.get(claims[0].id)).limit_key,)]  # type: ignore[union-attr]  # it is there


async def test_a_limit_that_a_person_removed_is_made_again(store: Store, url: str) -> None:
    await store.submit([submission(f"x{n}", workflow=limited(1)) for n in range(2)], START)
    async with asking(url) as c:
        await c.execute("DELETE FROM workflow_limits")
    await end(store, await claim_one(store, "x0"), at=after(1))
    assert (await claim_one(store, "x1", at=after(1))).begun


async def test_a_limit_that_a_workflow_gave_up_lets_everybody_go(store: Store) -> None:
    flow = limited(1)
    await store.submit([submission(f"x{n}", workflow=flow) for n in range(4)], START)
    await store.put_workflow(replace(flow, concurrency=None))
    assert await store.heal_limits(after(1)) == 3


async def test_leases_of_a_thousand_are_renewed_by_one_call(store: Store) -> None:
    claims = await family(store, 1000)
    held = {claim.id: claim.fence for claim in claims}
    assert len(await store.renew(held, timedelta(seconds=5), START)) == 1000

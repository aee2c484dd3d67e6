"""What must hold of a store when several hands are on the same rows."""

from __future__ import annotations

import asyncio
import itertools
import random
from datetime import timedelta

from orchestrator import events as e
from orchestrator.model import Engine
from orchestrator.store import Claim, Delivery, Filter, Outcome, Store
from tests.support.stores import (
    LEASE,
    START,
    after,
    append,
    claim_one,
    completed,
    kinds,
    limited,
    row,
    submission,
)


class Hands:
    """Several hands on the same rows, in orders of their own, until `rounds` rounds of appends are done."""

    def __init__(self, store: Store, ids: list[str], claims: list[Claim], rounds: int) -> None:
        self.store, self.ids, self.claims, self.rounds = store, ids, claims, rounds
        self.chance = random.Random(7)
        self.over = asyncio.Event()

    async def append(self) -> None:
        for round_ in range(self.rounds):
            waiting = self.chance.sample(self.claims, len(self.claims))
            while waiting:
                seqs = {record.id: record.seq for record in await self.store.executions(Filter(limit=1000))}
                batch = [
                    append(claim, completed("a"), first_seq=seqs[claim.id] + 1, append_id=f"{round_}")
                    for claim in waiting
                ]
                outcomes = await self.store.append(batch)
                assert Outcome.FENCED not in outcomes
                stale = [c for c, outcome in zip(waiting, outcomes, strict=True) if outcome is Outcome.STALE]
                waiting = self.chance.sample(stale, len(stale))
        self.over.set()

    async def renew(self) -> None:
        held = {claim.id: claim.fence for claim in self.claims}
        while not self.over.is_set():
            shuffled = self.chance.sample(sorted(held.items()), len(held))
            assert len(await self.store.renew(dict(shuffled), LEASE, START)) == len(held)
            await asyncio.sleep(0.005)

    async def write(self) -> None:
        while not self.over.is_set():
            dirty = await self.store.dirty(START, 1000, timedelta(0))
            self.chance.shuffle(dirty)
            await self.store.written({record.id: (record.version, record.status) for record in dirty}, START)
            await asyncio.sleep(0.005)

    async def signal(self) -> None:
        for number in itertools.count():
            if self.over.is_set():
                return
            event = e.SignalReceived(START, "s", None, f"{number}")
            await self.store.deliver([Delivery(id_, event) for id_ in self.chance.sample(self.ids, 5)])
            await asyncio.sleep(0.02)

    async def submit(self) -> None:
        for number in itertools.count():
            if self.over.is_set():
                return
            await self.store.submit([submission(f"y{number}", workflow=limited(200))], START)
            await self.store.heal_limits(START)
            await asyncio.sleep(0.02)


async def test_hands_on_the_same_rows_never_wait_for_each_other_in_a_ring(store: Store) -> None:
    """A deadlock would cost PostgreSQL a second and one of the two writers its work."""
    ids = [f"x{i:03}" for i in range(60)]
    await store.submit([submission(id_, name=id_, workflow=limited(200)) for id_ in ids], START)
    hands = Hands(store, ids, await store.claim("worker-1", Engine.V2, len(ids), LEASE, START), rounds=15)
    async with asyncio.TaskGroup() as group:
        for work in (hands.append, hands.renew, hands.write, hands.signal, hands.submit):
            group.create_task(work())
    for id_ in ids:
        assert (await row(store, id_)).seq == len(await kinds(store, id_))


async def test_the_same_append_sent_twice_at_once_is_committed_once(store: Store) -> None:
    """The first try may still be on its way when its answer is given up and it is sent again."""
    await store.submit([submission("x1")], START)
    same = append(await claim_one(store), completed("a"))
    outcomes = await asyncio.gather(*(store.append([same]) for _ in range(5)))
    assert outcomes == [[Outcome.COMMITTED]] * 5
    assert (await kinds(store))[2:] == ["StepCompleted"]


async def test_of_two_appends_to_one_place_one_is_committed(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    both = [append(claim, completed("a", id_), append_id=id_) for id_ in ("one", "two")]
    outcomes = await asyncio.gather(*(store.append([one]) for one in both))
    assert sorted(outcomes) == [[Outcome.COMMITTED], [Outcome.STALE]]
    assert (await kinds(store))[2:] == ["StepCompleted"]


async def test_a_claim_and_an_append_of_the_last_owner_at_once_leave_one_of_them(store: Store) -> None:
    ids = [f"x{i}" for i in range(20)]
    await store.submit([submission(id_) for id_ in ids], START)
    old = await store.claim("w1", Engine.V2, 20, LEASE, START)
    outcomes, new = await asyncio.gather(
        store.append([append(claim, completed("a")) for claim in old]),
        store.claim("w2", Engine.V2, 20, LEASE, START + LEASE),
    )
    seqs = {claim.id: claim.seq for claim in new}
    for claim, outcome in zip(old, outcomes, strict=True):
        wrote = outcome is Outcome.COMMITTED
        assert (await kinds(store, claim.id))[2:] == ["StepCompleted"] * wrote
        if claim.id in seqs:
            assert seqs[claim.id] == claim.seq + wrote


async def test_many_submissions_of_one_key_at_once_make_one_execution(store: Store) -> None:
    answers = await asyncio.gather(
        *(store.submit([submission(f"x{i}", idempotency_key="k")], after(i)) for i in range(10))
    )
    assert sum(answer.created for (answer,) in answers) == 1
    assert len({answer.id for (answer,) in answers}) == 1
    assert len(await store.active()) == 1

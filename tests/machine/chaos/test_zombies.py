"""A worker that was stopped for longer than its lease and goes on: it changes nothing, and its writes are counted."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg

from orchestrator.store import open_store
from tests.machine.chaos.storm import Load, Storm, storm
from tests.support.engine import node, spec
from tests.support.fleet import FENCED, Fleet, Member
from tests.support.invariants import all_over, store_violations, succeeded
from tests.support.polling import until
from tests.support.postgres import plain_url
from tests.support.stores import submission, workflow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestrator.events import Recorded
    from orchestrator.store import Store
    from tests.support.chaos import Chaos
    from tests.support.postgres import LocalPostgres

FUNCTIONS = "tests.machine.chaos.steps"
HELD = workflow(spec(node("held", type_="python", **{"with": {"call": "chaos:held"}}), output="${nodes.held.output}"))
AT_ONCE = 10


async def test_a_worker_that_was_stopped_past_its_lease_changes_nothing_and_its_writes_are_counted(
    chaos: Chaos, store: Store, database: str, tmp_path: Path
) -> None:
    for round_ in chaos.rounds():
        folder = tmp_path / f"round-{round_.number}"
        begun, gate = folder / "begun", folder / "gate"
        ids = [f"x{round_.number}-{index}" for index in range(AT_ONCE)]
        with Fleet(database, folder, lease="2s", environment={"BEGUN": str(begun), "GATE": str(gate)}) as fleet:
            begun.touch()
            zombie = fleet.started(functions=FUNCTIONS)
            await store.submit([submission(id_, workflow=HELD) for id_ in ids], datetime.now(UTC))
            await until_all_run(begun, zombie)
            with nobody_writes(database):
                zombie.freeze()
            successor = fleet.started(functions=FUNCTIONS)
            await until_all_run(begun, successor)
            gate.touch()
            records = await all_over(store, ids, within=60)
            before = {id_: await store.events(id_) for id_ in ids}
            zombie.thaw()  # its steps see the open gate at once, and it wants to commit what they returned
            await until_fenced(zombie, AT_ONCE)
            assert zombie.stop() == 0
            chaos.count("writes fenced", AT_ONCE)
            after: dict[str, list[Recorded]] = {id_: await store.events(id_) for id_ in ids}
        assert succeeded(records) == []
        assert {record.output for record in records} == {successor.process.pid}
        assert after == before
        assert await all_over(store, ids, within=0) == records  # the rows, too
        assert await store_violations(store, ids) == []


async def test_workers_that_stop_and_go_on_at_random_cost_no_effect(
    chaos: Chaos, database: str, tmp_path: Path
) -> None:
    """One of two stands still, or both: for less than a lease, for about one, or for several."""
    load = Load(executions=chaos.size(6, 40), length=chaos.size(20, 40), width=5)
    shared = {"ORCHESTRATOR_CONCURRENCY": str(load.executions * 2 // 3)}  # so that neither can hold them all
    for round_ in chaos.rounds():
        async with storm(database, tmp_path, load, chaos, round_, workers=2, environment=shared) as running:
            await running.faults(chaos.size(2, 30), stand_still)
            await running.settle(within=chaos.size(90, 300))


async def stand_still(running: Storm) -> None:
    chance = running.round.random
    stopped = chance.sample(running.fleet.alive, k=chance.choice([1, 1, 2]))
    for member in stopped:
        member.freeze()
    await asyncio.sleep(chance.choice([0.5, 1.2, running.chaos.size(2.0, 4.0)]))  # the fault itself
    for member in stopped:
        member.thaw()
    running.chaos.count("workers stopped", len(stopped))


async def test_a_worker_that_stands_still_at_any_moment_holds_no_executions_lock(
    chaos: Chaos, postgres: LocalPostgres, tmp_path: Path
) -> None:
    """Its connections stay, so nobody would end its transaction for it: what locks is one statement, and commits."""
    store = await open_store(database := postgres.create_database())
    try:
        for round_ in chaos.rounds():
            ids = [f"x{round_.number}-{index}" for index in range(chaos.size(30, 300))]
            with Fleet(database, tmp_path / f"round-{round_.number}", lease="1s") as fleet:
                worker = fleet.started()
                for id_ in ids:
                    await store.submit([submission(id_)], datetime.now(UTC))
                    await asyncio.sleep(round_.random.uniform(0, 0.1))  # while it claims, drives, renews and lets go
                    worker.freeze()
                    assert await locks_held_still(database, worker) == []
                    worker.thaw()
                    chaos.count("times stopped")
                assert succeeded(await all_over(store, ids, within=90)) == []
            assert await store_violations(store, ids) == []
    finally:
        await store.close()


async def locks_held_still(database: str, member: Member) -> list[str]:
    """What the transactions of a worker hold of the executions, once the server has done all that it was asked."""
    busy = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND state = 'active'"
    held = """
        SELECT l.mode || ' after ' || a.query FROM pg_locks l JOIN pg_stat_activity a USING (pid)
         WHERE a.application_name = %s AND a.state LIKE 'idle in transaction%%'
           AND l.relation = 'workflow_executions'::regclass AND l.mode IN ('RowShareLock', 'RowExclusiveLock')"""
    async with await psycopg.AsyncConnection.connect(plain_url(database), autocommit=True) as connection:
        async with asyncio.timeout(30):
            while await (await connection.execute(busy, [member.name])).fetchone() != (0,):
                await asyncio.sleep(0.005)
        return [row[0] for row in await (await connection.execute(held, [member.name])).fetchall()]


async def until_all_run(begun: Path, member: Member) -> None:
    """Until every step has begun in a worker; one whose lease ran out meanwhile may have begun anew."""

    def runs() -> int:
        lines = set(begun.read_text(encoding="utf-8").splitlines())
        return sum(line.startswith(f"{member.process.pid} ") for line in lines)

    await until(lambda: runs() == AT_ONCE, f"every step runs in {member.name}")


@contextmanager
def nobody_writes(database: str) -> Iterator[None]:
    """SQLite has one lock for all: who stood still with it in hand would stop everybody, and no lease ends that."""
    if not database.startswith("sqlite"):
        yield
        return
    with closing(sqlite3.connect(database.removeprefix("sqlite:///"), isolation_level=None, timeout=30)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def until_fenced(member: Member, writes: int) -> None:
    """Until a worker has counted so many refused writes."""
    await until(lambda: (member.metric(FENCED) or 0) >= writes, f"{writes} refused writes are counted")

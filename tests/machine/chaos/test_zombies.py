"""A worker that was stopped for longer than its lease and goes on: it changes nothing, and its writes are counted."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from orchestrator import events as e
from orchestrator.decide import project
from orchestrator.fold import apply, fold
from orchestrator.journal import GroupCommit
from orchestrator.model import Engine
from orchestrator.store import Append, Outcome, open_store
from tests.machine.chaos.storm import Load, Storm, storm
from tests.support.engine import node, spec
from tests.support.fleet import FENCED, Fleet, Member
from tests.support.invariants import all_over, store_violations, succeeded
from tests.support.polling import until
from tests.support.postgres import plain_url
from tests.support.stores import submission, workflow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.events import Recorded
    from orchestrator.store import Claim, Store
    from tests.support.chaos import Chaos
    from tests.support.postgres import LocalPostgres

FUNCTIONS = "tests.machine.chaos.steps"
HELD = workflow(spec(node("held", type_="python", **{"with": {"call": "chaos:held"}}), output="${nodes.held.output}"))
AT_ONCE = 10


@pytest.mark.xfail(run=False, reason="a write whose caller was cancelled, and a refused renewal, are not counted")
async def test_a_worker_that_was_stopped_past_its_lease_changes_nothing_and_its_writes_are_counted(
    chaos: Chaos, store: Store, database: str, tmp_path: Path
) -> None:
    for round_ in chaos.rounds():
        folder = tmp_path / f"round-{round_.number}"
        begun, gate = folder / "begun", folder / "gate"
        ids = [f"x{round_.number}-{index}" for index in range(AT_ONCE)]
        with Fleet(database, folder, environment={"BEGUN": str(begun), "GATE": str(gate)}) as fleet:
            begun.touch()
            zombie = fleet.started(functions=FUNCTIONS)
            await store.submit([submission(id_, workflow=HELD) for id_ in ids], datetime.now(UTC))
            await until_all_run(begun, zombie)
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
        assert await store_violations(store) == []


async def test_workers_that_stop_and_go_on_at_random_cost_no_effect(
    chaos: Chaos, database: str, tmp_path: Path
) -> None:
    """One of two stands still, or both: for less than a lease, for about one, or for several."""
    load = Load(executions=chaos.size(6, 40), length=8, width=5)
    shared = {"ORCHESTRATOR_CONCURRENCY": str(load.executions * 2 // 3)}  # so that neither can hold them all
    for round_ in chaos.rounds():
        async with storm(database, tmp_path, load, chaos, round_, environment=shared) as running:
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


@pytest.mark.xfail(run=False, reason="PostgreSQL ends no transaction of a client that stands still")
async def test_a_worker_that_stops_in_mid_transaction_holds_nobody_up(
    chaos: Chaos, postgres: LocalPostgres, tmp_path: Path
) -> None:
    """Its transaction holds the locks of rows, and its connection stays: nothing but the server can end it."""
    database = postgres.create_database()
    store = await open_store(database)
    try:
        for round_ in chaos.rounds():
            with Fleet(database, tmp_path / f"round-{round_.number}", lease="1s") as fleet:
                stopped, ids = fleet.started(), list[str]()
                async with asyncio.timeout(120):
                    while not ids or not await caught_in_a_transaction(database, stopped):
                        ids.append(f"x{round_.number}-{len(ids)}")
                        await store.submit([submission(ids[-1])], datetime.now(UTC))
                fleet.start()
                records = await all_over(store, ids, within=60)  # while it still stands there
                stopped.thaw()
                assert stopped.stop() == 0
            assert succeeded(records) == []
            assert await store_violations(store) == []
            chaos.count("stopped in a transaction")
    finally:
        await store.close()


async def caught_in_a_transaction(database: str, member: Member) -> bool:
    """Stop a worker; whether it stands there with a transaction open. If not, it goes on."""
    member.freeze()
    query = (
        "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction'"
        " AND datname = current_database() AND application_name = %s AND backend_xid IS NOT NULL"
    )
    async with await psycopg.AsyncConnection.connect(plain_url(database), autocommit=True) as connection:
        seen = []
        for _ in range(2):  # twice, since a statement that was on its way when it stopped ends
            seen.append({pid for (pid,) in await (await connection.execute(query, [member.name])).fetchall()})
            await asyncio.sleep(0.02)
    if seen[0] & seen[1]:
        return True
    member.thaw()
    return False


@pytest.mark.parametrize("order", ["zombie first", "successor first"])
async def test_an_append_in_one_flush_with_its_successors_is_refused(store: Store, order: str) -> None:
    now, lease = datetime.now(UTC), timedelta(seconds=1)
    flow = workflow()
    await store.submit([submission("x1", workflow=flow), submission("other", workflow=flow)], now)
    (zombie, *_) = [claim for claim in await store.claim("a", Engine.V2, 2, lease, now) if claim.id == "x1"]
    later = now + 2 * lease
    claims = {claim.id: claim for claim in await store.claim("b", Engine.V2, 2, lease, later)}
    late, right = await completed(store, zombie, "zombie"), await completed(store, claims["x1"], "successor")
    flushes: list[list[str]] = []

    async def flush(batch: Sequence[Append]) -> list[Outcome]:
        flushes.append([append.append_id for append in batch])
        return await store.append(batch)

    journal: GroupCommit[Append, Outcome] = GroupCommit(flush)
    two = [late, right] if order == "zombie first" else [right, late]
    answers = await asyncio.gather(*(journal.put(append) for append in two))
    await journal.aclose()
    outcomes = dict(zip((append.append_id for append in two), answers, strict=True))
    assert flushes == [[append.append_id for append in two]]
    assert outcomes == {"zombie": Outcome.FENCED, "successor": Outcome.COMMITTED}
    (done,) = [r.event for r in await store.events("x1") if isinstance(r.event, e.StepCompleted)]
    assert done.output == "successor"
    assert await store_violations(store) == []


async def completed(store: Store, claim: Claim, by: str) -> Append:
    """The append of a worker whose first step returned its name."""
    flow = await store.workflow(claim.workflow_id, claim.revision)
    at = claim.created_at
    done = e.StepCompleted(at, "a", "transform", 1, by, at, 1.0)
    state = apply(fold(claim.id, await store.events(claim.id)), done)
    return Append(
        execution_id=claim.id,
        append_id=by,
        fence=claim.fence,
        first_seq=claim.seq + 1,
        events=(done,),
        projection=project(flow, state),
        due_at=at + timedelta(hours=1),
        release=False,
        step_deadline=None,
    )


async def until_all_run(begun: Path, member: Member) -> None:
    """Until every step has begun in a worker."""

    def runs() -> int:
        lines = begun.read_text(encoding="utf-8").splitlines()
        return sum(line.startswith(f"{member.process.pid} ") for line in lines)

    await until(lambda: runs() == AT_ONCE, f"every step runs in {member.name}")


async def until_fenced(member: Member, writes: int) -> None:
    """Until a worker has counted so many refused writes."""
    await until(lambda: (member.metric(FENCED) or 0) >= writes, f"{writes} refused writes are counted")

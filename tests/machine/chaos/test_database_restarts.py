"""PostgreSQL goes away and comes back while executions run: also in the middle of its own recovery."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.machine.chaos.storm import Load, Storm, storm
from tests.support.polling import until
from tests.support.postgres import LocalPostgres, plain_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.chaos import Chaos

_MUCH = 400_000  # rows that make recovery take long enough to be interrupted


@pytest.fixture
def server() -> Iterator[LocalPostgres]:
    """A PostgreSQL of the test's own: others must not see it die."""
    with LocalPostgres() as own:
        yield own


async def test_a_database_that_restarts_every_few_seconds_costs_no_effect(
    chaos: Chaos, server: LocalPostgres, tmp_path: Path
) -> None:
    load = Load(executions=chaos.size(6, 40), length=chaos.size(20, 40), width=5)
    for round_ in chaos.rounds():
        async with storm(server.create_database(), tmp_path, load, chaos, round_) as running:
            await running.faults(chaos.size(3, 20), partial(restart, server))
            await running.settle(within=chaos.size(90, 300))


async def test_a_database_that_dies_in_its_own_recovery_costs_no_effect(
    chaos: Chaos, server: LocalPostgres, tmp_path: Path
) -> None:
    load = Load(executions=chaos.size(4, 40), length=chaos.size(20, 40), width=5)
    for round_ in chaos.rounds():
        async with storm(server.create_database(), tmp_path, load, chaos, round_) as running:
            await running.faults(chaos.size(1, 8), partial(die_twice, server))
            await running.settle(within=chaos.size(90, 300))


async def restart(server: LocalPostgres, running: Storm) -> None:
    how = running.round.random.choice(["killed", "shut down in order", "away for a while"])
    running.chaos.count(f"databases {how}")
    if how == "shut down in order":
        await asyncio.to_thread(server.restart)
        return
    await asyncio.to_thread(server.kill)
    if how == "away for a while":
        await asyncio.sleep(running.briefly())  # the fault itself
    await asyncio.to_thread(server.start)


async def die_twice(server: LocalPostgres, running: Storm) -> None:
    """Kill it, and kill it again while it recovers."""
    await asyncio.to_thread(write_much_and_die, server)
    while not await killed_in_recovery(server):
        running.chaos.count("recoveries too fast to interrupt")
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(write_much_and_die, server)
    running.chaos.count("databases killed in recovery")
    await asyncio.to_thread(server.start)


async def killed_in_recovery(server: LocalPostgres) -> bool:
    """Start it and kill it while it recovers; False when it was done before."""
    before = len(server.said())
    await asyncio.to_thread(server.launch)
    await until(lambda: "redo starts at" in server.said()[before:], "recovery begins", every=0.005)
    await asyncio.to_thread(server.kill)
    return "redo done at" not in server.said()[before:]


def write_much_and_die(server: LocalPostgres) -> None:
    """So that it has much to read again when it recovers."""
    with psycopg.connect(plain_url(server.url()), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS much (number int, words text)")
        connection.execute(f"INSERT INTO much SELECT n, repeat('x', 100) FROM generate_series(1, {_MUCH}) n")
    server.kill()

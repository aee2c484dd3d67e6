"""What lies between the workers, the database and a service breaks: at any byte, in either direction, or in silence."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy as sa

from tests.machine.chaos.storm import Load, Storm, storm
from tests.support.postgres import plain_url
from tests.support.toxiproxy import Proxy, Toxiproxy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.support.chaos import Chaos, Round
    from tests.support.ledger import LedgerProcess
    from tests.support.postgres import LocalPostgres

#: Each breaks a way that works; `Proxy.mend` repairs it. The number is of bytes.
FAULTS: Mapping[str, Callable[[Proxy, int], None]] = {
    "cut": lambda way, _: way.cut(),
    "reset": lambda way, _: way.poison("reset_peer", timeout=0),
    "answers cut after some bytes": lambda way, most: way.poison("limit_data", bytes=most),
    "questions cut after some bytes": lambda way, most: way.poison("limit_data", "upstream", bytes=most),
    "slow": lambda way, _: way.poison("latency", latency=300, jitter=300),
    "answers lost in silence": lambda way, _: way.poison("timeout", timeout=0),
    "questions lost in silence": lambda way, _: way.poison("timeout", "upstream", timeout=0),
}
_BYTES = 20_000  # at most, until a connection is cut


@pytest.mark.parametrize("broken", ["database", "ledger"])
async def test_connections_that_break_cost_no_effect(
    chaos: Chaos, postgres: LocalPostgres, tmp_path: Path, broken: str
) -> None:
    """The database's answers may be lost after a commit, the ledger's after an effect."""
    for round_ in chaos.rounds():
        with Toxiproxy(tmp_path) as proxies:
            await round_of_breaks(chaos, round_, postgres.create_database(), tmp_path, proxies, broken)


async def round_of_breaks(
    chaos: Chaos, round_: Round, database: str, folder: Path, proxies: Toxiproxy, broken: str
) -> None:
    to_database = proxies.proxy("database", int(sa.make_url(database).port or 0))
    ways = {"database": to_database}

    def by_proxy(ledger: LedgerProcess) -> str:
        ways["ledger"] = proxies.proxy("ledger", ledger.port)
        return f"http://127.0.0.1:{ways['ledger'].port}"

    load = Load(executions=chaos.size(5, 30), length=chaos.size(20, 40), width=5)
    seen = sa.make_url(database).set(port=to_database.port).render_as_string(hide_password=False)
    async with storm(
        database, folder, load, chaos, round_, seen_by_workers=seen, ledger_seen_by_workers=by_proxy
    ) as running:
        await running.faults(chaos.size(3, 20), partial(broken_for_a_while, ways[broken]))
        await running.settle(within=chaos.size(90, 300))


async def broken_for_a_while(way: Proxy, running: Storm) -> None:
    name = running.round.random.choice(list(FAULTS))
    running.chaos.count(f"times {name}")
    await asyncio.to_thread(FAULTS[name], way, running.round.random.randrange(1, _BYTES))
    await asyncio.sleep(running.briefly())  # the fault itself
    await asyncio.to_thread(way.mend)


async def test_a_connection_that_never_answers_again_is_given_up(
    chaos: Chaos, postgres: LocalPostgres, tmp_path: Path
) -> None:
    """The server's end of a connection stands still for good; TCP says that all is well. One worker, alone."""
    load = Load(executions=chaos.size(4, 20), length=chaos.size(20, 40), width=5)
    for round_ in chaos.rounds():
        frozen: set[int] = set()
        try:
            database = postgres.create_database()
            async with storm(database, tmp_path, load, chaos, round_, workers=1) as running:
                await running.faults(chaos.size(2, 8), partial(freeze_backends, database, frozen))
                assert frozen
                await running.settle(within=chaos.size(90, 300))
        finally:
            for pid in frozen:
                with suppress(ProcessLookupError):  # those whose client hung up have ended
                    os.kill(pid, signal.SIGCONT)


async def freeze_backends(database: str, frozen: set[int], running: Storm) -> None:
    """Stop those of the worker's backends that hold no lock: a statement that comes to one is never answered."""
    query = (
        "SELECT pid, state = 'idle' FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name LIKE 'worker-%'"
    )
    async with await psycopg.AsyncConnection.connect(plain_url(database), autocommit=True) as connection:
        for pid, _ in await (await connection.execute(query)).fetchall():
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(0.05)  # until the signals have arrived: the state shown is then the one that stays
        rows = await (await connection.execute(query)).fetchall()
    for pid, idle in rows:
        if not idle and pid not in frozen:
            os.kill(pid, signal.SIGCONT)
    running.chaos.count("connections frozen", sum(idle for _, idle in rows))
    frozen.update(pid for pid, idle in rows if idle)

"""What tests under faults share: a load of ledger calls, faults at moments that its progress chooses, a verdict."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.store import open_store
from tests.support.fleet import Fleet
from tests.support.invariants import all_over, ledger_violations, store_violations, succeeded
from tests.support.ledger import LedgerProcess, keys, rounds
from tests.support.stores import submission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from orchestrator.store import ExecutionRecord, Store
    from tests.support.chaos import Chaos, Round
    from tests.support.fleet import Member


@dataclass(frozen=True, slots=True)
class Load:
    """Executions at once, each of `length` rounds, one after the other, of `width` ledger calls side by side."""

    executions: int
    length: int
    width: int

    @property
    def calls(self) -> int:
        return self.executions * self.length * self.width


@dataclass
class Storm:
    """Workers on a database, a ledger, and a load that is running."""

    store: Store
    ledger: LedgerProcess
    fleet: Fleet
    ids: list[str]
    load: Load
    round: Round
    chaos: Chaos

    async def faults(self, times: int, fault: Callable[[Storm], Awaitable[None]]) -> None:
        """Do it up to so many times, at moments that are spread over the load by chance.

        A moment that passes during the fault before it is gone: the load must not be over when a fault comes.
        """
        begun = False
        for moment in sorted(self.round.random.sample(range(self.load.calls * 3 // 4), k=times)):
            if begun and await asyncio.to_thread(self.ledger.requests) > moment:
                continue
            async with asyncio.timeout(300):
                while await asyncio.to_thread(self.ledger.requests) < moment:
                    await asyncio.sleep(0.01)
            await fault(self)
            begun = True

    def briefly(self) -> float:
        """How many seconds a fault may take."""
        return self.round.random.uniform(0.2, self.chaos.size(1.5, 4.0))

    async def settle(self, within: float) -> list[ExecutionRecord]:
        """Once all are over: each effect took place, once, and nothing that must hold does not. The rows."""
        records = await all_over(self.store, self.ids, within)
        books = self.ledger.books()
        assert succeeded(records) == []
        wanted = {id_: keys(id_, self.load.length, self.load.width) for id_ in self.ids}
        assert ledger_violations(books, wanted) == []
        assert await store_violations(self.store, self.ids) == []
        self.chaos.count("effects", self.load.calls)
        self.chaos.count("requests repeated", books.repeats)
        return records


@asynccontextmanager
async def storm(
    database: str,
    folder: Path,
    load: Load,
    chaos: Chaos,
    round_: Round,
    *,
    workers: int | None = None,
    seen_by_workers: str | None = None,
    ledger_seen_by_workers: Callable[[LedgerProcess], str] = lambda ledger: ledger.url,
    lease: str = "1s",
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Storm]:
    """A load that runs while the block does, on two workers (one in `make test`) if nothing else is said.

    What the workers see may be another URL, that of something that lies between.
    """
    folder = folder / f"round-{round_.number}"
    ids = [f"x{round_.number}-{index}" for index in range(load.executions)]
    store = await open_store(database)
    try:
        with Fleet(seen_by_workers or database, folder, lease=lease, environment=environment) as fleet:
            for _ in range(workers or chaos.size(1, 2)):
                fleet.start()
            with LedgerProcess(folder) as ledger:
                flow = rounds(ledger_seen_by_workers(ledger), load.length, load.width)
                await store.submit([submission(id_, workflow=flow) for id_ in ids], datetime.now(UTC))
                yield Storm(store, ledger, fleet, ids, load, round_, chaos)
    finally:
        await store.close()


async def kill_a_worker(running: Storm, victim: Member | None = None) -> None:
    """SIGKILL for one of them (by chance), and another in its place."""
    await asyncio.to_thread((victim or running.round.random.choice(running.fleet.alive)).kill)
    running.fleet.start()
    running.chaos.count("workers killed")

"""The database's disk is full to the last byte: the engine says so, loses nothing, and goes on when there is space."""

from __future__ import annotations

import asyncio
import re
import resource
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import StoreUnavailable
from tests.machine.chaos.storm import Load, Storm, storm
from tests.support.invariants import all_over, succeeded
from tests.support.polling import until
from tests.support.postgres import LocalPostgres
from tests.support.small_disk import SmallDisk
from tests.support.stores import submission

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.store import Store
    from tests.support.chaos import Chaos

_ROOM_FOR_LOGS = 100_000  # bytes: a worker has to tell what it is refused
_LARGE = "x" * 200_000  # of which no free page has room


async def test_a_full_disk_below_sqlite_loses_nothing(chaos: Chaos, tmp_path: Path) -> None:
    for round_ in chaos.rounds():
        with SmallDisk(megabytes=64) as disk:
            if not disk.mounted_for_all:
                pytest.skip("SQLite on a small disk needs root; a test beside this one forbids its files to grow")
            async with storm(f"sqlite:///{disk.path / 'store.db'}", tmp_path, load(chaos), chaos, round_) as running:
                await running.faults(chaos.size(1, 6), partial(full_for_a_while, disk, None))
                await running.settle(within=chaos.size(90, 300))


async def test_a_full_disk_below_postgresql_loses_nothing(chaos: Chaos, tmp_path: Path) -> None:
    for round_ in chaos.rounds():
        with SmallDisk(megabytes=256) as disk, LocalPostgres(where=disk.path) as server:
            async with storm(server.create_database(), tmp_path, load(chaos), chaos, round_) as running:
                await running.faults(chaos.size(1, 6), partial(full_for_a_while, disk, server))
                await running.settle(within=chaos.size(90, 300))


async def test_sqlite_files_that_may_not_grow_lose_nothing(chaos: Chaos, tmp_path: Path) -> None:
    """What a user without rights can do: the kernel refuses every byte behind a place that the files have passed."""
    for round_ in chaos.rounds():
        database = f"sqlite:///{tmp_path / f'store-{round_.number}.db'}"
        async with storm(database, tmp_path, load(chaos), chaos, round_) as running:
            await running.faults(chaos.size(1, 6), forbidden_to_grow)
            await running.settle(within=chaos.size(90, 300))


def load(chaos: Chaos) -> Load:
    return Load(executions=chaos.size(4, 20), length=chaos.size(20, 40), width=5)


async def full_for_a_while(disk: SmallDisk, server: LocalPostgres | None, running: Storm) -> None:
    """Fill the disk until the engine has said that it cannot write, and then free it."""
    await asyncio.to_thread(disk.fill)
    running.chaos.count("disks full")
    accepted = await submitted_until_refused(running.store)
    await asyncio.sleep(running.briefly())  # the fault itself
    await asyncio.to_thread(disk.free)
    if server is not None:
        await asyncio.to_thread(server.start_again)  # as its supervisor would, if it gave up
    records = await all_over(running.store, accepted, within=90)
    assert succeeded(records) == []


async def submitted_until_refused(store: Store) -> list[str]:
    """What was accepted before the store said that it is unavailable: all of it has to be run."""
    accepted: list[str] = []
    async with asyncio.timeout(60):
        while True:
            id_ = f"late-{datetime.now(UTC):%H%M%S%f}"
            try:
                await store.submit([submission(id_, input={"n": 1, "much": _LARGE})], datetime.now(UTC))
            except StoreUnavailable:
                return accepted
            accepted.append(id_)


async def forbidden_to_grow(running: Storm) -> None:
    said = told(running)
    logs = [len(running.fleet.log(member)) for member in running.fleet.alive]
    limit_files(running, max(logs) + _ROOM_FOR_LOGS)  # the database is larger, and its log of writes will soon be
    await until(lambda: told(running) > said, "a worker says what its files are refused")
    running.chaos.count("times forbidden to grow")
    limit_files(running, resource.RLIM_INFINITY)


def limit_files(running: Storm, most: int) -> None:
    """The size in bytes that no file of a worker may exceed from now on."""
    for member in running.fleet.alive:
        _, hard = resource.prlimit(member.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(member.process.pid, resource.RLIMIT_FSIZE, (most, hard))


def told(running: Storm) -> int:
    """How often workers have told of their disk, in SQLite's own words."""
    logs = [running.fleet.log(member) for member in running.fleet.alive]
    return sum(len(re.findall("disk I/O error|disk is full", log)) for log in logs)

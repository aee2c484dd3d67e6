"""PgBouncer in transaction mode, where each transaction may be on another connection, and few of them are shared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.machine.chaos.storm import Load, kill_a_worker, storm
from tests.support.pgbouncer import PgBouncer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.chaos import Chaos
    from tests.support.postgres import LocalPostgres


async def test_workers_behind_pgbouncer_in_transaction_mode_lose_and_repeat_nothing(
    chaos: Chaos, postgres: LocalPostgres, tmp_path: Path
) -> None:
    load = Load(executions=chaos.size(4, 40), length=chaos.size(20, 40), width=5)
    for round_ in chaos.rounds():
        with PgBouncer(postgres.create_database(), connections=3) as bouncer:
            # Everything goes through it: the migration, the submissions, three workers and the verdict.
            async with storm(bouncer.url, tmp_path, load, chaos, round_, workers=3) as running:
                await running.faults(chaos.size(1, 10), kill_a_worker)
                await running.settle(within=chaos.size(90, 300))

"""Workers are killed at random while executions call a ledger: each step has its effect, and has it once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.machine.chaos.storm import Load, Storm, kill_a_worker, storm

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.chaos import Chaos


async def test_forty_rounds_of_ten_ledger_calls_have_exactly_400_effects_an_execution(
    chaos: Chaos, database: str, tmp_path: Path
) -> None:
    load = Load(executions=chaos.size(5, 50), length=40, width=10)
    for round_ in chaos.rounds():
        async with storm(database, tmp_path, load, chaos, round_, workers=2) as running:
            await running.faults(chaos.size(2, 25), kill_one_or_all)
            await running.settle(within=chaos.size(120, 900))
            assert {len(keys) for keys in running.ledger.books().effects.values()} == {400}


async def kill_one_or_all(running: Storm) -> None:
    if running.round.random.random() > 0.2:
        await kill_a_worker(running)
        return
    for _ in running.fleet.alive:
        await kill_a_worker(running, running.fleet.alive[0])

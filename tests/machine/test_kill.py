"""`kill -9` of a worker in mid-execution: another one goes on, and no committed step runs again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator import events as e
from orchestrator.model import Status
from tests.support.engine import ended, node, spec
from tests.support.stores import submission, workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.store import Store

STEPS = 6
ROOT = Path(__file__).parents[2]


@pytest.fixture
def start(database: str, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts real worker processes, and ends what is left of them."""
    processes = []

    def begin() -> subprocess.Popen[bytes]:
        environment = os.environ | {"EFFECTS": str(tmp_path / "effects"), "ORCHESTRATOR_LEASE": "1s"}
        command = [sys.executable, "-m", "orchestrator.cli.main", "worker", "--database", database]
        process = subprocess.Popen(
            [*command, "--functions", "tests.machine.steps"],
            env=environment | {"PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.wait()


async def test_a_killed_workers_executions_are_finished_by_the_next_one(
    store: Store, start: Callable[[], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    effects = tmp_path / "effects"
    effects.touch()
    call = {"with": {"call": "tests:effect"}}
    chain = [node("n0", type_="python", **call)]
    chain += [node(f"n{i}", f"n{i - 1}", type_="python", **call) for i in range(1, STEPS)]
    ids = [f"x{i}" for i in range(10)]
    flow = workflow(spec(*chain))
    await store.submit([submission(id_, workflow=flow) for id_ in ids], datetime.now(UTC))

    worker = start()
    for lines in (8, 20, 32):  # three kills at three places
        await until_lines(effects, lines)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker = start()
    records = await ended(store, ids, within=60)

    assert {record.status for record in records} == {Status.SUCCESS}
    ran = Counter(effects.read_text().split())
    completions: Counter[str] = Counter()
    for id_ in ids:
        for recorded in await store.events(id_):
            if isinstance(recorded.event, e.StepCompleted):
                completions[f"{id_}/{recorded.event.node}"] += 1
    assert completions == dict.fromkeys((f"{id_}/n{i}" for id_ in ids for i in range(STEPS)), 1)
    assert ran.keys() == completions.keys()
    # What ran again was in flight at one of the kills: never a step behind the one that follows it.
    assert sum(ran.values()) - len(ran) <= 3 * len(ids)


async def until_lines(path: Path, lines: int) -> None:
    import asyncio

    async with asyncio.timeout(60):
        while len(path.read_text().splitlines()) < lines:
            await asyncio.sleep(0.02)

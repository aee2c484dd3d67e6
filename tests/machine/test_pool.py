"""Several worker processes under one: they share the work, a dead one is replaced, and their metrics are one page."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.model import Status
from tests.support.engine import ended, node, spec
from tests.support.polling import until
from tests.support.ports import free_port
from tests.support.probes import probe
from tests.support.stores import submission, workflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.store import Store

ROOT = Path(__file__).parents[2]
CALL = {"with": {"call": "tests:effect"}}
FLOW = workflow(spec(node("n0", type_="python", **CALL), node("n1", "n0", type_="python", **CALL)))


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def pool(database: str, tmp_path: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    (tmp_path / "effects").touch()
    environment = os.environ | {"EFFECTS": str(tmp_path / "effects"), "ORCHESTRATOR_LEASE": "1s"}
    command = [sys.executable, "-m", "orchestrator.cli.main", "worker", "--database", database, "--processes", "2"]
    command += ["--functions", "tests.machine.steps", "--metrics-port", str(port), "--metrics-address", "127.0.0.1"]
    process = subprocess.Popen(command, env=environment | {"PYTHONPATH": str(ROOT)}, cwd=tmp_path)
    yield process
    process.send_signal(signal.SIGTERM)
    process.wait(30)


async def submitted(store: Store, names: list[str]) -> list[str]:
    await store.submit([submission(name, workflow=FLOW) for name in names], datetime.now(UTC))
    return names


def children(process: subprocess.Popen[bytes]) -> list[int]:
    told = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in told.split()]


async def until_two(process: subprocess.Popen[bytes], without: int = 0) -> list[int]:
    async with asyncio.timeout(60):
        while len(found := [pid for pid in children(process) if pid != without]) < 2:
            await asyncio.sleep(0.05)
    return found


async def test_a_pool_finishes_what_is_submitted(store: Store, pool: subprocess.Popen[bytes]) -> None:
    records = await ended(store, await submitted(store, [f"x{i}" for i in range(20)]), within=60)
    assert {record.status for record in records} == {Status.SUCCESS}


async def test_a_process_of_the_pool_that_dies_is_replaced(store: Store, pool: subprocess.Popen[bytes]) -> None:
    first, _ = await until_two(pool)
    os.kill(first, signal.SIGKILL)
    await until_two(pool, without=first)
    records = await ended(store, await submitted(store, ["y0", "y1"]), within=60)
    assert {record.status for record in records} == {Status.SUCCESS}


async def test_the_metrics_of_a_pool_are_the_sum_of_its_processes(
    store: Store, pool: subprocess.Popen[bytes], port: int
) -> None:
    await ended(store, await submitted(store, [f"z{i}" for i in range(12)]), within=60)
    page = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode())
    finished = r'^orchestrator_executions_finished_total\{engine="v2",status="success"\} (\S+)'
    (count,) = re.findall(finished, page, re.MULTILINE)
    assert float(count) == 12


async def test_a_pool_is_ready_once_all_of_it_runs(pool: subprocess.Popen[bytes], port: int) -> None:
    """And its probes are probes, not one more page of metrics."""
    await until_two(pool)

    def ready() -> bool:
        answer = probe(port, "/healthz")
        return answer is not None and answer.json() == {"ok": True, "silent": []}

    await until(ready, "a pool that is ready")


async def test_a_pool_drains_and_ends_on_sigterm(store: Store, pool: subprocess.Popen[bytes]) -> None:
    await until_two(pool)
    pool.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(pool.wait, 30) == 0

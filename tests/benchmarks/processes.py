"""Worker processes on one PostgreSQL: 1, 2, 4 of them work off the same heap of executions."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

import tests.benchmarks.steps  # noqa: F401 - registers the function of a trivial step
from orchestrator.authoring import compile_workflow
from orchestrator.store import open_store
from tests.benchmarks import machine, servers, templates, usage
from tests.benchmarks.load import STEPS
from tests.benchmarks.ours import chain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROCESSES = (1, 2, 4)
_PATIENCE = 300.0  # seconds for a heap
_ORCHESTRATOR = str(Path(sys.executable).with_name("orchestrator"))

# The middle nine tenths: neither the start of the processes nor the last few executions.
_MIDDLE = """
SELECT count(*), extract(epoch FROM max(finished_at) - min(finished_at))
  FROM (SELECT finished_at, ntile(20) OVER (ORDER BY finished_at) AS part
          FROM workflow_executions WHERE finished_at IS NOT NULL) AS parts
 WHERE part BETWEEN 2 AND 19"""
_OPEN = "SELECT count(*) FROM workflow_executions WHERE finished_at IS NULL"


def run(tell: Callable[[str], None], executions: int) -> dict[str, Any]:
    """How many steps a second so many processes do together."""
    rows = []
    with servers.postgres() as server:
        for processes in PROCESSES:
            url = server.create_database()
            asyncio.run(_heap(url, executions))
            before = usage.tree_cpu(server.pid)
            with _working(url, processes) as started:
                rate, worked = _work_off(url), sum(usage.tree_cpu(pid) for pid in started)
            thousands = executions * STEPS / 1000
            row = {
                "processes": processes,
                "steps_per_second": rate,
                "worker_cpu_s_per_1000_steps": worked / thousands,
                "database_cpu_s_per_1000_steps": (usage.tree_cpu(server.pid) - before) / thousands,
            }
            tell(f"{processes} processes: {rate:,.0f} steps/s")
            rows.append(row)
        described = machine.postgres(server.url().replace("+psycopg", ""))
    return {"machine": machine.describe(), "postgresql": described, "executions": executions, "rows": rows}


async def _heap(url: str, executions: int) -> None:
    store = await open_store(url)
    workflow = compile_workflow(chain("trivial"), namespace="bench", name="heap")
    await templates.submit(store, {uuid.uuid4().hex: workflow for _ in range(executions)})
    await store.close()


@contextmanager
def _working(url: str, processes: int) -> Iterator[list[int]]:
    """Workers as people start them: with `--processes` where the command has it, else one by one."""
    command = [_ORCHESTRATOR, "worker", "--database", url, "--functions", "tests.benchmarks.steps"]
    environment = os.environ | {"ORCHESTRATOR_V1": "off", "ORCHESTRATOR_LOG_LEVEL": "warning"}
    help_ = subprocess.run([_ORCHESTRATOR, "worker", "--help"], capture_output=True, text=True, check=True)
    flag = "--processes" in help_.stdout
    commands = [[*command, "--processes", str(processes)]] if flag else [command] * processes
    with ExitStack() as stack:
        started = [
            stack.enter_context(subprocess.Popen(one, env=environment, stderr=subprocess.DEVNULL)) for one in commands
        ]
        try:
            yield [process.pid for process in started]
        finally:
            for process in started:
                process.send_signal(signal.SIGTERM)


def _work_off(url: str) -> float:
    """Wait until nothing is left; steps a second."""
    deadline = time.monotonic() + _PATIENCE
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        while (left := connection.execute(_OPEN).fetchone()) is not None and left[0]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{left[0]} executions are left after {_PATIENCE:.0f} s")
            time.sleep(0.25)
        count, seconds = connection.execute(_MIDDLE).fetchone() or (0, 1)
    return int(count) * STEPS / float(seconds)

"""A trace outlives its worker: what the next one does goes on in the same tree."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.model import Status, Trace
from orchestrator.tracecontext import span_of
from tests.support.engine import ended, node, spec
from tests.support.stores import submission, workflow
from tests.support.tracing import CALLER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.store import Store

ROOT = Path(__file__).parents[2]
CALL = {"with": {"call": "tests:effect"}}
NODES = [f"n{number}" for number in range(8)]


@pytest.fixture
def start(database: str, tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Starts real worker processes that write their spans, one JSON a line, to a file of that name."""
    processes = []

    def begin(name: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {"EFFECTS": str(tmp_path / "effects"), "ORCHESTRATOR_LEASE": "1s"}
        environment |= {"ORCHESTRATOR_TRACING": "on", "OTEL_TRACES_EXPORTER": "console", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "orchestrator.cli.main", "worker", "--database", database]
        with (tmp_path / name).open("wb") as out:
            process = subprocess.Popen(
                [*command, "--functions", "tests.machine.steps"], env=environment, cwd=tmp_path, stdout=out
            )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def spans(path: Path) -> list[dict[str, Any]]:
    """Every span that was written whole."""
    whole = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
    return [json.loads(line) for line in whole if line.strip()]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # that every store keeps a trace is told elsewhere
async def test_after_a_kill_the_spans_go_on_in_the_same_trace(
    store: Store, start: Callable[[str], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    effects = tmp_path / "effects"
    effects.touch()
    needs = zip(NODES, [(), *((name,) for name in NODES)], strict=False)
    flow = workflow(spec(*(node(name, *before, type_="python", **CALL) for name, before in needs)))
    await store.submit([submission("x1", workflow=flow, trace=Trace(CALLER, "vendor=1"))], datetime.now(UTC))
    worker = start("first")
    async with asyncio.timeout(60):
        while len(effects.read_text().splitlines()) < 4:
            await asyncio.sleep(0.01)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    second = start("second")
    (record,) = await ended(store, ["x1"], within=60)
    assert record.status is Status.SUCCESS
    second.send_signal(signal.SIGTERM)  # what is left is sent before it ends
    second.wait()

    before, after = spans(tmp_path / "first"), spans(tmp_path / "second")
    assert {one["name"] for one in before} >= {"step n0", "attempt n0", "checkpoint n0"}
    assert {one["name"] for one in after} >= {"step n7", "attempt n7", "checkpoint n7", "execution default/chain"}
    both = before + after
    assert {one["context"]["trace_id"] for one in both} == {f"0x{CALLER[3:35]}"}
    parents = {f"execution {flow.id}": CALLER[36:52]}
    for name in NODES:
        step = f"{span_of('x1', name):016x}"
        parents |= {f"step {name}": f"{span_of('x1'):016x}", f"attempt {name}": step, f"checkpoint {name}": step}
    assert {one["name"]: one["parent_id"] for one in both} == {
        name: f"0x{parents[name]}" for name in {one["name"] for one in both}
    }
    committed = [one["name"] for one in both if not one["name"].startswith("attempt")]
    assert len(committed) == len(set(committed))  # no step is told twice, although one may have been tried twice
    written = {one["context"]["span_id"] for one in after if one["name"].startswith("execution")}
    assert written == {f"0x{span_of('x1'):016x}"}

"""What the size of an execution costs: ten to ten thousand nodes, one after the other, side by side, and in a map."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from orchestrator.authoring import compile_workflow
from orchestrator.errors import OrchestratorError
from tests.benchmarks import child, machine, servers, usage
from tests.benchmarks.ours import Ours, chain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NODES = (10, 100, 1_000, 10_000)
ITEMS = (100, 1_000, 10_000)


def run(tell: Callable[[str], None], deadline: float) -> dict[str, Any]:
    """Every shape and size, each in a process and a database of its own; at most `deadline` seconds each."""
    rows = []
    with servers.postgres() as server:
        for shape, size in _plan():
            refused = refusal(shape, size)
            if refused:
                row: dict[str, Any] = {"shape": shape, "size": size, "skipped": refused}
            else:
                arguments = {"database": server.create_database(), "shape": shape, "size": size, "deadline": deadline}
                row = {"shape": shape, "size": size} | child.call(
                    "tests.benchmarks.sizes:one", arguments, deadline + 60
                )
            tell(f"{shape} of {size:,}: {row}")
            rows.append(row)
        described = machine.postgres(server.url().replace("+psycopg", ""))
    return {"machine": machine.describe(), "postgresql": described, "versions": machine.versions(), "rows": rows}


def _plan() -> Iterator[tuple[str, int]]:
    for shape, sizes in (("chain", NODES), ("fan", NODES), ("map", ITEMS)):
        for size in sizes:
            yield shape, size


def spec(shape: str, size: int) -> dict[str, Any]:
    """A workflow of trivial steps: one after the other, all at once, or one for each item of a list."""
    step = {"type": "python", "with": {"call": "bench-step", "args": {"number": 1}}}
    if shape == "chain":
        return chain("trivial", steps=size)
    if shape == "fan":
        return {"nodes": [{"id": f"s{n}", **step} for n in range(size)]}
    # The list is made by a step: as an input it would be part of the submission, and not of the work.
    items = {"id": "items", "type": "transform", "with": {"list": list(range(size))}}
    each = {"id": "each", "type": "map", "needs": ["items"]}
    return {"nodes": [items, each | {"with": {"items": "${nodes.items.output.list}", "concurrency": 100, "do": step}}]}


def refusal(shape: str, size: int) -> str:
    """Why this version does not take such a workflow; "" when it does."""
    try:
        compile_workflow(spec(shape, size), namespace="bench", name=shape)
    except OrchestratorError as error:
        return str(error).splitlines()[-1]
    return ""


async def one(database: str, shape: str, size: int, deadline: float) -> dict[str, Any]:
    """Run one execution to its end, or as far as it goes within the deadline."""
    began = time.perf_counter()
    engine = Ours(database, "size", at_once=1, spec=spec(shape, size))
    compiled = time.perf_counter() - began
    await engine.__aenter__()
    before = usage.own_cpu()
    began = time.perf_counter()
    finished = False
    with suppress(TimeoutError):
        async with asyncio.timeout(deadline):
            await engine.execute()
            finished = True
    took = time.perf_counter() - began
    steps = engine.steps
    return {
        "finished": finished,
        "seconds": took,
        "steps": steps,
        "ms_per_step": took * 1000 / max(steps, 1),
        "cpu_ms_per_step": (usage.own_cpu() - before) * 1000 / max(steps, 1),
        "compile_seconds": compiled,
        "peak_mb": usage.own_peak_mb(),
    }

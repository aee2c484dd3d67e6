"""The executions that are copied: run by the engine itself, in the store that is filled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from orchestrator.authoring import compile_workflow
from orchestrator.clock import SystemClock
from orchestrator.functions import Functions, NonRetryable
from orchestrator.model import Assignment, Engine, Status
from orchestrator.store import Submission
from tests.support.engine import working

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.model import Workflow
    from orchestrator.store import Store

_WITHIN = 60.0  # seconds


def _node(number: int, type_: str, with_: dict[str, Any]) -> dict[str, Any]:
    return {"id": f"s{number}", "type": type_, "needs": [f"s{number - 1}"] if number else [], "with": with_}


def steps(count: int, last: str = "works") -> dict[str, Any]:
    """A chain of `transform` and `python` steps in turn; the last one may call `fails`."""
    nodes = []
    for number in range(count):
        call = last if number == count - 1 else "works"
        python = number % 2 == 1
        nodes.append(_node(number, *(("python", {"call": call}) if python else ("transform", {"number": number}))))
    return {"nodes": nodes}


WAITS = {"nodes": [_node(0, "transform", {"number": 1}), _node(1, "wait", {"duration": "7d"})]}


async def run(store: Store, specs: dict[str, dict[str, Any]], until: Sequence[Status]) -> None:
    """Run one execution of each spec, with its name as its id, until each has one of these statuses."""
    functions = Functions()
    functions.register(_works, "works")
    functions.register(_fails, "fails")
    await submit(store, {name: compile_workflow(spec, namespace="bench", name=name) for name, spec in specs.items()})
    async with working(store, functions), asyncio.timeout(_WITHIN):
        while True:
            records = [await store.get(name) for name in specs]
            if all(record is not None and record.status in until for record in records):
                return
            await asyncio.sleep(0.05)


async def submit(store: Store, workflows: dict[str, Workflow]) -> None:
    """Submit an execution of each workflow, with the key as its id, and with the router's log line."""
    batch = [
        Submission(
            id=execution_id,
            workflow=workflow,
            engine=Engine.V2,
            assignment=Assignment.EXECUTION,
            input={},
            log_line=f"Usando Orchestrator V2 execution={execution_id}",
        )
        for execution_id, workflow in workflows.items()
    ]
    for first in range(0, len(batch), 500):
        await store.submit(batch[first : first + 500], SystemClock().now())


async def _works() -> int:
    return 1


async def _fails() -> int:
    raise NonRetryable("as it shall")

"""Temporal: its Python SDK in the process that also generates the load, its development server in another.

The server keeps its state in SQLite, in a file (`temporal`) or in memory (`temporal-memory`, which loses everything
when it ends, and is here because it is how that server comes).
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Self

import aiohttp
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker

from tests.benchmarks.load import STEPS

if TYPE_CHECKING:
    from types import TracebackType

CONFIGURATION = {
    "as": "one process with client and worker; the development server (SQLite: a file, or memory) in another",
    "steps": "an activity each, a coroutine; http: aiohttp's session, kept open",
    "worker": "pollers scale by themselves, no sandbox (faster), as many activities and workflow tasks as executions",
}
_QUEUE = "bench"


@dataclass
class _Steps:
    """What the activities share."""

    url: str
    session: aiohttp.ClientSession | None
    count: int = 0

    @activity.defn(name="step")
    async def step(self, number: int) -> int:
        if self.session is not None:
            async with self.session.get(self.url) as response:
                await response.json()
        self.count += 1
        return number


@workflow.defn(name="ten-steps")
class TenSteps:
    """Ten activities, one after the other."""

    @workflow.run
    async def run(self) -> None:
        """Run them."""
        for number in range(STEPS):
            await workflow.execute_activity("step", number, start_to_close_timeout=timedelta(seconds=60))


class Temporal:
    """One process of Temporal's SDK under load."""

    def __init__(self, address: str, workload: str, at_once: int, url: str = "") -> None:
        self._address, self._workload, self._at_once, self._url = address, workload, at_once, url

    @property
    def steps(self) -> int:
        """Activities that ran."""
        return self._steps.count

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector) if self._workload == "http" else None
        self._steps = _Steps(self._url, self._session)
        self._client = await Client.connect(self._address)
        slots = max(100, 2 * self._at_once)
        worker = Worker(
            self._client,
            task_queue=_QUEUE,
            workflows=[TenSteps],
            activities=[self._steps.step],
            workflow_runner=UnsandboxedWorkflowRunner(),
            max_concurrent_activities=slots,
            max_concurrent_workflow_tasks=slots,
            workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
            activity_task_poller_behavior=PollerBehaviorAutoscaling(),
        )
        self._running = asyncio.create_task(worker.run(), name="temporal-worker")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.cancel()

    async def execute(self) -> None:
        """Start the workflow, and wait for its result."""
        await self._client.execute_workflow("ten-steps", id=uuid.uuid4().hex, task_queue=_QUEUE)

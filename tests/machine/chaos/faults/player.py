"""Plays a shape in a process of its own, with a fault in it or without; and goes on where an earlier play crashed."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from orchestrator import events as e
from orchestrator.authoring import compile_workflow
from orchestrator.clock import SystemClock
from orchestrator.errors import StoreUnavailable
from orchestrator.functions import Functions, NonRetryable
from orchestrator.nodes.addresses import AllowList
from orchestrator.nodes.runner import NodeRunner
from orchestrator.store import Delivery, open_store
from orchestrator.worker import Worker, WorkerSettings
from tests.machine.chaos.faults.shapes import EXECUTION
from tests.support.stores import submission

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from orchestrator.nodes.base import StepContext
    from orchestrator.store import Store
    from tests.machine.chaos.faults.shapes import Shape

LEASE = timedelta(milliseconds=400)
_SETTINGS = WorkerSettings(
    poll=timedelta(milliseconds=20), lease=LEASE, batch=timedelta(0), drain=timedelta(seconds=10)
)


class Book:
    """The effects: one line a request, in a file that outlives the process. Who reads it counts each key once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, key: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{key}\n")
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[str]:
        return self.path.read_text(encoding="utf-8").split() if self.path.exists() else []


def functions_of(book: Book) -> Functions:
    """What python steps call."""
    functions = Functions()

    async def effect(context: StepContext) -> str:
        book.write(context.idempotency_key)
        return context.idempotency_key

    async def broken(context: StepContext) -> None:
        if context.attempt > 1:
            raise NonRetryable("declined")
        raise RuntimeError("not now")

    functions.register(effect, "effect")
    functions.register(broken, "broken")
    return functions


async def play(database: str, shape: Shape, folder: Path, service: str) -> None:
    """Submit, send what the shape sends, and work until nothing is left; idempotent."""
    book = Book(folder / "effects")
    store = await _insisted(lambda: opened(database))
    try:
        await _ask(store, shape, service)
        async with NodeRunner(allowed=AllowList.parse("127.0.0.0/8"), functions=functions_of(book)) as runner:
            worker = Worker(store, runner, SystemClock(), _SETTINGS)
            cancelling = asyncio.create_task(_cancel(store, shape, book))
            await worker.run(asyncio.Event(), until_idle=True)
            await cancelling
            await worker.run(asyncio.Event(), until_idle=True)  # a cancel may have come when it was idle already
    finally:
        await store.close()


async def opened(database: str) -> Store:
    """A path, or an URL with the name of a schema behind a `#`."""
    url, _, schema = database.partition("#")
    return await open_store(url, schema=schema or "public")


async def _ask(store: Store, shape: Shape, service: str) -> None:
    for name, spec in shape.children.items():
        child = compile_workflow(spec, namespace="default", name=name)
        await _insisted(lambda child=child: store.put_workflow(child))
    flow = compile_workflow(shape.spec, namespace="default", name="main")
    wanted = submission(EXECUTION, workflow=flow, input=shape.input | {"service": service})
    await _insisted(lambda: store.submit([wanted], datetime.now(UTC)))
    for name, payload in shape.signals.items():
        sent = e.SignalReceived(datetime.now(UTC), name, payload, f"signal-{name}")
        await _insisted(lambda sent=sent: store.deliver([Delivery(EXECUTION, sent)]))


async def _cancel(store: Store, shape: Shape, book: Book) -> None:
    if shape.cancel_at is None:
        return
    while f"{EXECUTION}/{shape.cancel_at}" not in book.read():
        await asyncio.sleep(0.01)
    await _insisted(lambda: store.deliver([Delivery(EXECUTION, e.CancelRequested(datetime.now(UTC)))]))


async def _insisted(ask: Callable[[], Awaitable[Any]]) -> Any:
    """As any client does: ask again when nobody knows whether it was done."""
    for _ in range(100):
        with suppress(StoreUnavailable):
            return await ask()
    raise AssertionError("the store never answered")


class _Silence:
    def msg(self, message: str) -> None:
        """Nothing: what a worker says under hundreds of faults would bury the findings."""

    log = debug = info = warning = error = critical = exception = msg


def silence() -> None:
    """Let this process log nothing."""
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()], logger_factory=lambda *_: _Silence())

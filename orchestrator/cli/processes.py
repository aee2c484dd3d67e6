"""What `run` and `worker` share: opening the store, the node runner and a worker, and closing them again."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import functions
from orchestrator.clock import SystemClock
from orchestrator.containers import open_containers
from orchestrator.engines.v1_http.open import open_v1_http
from orchestrator.errors import OrchestratorError
from orchestrator.model import Engine
from orchestrator.nodes.addresses import AllowList
from orchestrator.nodes.runner import NodeRunner
from orchestrator.secrets import SecretFolder
from orchestrator.store import open_store, open_store_patiently
from orchestrator.store.sql.watched import Watched
from orchestrator.tracing import open_tracing
from orchestrator.worker import Worker, WorkerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from orchestrator.health import Health
    from orchestrator.settings import Settings
    from orchestrator.store import Store


@asynccontextmanager
async def opened(
    settings: Settings, health: Health | None = None, *, patient: bool = False
) -> AsyncIterator[tuple[Store, Worker]]:
    """A store and a worker on it, closed at the end; the worker tells `health` that it works.

    Raises OrchestratorError. One that is `patient` waits for a database that cannot be reached.
    """
    _load_functions([module.strip() for module in settings.functions.split(",") if module.strip()])
    allowed = AllowList.parse(settings.http_allow)
    secrets = SecretFolder(Path(settings.secrets), settings.secret_namespaces) if settings.secrets else None
    open_ = open_store_patiently if patient else open_store
    store = await open_(settings.database, schema=settings.schema, patience=settings.patience)
    tracing = open_tracing(settings.tracing, "orchestrator-worker")
    engines = (Engine.V2,) if settings.v1 == "off" else (Engine.V1, Engine.V2)
    chosen = WorkerSettings(
        concurrency=settings.concurrency, lease=settings.lease, engines=engines, retention=settings.retention
    )
    clock = SystemClock()
    runner: NodeRunner | None = None
    try:
        async with AsyncExitStack() as stack:
            containers = await open_containers(settings.containers)
            runner = NodeRunner(allowed=allowed, secrets=secrets, containers=containers)
            v1 = None
            if settings.v1_http is not None:
                if not isinstance(store, Watched):
                    raise OrchestratorError("ORCHESTRATOR_V1=http needs a store that keeps watches")
                v1 = await stack.enter_async_context(open_v1_http(store, settings.v1_http, clock, settings.lease))
            yield store, Worker(store, runner, clock, chosen, v1, tracing=tracing, health=health)
    finally:
        if tracing is not None:
            await tracing.aclose()
        if runner is not None:
            await runner.aclose()
        await store.close()


def _load_functions(modules: list[str]) -> None:
    here = str(Path.cwd())
    if modules and here not in sys.path:
        sys.path.append(here)  # a console script does not look there; last, so that it hides nothing installed
    functions.load(modules)


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set. The second signal of a kind ends the process as if nobody listened."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def heard(number: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, heard, number)
    return stop


@contextmanager
def signals_cancel() -> Iterator[None]:
    """SIGTERM and SIGINT end what is done in here, quietly, as long as nobody within has handlers of their own."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None  # noqa: S101 - for the type checker: this runs in a task
    told = False

    def end() -> None:
        nonlocal told
        told = True
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    try:
        yield
    except asyncio.CancelledError:
        if not told:
            raise

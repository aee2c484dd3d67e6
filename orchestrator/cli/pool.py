"""Several worker processes under one: `orchestrator worker --processes N`. The store is what they share.

Python runs one core a process; the fencing tokens already make any number of workers safe. The parent starts them,
starts one again that died, hands signals on, and serves the sum of their metrics.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from orchestrator.cli.processes import stop_on_signals
from orchestrator.cli.serving import serving
from orchestrator.clock import SystemClock
from orchestrator.health import Health

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

log = structlog.get_logger(__name__)

_MULTIPROCESS: Final = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own name
_STEADY: Final = 60.0  # seconds: one that ran so long before it died is started again at once
_LONGEST_PAUSE: Final = 30.0


@dataclass(slots=True)
class Pool:
    """N processes of one command. A process that ends by itself with 0 is done; any other end starts it again."""

    command: Sequence[str]
    processes: int
    environment: dict[str, str]
    health: Health
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until all are done, or `stop` is set and all have drained."""
        await asyncio.gather(*(self._keep(number) for number in range(1, self.processes + 1)))

    async def _keep(self, number: int) -> None:
        pause, name = 1.0, f"worker process {number}"
        while not self.stop.is_set():
            began = time.monotonic()
            self.health.expect(name, timedelta())  # not ready while there is none
            process = await asyncio.create_subprocess_exec(*self.command, env=self.environment)
            log.info("worker process started", number=number, pid=process.pid)
            self.health.forget(name)
            code = await self._watch(process)
            mark_process_dead(process.pid, self.environment[_MULTIPROCESS])  # type: ignore[no-untyped-call]  # it has no types
            if code == 0 or self.stop.is_set():
                return
            self.health.expect(name, timedelta())
            pause = 1.0 if time.monotonic() - began > _STEADY else min(2 * pause, _LONGEST_PAUSE)
            log.error("worker process died; another takes its place", number=number, exit_code=code, pause=pause)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), pause)

    async def _watch(self, process: asyncio.subprocess.Process) -> int:
        """The exit code of a process, which is asked to drain when `stop` is set."""
        over, stopped = asyncio.create_task(process.wait()), asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait([over, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not over.done():
                with suppress(ProcessLookupError):
                    process.terminate()
            return await over
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                process.kill()
            raise
        finally:
            stopped.cancel()


def run_pool(processes: int, arguments: Sequence[str], *, metrics_port: int, metrics_address: str) -> None:
    """Run `orchestrator worker ARGUMENTS` N times beside each other; raises OrchestratorError for a port in use."""
    with _metrics_folder() as folder:
        environment = os.environ | {_MULTIPROCESS: str(folder)}
        command = [sys.executable, "-m", "orchestrator.cli.main", "worker", *arguments]

        async def main() -> None:
            health, registry = Health(SystemClock()), CollectorRegistry()
            MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]  # it has no types
            async with AsyncExitStack() as stack:
                if metrics_port:
                    await stack.enter_async_context(serving(health, metrics_port, metrics_address, registry))
                await Pool(command, processes, environment, health, stop_on_signals()).run()

        asyncio.run(main())


@contextmanager
def _metrics_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="orchestrator-metrics-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

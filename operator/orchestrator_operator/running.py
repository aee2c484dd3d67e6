"""One life of the operator: its loops and its watch, from the first comparison to the drain.

A loop that fails in an unforeseen way is logged and begun again; a store or a server that is away is waited for.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from orchestrator.errors import StoreUnavailable
from orchestrator_operator.adapters.kubernetes import KubernetesError
from orchestrator_operator.watch import watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Any

    from orchestrator.door.server import Door
    from orchestrator_operator.heard import Heard
    from orchestrator_operator.resync import Resync
    from orchestrator_operator.settings import Settings
    from orchestrator_operator.specs import Resource
    from orchestrator_operator.watch import Handler

_RESTART = 1.0  # seconds before a loop that failed begins again

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class App:
    """Everything, wired; `run` runs it."""

    settings: Settings
    handlers: Mapping[Resource, Handler]
    loops: Mapping[str, Callable[[], Awaitable[None]]]
    resync: Resync
    heard: Heard
    door: Door | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, which SIGTERM and SIGINT set. Raises WatchEnded if the watch ends by itself."""
        # Before kopf: it takes every task that is made after its own start for one of its own.
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(forever(name, loop), name=name) for name, loop in self.loops.items()
        ]
        try:
            await _first(self.resync)
            watching = asyncio.create_task(
                watch(self.handlers, self.heard.note, self.settings.watched, self.settings.watch_silence, stop),
                name="watch",
            )
            stopping = asyncio.create_task(stop.wait(), name="stop")
            tasks += [stopping, watching]
            _log.info("operator runs", namespace=self.settings.namespace, scope=self.settings.scope)
            await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()  # raises what ended it; without that it was a signal
            _log.info("operator drains")
        finally:
            if self.door is not None:  # before the watch ends, which ends every task that began after it
                await self.door.aclose()
            await _cancel(*tasks[: len(self.loops)])  # they drain while the watch still holds
            await _cancel(*tasks[len(self.loops) :])


async def _first(resync: Resync) -> None:
    while True:
        try:
            await resync.once()
        except (StoreUnavailable, KubernetesError) as error:
            _log.warning("the first comparison waits", error=str(error))
            await asyncio.sleep(2.0)
        else:
            return


async def forever(name: str, loop: Callable[[], Awaitable[None]]) -> None:
    """Run a loop until cancelled; an error of a kind that nobody foresaw ends neither it nor the process."""
    while True:
        try:
            await loop()
        except Exception:  # noqa: BLE001 - see the docstring: that is what this function is for
            _log.exception("a loop failed and begins again", loop=name)
        await asyncio.sleep(_RESTART)


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

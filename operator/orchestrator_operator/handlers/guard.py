"""The border between one object's trouble and everybody's: a handler never raises into the watch.

What is not the object's fault (the store or the API server is away) is tried again, with backoff. What is a defect of
ours or an object that nobody thought of becomes a condition on that object, once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from orchestrator.errors import StoreError
from orchestrator_operator import telemetry
from orchestrator_operator.adapters.kubernetes import Conflict, KubernetesError, NotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orchestrator_operator.specs import Resource

_log = structlog.get_logger(__name__)

_FIRST, _LONGEST = 0.5, 30.0  # seconds between tries


@dataclass(frozen=True, slots=True)
class _Again:
    """A call that failed for a passing reason."""

    due: float  # by the event loop's clock
    resource: Resource
    failed: int  # times in a row
    handler: Callable[[], Awaitable[None]]
    quarantine: Callable[[str], Awaitable[None]]


class Guard:
    """Runs a handler for an object, one at a time for each key, and again later where that may help."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._again: dict[str, _Again] = {}

    async def call(
        self,
        resource: Resource,
        key: str,
        handler: Callable[[], Awaitable[None]],
        quarantine: Callable[[str], Awaitable[None]],
    ) -> None:
        """Handle an object. `quarantine` writes the condition; it gets a sentence about what went wrong."""
        await self._attempt(resource, key, handler, quarantine, failed=0)

    async def run(self) -> None:
        """Repeat what failed for a passing reason, until cancelled."""
        while True:
            await asyncio.sleep(0.25)
            now = asyncio.get_running_loop().time()
            for key, again in list(self._again.items()):
                if again.due <= now and self._again.get(key) is again:  # nothing newer has taken its place
                    del self._again[key]
                    await self._attempt(again.resource, key, again.handler, again.quarantine, failed=again.failed)

    async def _attempt(
        self,
        resource: Resource,
        key: str,
        handler: Callable[[], Awaitable[None]],
        quarantine: Callable[[str], Awaitable[None]],
        *,
        failed: int,
    ) -> None:
        try:
            with telemetry.reconciling(resource):
                await self._alone(key, handler)
        except NotFound:
            self._again.pop(key, None)  # it was deleted meanwhile
        except (StoreError, KubernetesError) as error:
            telemetry.failed(resource)
            delay = min(_FIRST * 2**failed, _LONGEST)
            permanent = isinstance(error, KubernetesError) and not isinstance(error, Conflict) and error.status
            level = _log.error if permanent else _log.warning
            level("will be handled again", object=key, retry_in=delay, error=str(error))
            due = asyncio.get_running_loop().time() + delay
            self._again[key] = _Again(due, resource, failed + 1, handler, quarantine)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not reach the watch
            telemetry.failed(resource)
            _log.exception("quarantined", object=key)
            await self._quarantine(key, quarantine, f"{type(error).__name__}: {error}")
        else:
            self._again.pop(key, None)

    async def _quarantine(self, key: str, quarantine: Callable[[str], Awaitable[None]], message: str) -> None:
        try:
            await quarantine(message)
        except Exception as error:  # noqa: BLE001 - the last line of defence: the watch must go on for all others
            _log.warning("the quarantine was not written", object=key, error=str(error))

    async def _alone(self, key: str, handler: Callable[[], Awaitable[None]]) -> None:
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                await handler()
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)

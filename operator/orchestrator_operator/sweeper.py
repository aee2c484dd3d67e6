"""`ttlSecondsAfterFinished`: one sweeper for all resources, not a timer each."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from orchestrator_operator.adapters.kubernetes import Conflict, KubernetesError, NotFound
from orchestrator_operator.handlers.seen import instant, mapping, uid
from orchestrator_operator.specs import EXECUTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from orchestrator.clock import Clock
    from orchestrator_operator.adapters.kubernetes import Kubernetes

_log = structlog.get_logger(__name__)

_AT_ONCE = 8  # deletions on their way: a burst of ends is a burst of deletions later
_ENDED = frozenset({"Success", "Failed", "Cancelled"})
_TOLD = _ENDED | {"Unknown"}  # of such a one it is known whether it has a time to live


class Sweeper:
    """Deletes the resources of finished executions when their time is over; the store keeps the rows."""

    def __init__(self, kubernetes: Kubernetes, clock: Clock) -> None:
        self._kubernetes, self._clock = kubernetes, clock
        self._due: dict[str, tuple[datetime, str, str]] = {}  # uid -> when, namespace, name

    def note(self, body: Mapping[str, Any]) -> None:
        """A resource as it is now, or as it was a moment ago: a list that is long on its way is older than the watch.

        An end is final, so a body that does not know of it yet takes nothing back.
        """
        due, meta = expires(body), mapping(body.get("metadata"))
        if due is not None and not meta.get("deletionTimestamp"):
            self._due[uid(body)] = (due, meta["namespace"], meta["name"])
        elif meta.get("deletionTimestamp") or mapping(body.get("status")).get("phase") in _TOLD:
            self._due.pop(uid(body), None)

    def forget(self, body: Mapping[str, Any]) -> None:
        """A resource is gone."""
        self._due.pop(uid(body), None)

    async def run(self) -> None:
        """Sweep every second, until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            await self.step()

    async def step(self) -> None:
        """Delete what is due."""
        now = self._clock.now()
        due = iter([(execution, *where) for execution, (when, *where) in self._due.items() if when <= now])

        async def some() -> None:
            for execution, namespace, name in due:
                await self._delete(execution, namespace, name)

        await asyncio.gather(*(some() for _ in range(_AT_ONCE)))

    async def _delete(self, execution: str, namespace: str, name: str) -> None:
        try:
            await self._kubernetes.delete(EXECUTIONS, namespace, name, uid=execution)
        except (NotFound, Conflict):
            pass  # somebody was faster
        except KubernetesError as error:
            _log.warning("not deleted yet", execution=f"{namespace}/{name}", error=str(error))
            return
        self._due.pop(execution, None)


def expires(body: Mapping[str, Any]) -> datetime | None:
    """When a resource's time is over; None while it runs, or without a ttl. Unknown ones stay: a person looks first."""
    status, ttl = mapping(body.get("status")), mapping(body.get("spec")).get("ttlSecondsAfterFinished")
    finished = instant(status.get("finishedAt"))
    if status.get("phase") not in _ENDED or finished is None or isinstance(ttl, bool) or not isinstance(ttl, int):
        return None
    return finished + timedelta(seconds=min(max(ttl, 0), 10**9))

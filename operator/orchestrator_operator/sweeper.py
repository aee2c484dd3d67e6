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

_ENDED = frozenset({"Success", "Failed", "Cancelled"})


class Sweeper:
    """Deletes the resources of finished executions when their time is over; the store keeps the rows."""

    def __init__(self, kubernetes: Kubernetes, clock: Clock) -> None:
        self._kubernetes, self._clock = kubernetes, clock
        self._due: dict[str, tuple[datetime, str, str]] = {}  # uid -> when, namespace, name

    def note(self, body: Mapping[str, Any]) -> None:
        """A resource as it is now."""
        due, meta = expires(body), mapping(body.get("metadata"))
        if due is None or meta.get("deletionTimestamp"):
            self._due.pop(uid(body), None)
        else:
            self._due[uid(body)] = (due, meta["namespace"], meta["name"])

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
        for execution, (due, namespace, name) in list(self._due.items()):
            if due > now:
                continue
            try:
                await self._kubernetes.delete(EXECUTIONS, namespace, name, uid=execution)
            except (NotFound, Conflict):
                pass  # somebody was faster
            except KubernetesError as error:
                _log.warning("not deleted yet", execution=f"{namespace}/{name}", error=str(error))
                continue
            self._due.pop(execution, None)


def expires(body: Mapping[str, Any]) -> datetime | None:
    """When a resource's time is over; None while it runs, or without a ttl. Unknown ones stay: a person looks first."""
    status, ttl = mapping(body.get("status")), mapping(body.get("spec")).get("ttlSecondsAfterFinished")
    finished = instant(status.get("finishedAt"))
    if status.get("phase") not in _ENDED or finished is None or isinstance(ttl, bool) or not isinstance(ttl, int):
        return None
    return finished + timedelta(seconds=min(max(ttl, 0), 10**9))

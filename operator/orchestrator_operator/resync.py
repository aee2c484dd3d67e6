"""The periodic comparison of everything with everything: heals what the watch missed, in either direction."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import structlog

from orchestrator.errors import StoreError
from orchestrator.steering import every_active
from orchestrator_operator import telemetry
from orchestrator_operator.adapters.kubernetes import KubernetesError
from orchestrator_operator.handlers.seen import uid
from orchestrator_operator.specs import EXECUTIONS, WORKFLOWS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from typing import Any

    from orchestrator.health import Health
    from orchestrator.store.port import Store
    from orchestrator.store.records import ExecutionRecord
    from orchestrator_operator.adapters.kubernetes import Kubernetes
    from orchestrator_operator.handlers.execution import ExecutionHandler
    from orchestrator_operator.handlers.workflow import WorkflowHandler
    from orchestrator_operator.heard import Heard

_TOGETHER = 50  # resources handled at once: their submissions share commits

_T = TypeVar("_T")

_log = structlog.get_logger(__name__)


class Resync:
    """Lists the resources and compares them with the store."""

    def __init__(
        self,
        *,
        store: Store,
        kubernetes: Kubernetes,
        workflows: WorkflowHandler,
        executions: ExecutionHandler,
        look: Callable[[Mapping[str, Any]], Awaitable[None]],
        health: Health,
        heard: Heard,
        namespace: str,
    ) -> None:
        """`namespace` is the one whose resources are compared; "" for all."""
        self._store, self._kubernetes = store, kubernetes
        self._workflows, self._executions, self._look, self._health = workflows, executions, look, health
        self._heard, self._namespace = heard, namespace

    async def run(self, interval: float) -> None:
        """Compare every `interval` seconds, until cancelled; the first time after one interval."""
        while True:
            await asyncio.sleep(interval)
            try:
                await self.once()
            except (StoreError, KubernetesError) as error:
                _log.warning("resync put off", error=str(error))

    async def once(self) -> None:
        """One comparison. Raises StoreError or KubernetesError when a side cannot be read."""
        # The store first: whatever it runs now had its resource before the list, or has lost it for good.
        active = [record async for record in every_active(self._store) if record.name]
        workflows = await self._kubernetes.list(WORKFLOWS, self._namespace)
        self._workflows.retain({_key(body) for body in workflows})
        for body in workflows:
            await self._workflows.handle(body)
        told = [_told(body) for body in workflows]
        listed: set[str] = set()
        async for page in self._kubernetes.pages(EXECUTIONS, self._namespace):  # all of them may be more than fits
            await self._compare(page)
            listed |= {uid(body) for body in page}
            told += [_told(body) for body in page]
        for record in orphans(active, listed, self._namespace):
            _log.info("its resource is gone", execution=f"{record.workflow_id}: {record.name}", uid=record.id)
            await self._executions.cancel(record.id)
        self._health.beat("resync")
        silent = self._heard.silent(told)
        telemetry.BEHIND.set(len(silent))
        if silent:
            _log.warning(
                "the watch has not told of changes that the list shows", objects=silent[:10], count=len(silent)
            )
        else:
            self._health.beat("watch")
        telemetry.RESYNCED.set_to_current_time()

    async def _compare(self, executions: Sequence[Mapping[str, Any]]) -> None:
        """A page of them: what the store knows of, and a look at each."""
        ids = {uid(body) for body in executions}
        known = await self._store.known(ids)
        self._executions.trust(known, ids - known)
        for chunk in chunks(executions, _TOGETHER):
            await asyncio.gather(*(self._look(body) for body in chunk))


def _told(body: Mapping[str, Any]) -> dict[str, Any]:
    """What tells whether the watch has told it, too."""
    return {"metadata": {name: body["metadata"][name] for name in ("uid", "name", "resourceVersion")}}


def orphans(active: Iterable[ExecutionRecord], listed: set[str], namespace: str) -> list[ExecutionRecord]:
    """Running executions of the namespace ("" for all) that had a resource and have none now.

    Those of the CLI have no name.
    """
    return [
        record
        for record in active
        if record.name and record.id not in listed and namespace in ("", record.workflow_id.partition("/")[0])
    ]


def _key(body: Mapping[str, Any]) -> tuple[str, str]:
    return body["metadata"]["namespace"], body["metadata"]["name"]


def chunks(items: Sequence[_T], size: int) -> Iterable[Sequence[_T]]:
    return (items[start : start + size] for start in range(0, len(items), size))

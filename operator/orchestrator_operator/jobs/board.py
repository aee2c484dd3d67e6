"""A namespace's Jobs and Pods as two watches tell them, and who waits for which Job."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from orchestrator_operator.jobs.api import JobsApi, jobs_path, pods_path
from orchestrator_operator.jobs.informer import Informer
from orchestrator_operator.jobs.manifest import SELECTOR

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONTROLLER: Final = "batch.kubernetes.io/controller-uid"  # labels that the Job controller gives to Pods
_JOB_NAME: Final = "batch.kubernetes.io/job-name"


class Board:
    """Two watches however many steps wait. Needs a running loop; end it with `aclose`."""

    def __init__(self, api: JobsApi, namespace: str) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._jobs = Informer(api.kubernetes, jobs_path(namespace), SELECTOR, self._job_changed)
        self._pods = Informer(api.kubernetes, pods_path(namespace), SELECTOR, self._pod_changed)
        self._tasks = [
            asyncio.create_task(self._jobs.run(), name=f"jobs of {namespace}"),
            asyncio.create_task(self._pods.run(), name=f"pods of {namespace}"),
        ]

    def job(self, name: str, uid: str) -> dict[str, Any] | None:
        """A Job as the watch last told of it; None when it does not know it, yet or any more."""
        found = self._jobs.objects.get(name)
        return found if found is not None and found["metadata"]["uid"] == uid else None

    def pods(self, uid: str) -> list[dict[str, Any]]:
        """The Pods of a Job, likewise."""
        return [pod for pod in self._pods.objects.values() if _labels(pod).get(_CONTROLLER) == uid]

    def listen(self, name: str, event: asyncio.Event) -> None:
        """Set `event` whenever something about the Job of that name may have changed."""
        self._waiting.setdefault(name, set()).add(event)

    def leave(self, name: str, event: asyncio.Event) -> None:
        """Nobody waits for `event` any more."""
        waiting = self._waiting.get(name, set())
        waiting.discard(event)
        if not waiting:
            self._waiting.pop(name, None)

    async def aclose(self) -> None:
        """End the watches."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _job_changed(self, body: Mapping[str, Any] | None) -> None:
        self._wake(None if body is None else body["metadata"]["name"])

    def _pod_changed(self, body: Mapping[str, Any] | None) -> None:
        self._wake(None if body is None else _labels(body).get(_JOB_NAME, ""))

    def _wake(self, name: str | None) -> None:
        """Those who wait for the Job of that name; all, if it may be any."""
        for events in self._waiting.values() if name is None else (self._waiting.get(name, ()),):
            for event in events:
                event.set()


def _labels(body: Mapping[str, Any]) -> Mapping[str, str]:
    return body["metadata"].get("labels") or {}

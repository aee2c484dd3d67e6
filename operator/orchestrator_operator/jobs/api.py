"""The calls about Jobs and their Pods, with their paths. Typed errors and retries are the client's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from orchestrator_operator.adapters.kubernetes import Conflict, NotFound
from orchestrator_operator.jobs.manifest import CONTAINER
from orchestrator_operator.specs import EXECUTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator_operator.adapters.kubernetes import Kubernetes

_PAGE = 500


def jobs_path(namespace: str, name: str = "") -> str:
    """Of one Job, or of all in a namespace."""
    return f"/apis/batch/v1/namespaces/{quote(namespace, safe='')}/jobs" + (f"/{quote(name, safe='')}" if name else "")


def pods_path(namespace: str, name: str = "") -> str:
    """Of one Pod, or of all in a namespace."""
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/pods" + (f"/{quote(name, safe='')}" if name else "")


class JobsApi:
    """What the runtime asks of a cluster. Everything raises KubernetesError."""

    def __init__(self, kubernetes: Kubernetes) -> None:
        self.kubernetes = kubernetes

    async def create(self, namespace: str, job: Mapping[str, Any]) -> dict[str, Any] | None:
        """The Job that was made; None when one of its name is there already."""
        try:
            return await self.kubernetes.call("POST", jobs_path(namespace), body=job)
        except Conflict:
            return None

    async def get(self, namespace: str, name: str) -> dict[str, Any] | None:
        """The Job, or None."""
        try:
            return await self.kubernetes.call("GET", jobs_path(namespace, name))
        except NotFound:
            return None

    async def delete(self, namespace: str, name: str, uid: str) -> None:
        """Ask that this very Job ends and goes; it is there until its Pods are gone (foreground propagation)."""
        options = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        try:
            await self.kubernetes.call("DELETE", jobs_path(namespace, name), body=options)
        except (NotFound, Conflict):
            return  # it is gone, or another one has its name

    async def jobs(self, namespace: str, labels: str) -> list[dict[str, Any]]:
        """The Jobs that these labels select."""
        return await self._list(jobs_path(namespace), labels)

    async def pods(self, namespace: str, job_uid: str) -> list[dict[str, Any]]:
        """The Pods of a Job."""
        return await self._list(pods_path(namespace), f"batch.kubernetes.io/controller-uid={job_uid}")

    async def log(self, namespace: str, pod: str, *, lines: int, limit: int) -> str | None:
        """The last lines of what the program printed; None when nobody has them any more."""
        query = {"container": CONTAINER, "tailLines": lines, "limitBytes": limit}
        try:
            return await self.kubernetes.text(f"{pods_path(namespace, pod)}/log", query=query)
        except NotFound:
            return None

    async def execution_uid(self, namespace: str, name: str) -> str | None:
        """The uid of an Execution resource, or None."""
        try:
            found = await self.kubernetes.get(EXECUTIONS, namespace, name)
        except NotFound:
            return None
        return str(found["metadata"]["uid"])

    async def _list(self, path: str, labels: str) -> list[dict[str, Any]]:
        query: dict[str, Any] = {"labelSelector": labels, "limit": _PAGE}
        found: list[dict[str, Any]] = []
        while True:
            page = await self.kubernetes.call("GET", path, query=query)
            found += page["items"]
            if not (token := page["metadata"].get("continue")):
                return found
            query["continue"] = token

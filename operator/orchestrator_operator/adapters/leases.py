"""One Lease of the API server. Every call is made once: who renews repeats as its own time allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator_operator.adapters.kubernetes import Kubernetes

    Notes = Mapping[str, str | None]


class Leases:
    """The Lease of that name; raises as the client does."""

    def __init__(self, kubernetes: Kubernetes, namespace: str, name: str) -> None:
        self.name = name
        self._kubernetes = kubernetes
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace, safe='')}/leases"

    async def get(self) -> dict[str, Any]:
        return await self._kubernetes.once("GET", self._one)

    async def create(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name},
            "spec": spec,
        }
        return await self._kubernetes.once("POST", self._path, body=body)

    async def replace(self, spec: Mapping[str, Any], version: str, notes: Notes) -> dict[str, Any]:
        """Write the spec and annotations (None removes one), if the Lease is still that version (else Conflict)."""
        body = {"metadata": {"resourceVersion": version, "annotations": notes}, "spec": spec}
        return await self._kubernetes.once("PATCH", self._one, body=body)

    async def note(self, version: str, notes: Notes) -> dict[str, Any]:
        """Write annotations alone, if the Lease is still that version (else Conflict)."""
        body = {"metadata": {"resourceVersion": version, "annotations": notes}}
        return await self._kubernetes.once("PATCH", self._one, body=body)

    @property
    def _one(self) -> str:
        return f"{self._path}/{quote(self.name, safe='')}"

"""Where the door's Service leads: to the operator whose door is open.

A Service with a selector would lead to every operator that is ready, and those that wait have no door. Were they not
ready, no rollout of the Deployment would ever end. So the Service has no selector, and who leads writes its address.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import structlog

from orchestrator_operator.adapters.kubernetes import KubernetesError

if TYPE_CHECKING:
    from orchestrator_operator.adapters.kubernetes import Kubernetes

NAME: Final = "orchestrator-door"  # of the Service; its slices are called so, with -ipv4 or -ipv6 behind
PORT: Final = "http"  # as the Service calls it
_AGAIN: Final = 15.0  # seconds: somebody may have applied the manifest anew
_FAREWELL: Final = 2.0  # seconds

_log = structlog.get_logger(__name__)


class DoorEndpoint:
    """This Pod's address in an EndpointSlice of the door's Service, which the manifests hold."""

    def __init__(self, kubernetes: Kubernetes, namespace: str, address: str, port: int) -> None:
        self._kubernetes, self._address, self._port = kubernetes, address, port
        name = f"{NAME}-ipv{ip_address(address).version}"
        self._path = f"/apis/discovery.k8s.io/v1/namespaces/{quote(namespace, safe='')}/endpointslices/{name}"

    async def run(self) -> None:
        """Stand there until cancelled."""
        try:
            while True:
                try:
                    await self._write([{"addresses": [self._address], "conditions": {"ready": True}}])
                except KubernetesError as error:
                    _log.error(
                        "the Service of the door does not lead here; deploy/door has what it needs", error=str(error)
                    )
                await asyncio.sleep(_AGAIN)
        finally:
            with suppress(KubernetesError, TimeoutError):  # the next one that leads writes its own
                async with asyncio.timeout(_FAREWELL):
                    await self._write([])

    async def _write(self, endpoints: list[dict[str, Any]]) -> None:
        ports = [{"name": PORT, "port": self._port, "protocol": "TCP"}]
        await self._kubernetes.call("PATCH", self._path, body={"endpoints": endpoints, "ports": ports})

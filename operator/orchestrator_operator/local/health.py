"""Ask the parts whether they are ready: with certificates, past any proxy, and with an answer within two seconds."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Self

import httpx

from orchestrator_operator.local.commands import LOOPBACK
from orchestrator_operator.local.errors import LocalError

if TYPE_CHECKING:
    from types import TracebackType

    from orchestrator_operator.local.commands import Layout, Ports

_TIMEOUT = 2.0  # seconds


class Health:
    """A client for the health endpoints of one control plane; close it, or use it in a `with`."""

    def __init__(self, layout: Layout, ports: Ports) -> None:
        self._ports = ports
        admin = layout.pki.pair("admin")
        context = ssl.create_default_context(cafile=str(layout.pki.ca.certificate))
        context.load_cert_chain(admin.certificate, admin.key)
        self._client = httpx.Client(verify=context, timeout=_TIMEOUT, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def apiserver(self) -> bool:
        """Ready to serve, its default roles and namespaces in place."""
        return self._ok(f"{self._api}/readyz") and self._ok(f"{self._api}/api/v1/namespaces/default")

    def controller_manager(self) -> bool:
        """Healthy, and seen to work: it has made the default service account."""
        return self._ok(f"https://{LOOPBACK}:{self._ports.controller_manager}/healthz") and self._ok(
            f"{self._api}/api/v1/namespaces/default/serviceaccounts/default"
        )

    def prometheus(self) -> bool:
        """Ready for queries, with its old data read."""
        return self._ok(f"http://{LOOPBACK}:{self._ports.prometheus}/-/ready")

    def reload_prometheus(self) -> None:
        """Make Prometheus read its configuration again; LocalError with its reason when it refuses."""
        try:
            response = self._client.post(f"http://{LOOPBACK}:{self._ports.prometheus}/-/reload")
        except httpx.HTTPError as error:
            raise LocalError(f"Prometheus could not be asked to reload its configuration: {error}") from error
        if response.status_code != httpx.codes.OK:
            raise LocalError(f"Prometheus refused its configuration: {response.text.strip()}")

    @property
    def _api(self) -> str:
        return f"https://{LOOPBACK}:{self._ports.apiserver}"

    def _ok(self, url: str) -> bool:
        try:
            return self._client.get(url).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

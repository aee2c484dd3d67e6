"""Connections that break on request: a real toxiproxy between a client and a server, steered by its HTTP API.

The binary is had like the control plane's: from the cache, PATH or the official release, else built from the pinned
Go module (see operator/orchestrator_operator/local).
"""

from __future__ import annotations

import subprocess
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import httpx
from orchestrator_operator.local import Toolbox, catalogue

from tests.support.polling import eventually
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path


@cache
def binary() -> Path:
    """The server's binary; may take a minute once."""
    tool = catalogue.toxiproxy()
    return Toolbox().get([tool])[tool.name].path


class Proxy:
    """One way from a port of its own to `upstream`."""

    def __init__(self, api: httpx.Client, name: str, upstream: str) -> None:
        self._api, self.name, self.port = api, name, free_port()
        address = f"127.0.0.1:{self.port}"
        self._post("/proxies", {"name": name, "listen": address, "upstream": upstream, "enabled": True})

    def cut(self) -> None:
        """End every connection, and refuse new ones."""
        self._post(f"/proxies/{self.name}", {"enabled": False})

    def mend(self) -> None:
        """Let everything through again; what a toxic held back or threw away stays lost."""
        for toxic in self._api.get(f"/proxies/{self.name}/toxics").raise_for_status().json():
            self._api.delete(f"/proxies/{self.name}/toxics/{toxic['name']}").raise_for_status()
        self._post(f"/proxies/{self.name}", {"enabled": True})

    def poison(self, kind: str, stream: str = "downstream", **attributes: Any) -> None:
        """Add a toxic; `downstream` is from the server to the client."""
        toxic = {"name": f"{kind}-{stream}", "type": kind, "stream": stream, "attributes": attributes}
        self._post(f"/proxies/{self.name}/toxics", toxic)

    def _post(self, path: str, body: Any) -> None:
        self._api.post(path, json=body).raise_for_status()


class Toxiproxy:
    """The server; use it in a `with`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._port, self._log = free_port(), folder / "toxiproxy.log"
        self._api = httpx.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=30, trust_env=False)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            command = [str(binary()), "-host", "127.0.0.1", "-port", str(self._port)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        eventually(self._answers, "toxiproxy answers")
        return self

    def __exit__(self, *_: object) -> None:
        self._api.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def proxy(self, name: str, port: int) -> Proxy:
        """A way to a port of this machine."""
        return Proxy(self._api, name, f"127.0.0.1:{port}")

    def _answers(self) -> bool:
        try:
            return self._api.get("/version").is_success
        except httpx.HTTPError:
            return False

"""A node that runs nothing: it binds the Pods of Jobs, and tells of their containers what a test says by their image.

The local control plane has a real API server and a real Job controller, and no kubelet. This one writes what a kubelet
writes, to the same places: the Pod's status, its logs over the kubelet's own HTTPS API, and the end of deleted Pods.
Real containers are for tests/kind.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web
from orchestrator_operator.adapters.kubernetes import KubernetesError, NotFound
from orchestrator_operator.jobs.api import pods_path
from orchestrator_operator.jobs.manifest import CONTAINER, SELECTOR

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from orchestrator_operator.adapters.kubernetes import Kubernetes

NODE = "fake"
_EVERY = 0.05  # seconds between two looks
_OVER = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Program:
    """How a container fares. `code` None: it runs until `finish`; `waiting`: it never starts, and why."""

    code: int | None = 0
    message: str = ""  # what it left in its file
    log: str = ""
    reason: str = ""
    waiting: tuple[str, str] | None = None
    evicted: str = ""


class FakeKubelet:
    """Serves one namespace while it is entered. `programs` are by image; `finished` are those that may end."""

    def __init__(self, kubernetes: Kubernetes, namespace: str, certificate: Path, key: Path) -> None:
        self._kubernetes, self._namespace = kubernetes, namespace
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate, key)
        self.programs: dict[str, Program] = {}
        self.finished: set[str] = set()
        self.ran: list[tuple[str, str]] = []  # image and Pod of every container that began
        self._known: dict[str, Program] = {}  # by Pod, for its log
        self._runner: web.AppRunner | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._log)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        await self._register(self._runner.addresses[0][1])
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        await self._kubernetes.call("DELETE", f"/api/v1/nodes/{NODE}")

    def finish(self, image: str) -> None:
        """Its containers that run may end now, as their program says."""
        self.finished.add(image)

    async def _register(self, port: int) -> None:
        await self._kubernetes.call("POST", "/api/v1/nodes", body={"metadata": {"name": NODE}})
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }
        await self._kubernetes.call("PATCH", f"/api/v1/nodes/{NODE}/status", body={"status": status})

    async def _run(self) -> None:
        while True:
            try:
                query = {"labelSelector": SELECTOR}
                for pod in (await self._kubernetes.call("GET", pods_path(self._namespace), query=query))["items"]:
                    await self._look(pod)
            except NotFound:
                continue  # it went meanwhile
            except KubernetesError:
                pass  # the API server is away: so are kubelets, then
            await asyncio.sleep(_EVERY)

    async def _look(self, pod: dict[str, Any]) -> None:
        meta = pod["metadata"]
        name, path = meta["name"], pods_path(self._namespace, meta["name"])
        if meta.get("deletionTimestamp"):
            await self._kubernetes.call("DELETE", path, body={"gracePeriodSeconds": 0})
        elif not pod["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
            await self._kubernetes.call("POST", f"{path}/binding", body={"metadata": {"name": name}, "target": target})
        elif pod["status"].get("phase") not in _OVER:
            (container,) = pod["spec"]["containers"]
            await self._play(pod, container["image"], path)

    async def _play(self, pod: dict[str, Any], image: str, path: str) -> None:
        program, name = self.programs.get(image, Program()), pod["metadata"]["name"]
        self._known[name] = program
        ends = program.code is not None or image in self.finished
        if program.waiting is not None:
            reason, message = program.waiting
            status = self._status(image, "Pending", {"waiting": {"reason": reason, "message": message}})
        elif not ends:
            status = self._status(image, "Running", {"running": {"startedAt": _now()}})
        else:
            code = program.code or 0
            over = {
                "exitCode": code,
                "reason": program.reason or ("Error" if code else "Completed"),
                "message": program.message,
                "startedAt": _now(),
                "finishedAt": _now(),
            }
            status = self._status(image, "Failed" if code else "Succeeded", {"terminated": over})
            if program.evicted:
                status["conditions"] = [{"type": "DisruptionTarget", "status": "True", "message": program.evicted}]
        if pod["status"].get("containerStatuses") is None:
            self.ran.append((image, name))
        elif status["phase"] == pod["status"].get("phase"):
            return
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": _now()}
        status["conditions"] = [scheduled, *status.get("conditions", ())]
        await self._kubernetes.call("PATCH", f"{path}/status", body={"status": status})

    @staticmethod
    def _status(image: str, phase: str, state: dict[str, Any]) -> dict[str, Any]:
        container = {"name": CONTAINER, "image": image, "imageID": "", "ready": False, "restartCount": 0}
        return {"phase": phase, "containerStatuses": [{**container, "state": state}]}

    async def _log(self, request: web.Request) -> web.Response:
        program = self._known.get(request.match_info["pod"])
        if program is None:
            return web.Response(status=404)
        lines = program.log.splitlines(keepends=True)
        moment = "2026-01-01T00:00:00.000000000Z " if request.query.get("timestamps") == "true" else ""
        text = "".join(moment + line for line in lines[-int(request.query.get("tailLines", len(lines))) :])
        return web.Response(body=text.encode()[: int(request.query.get("limitBytes", 1 << 20))])


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

"""/metrics, /healthz and /livez: served as long as the process lives, whether it leads or waits.

/healthz says whether everything goes on (a Pod's readiness), /livez whether a restart would help (its liveness).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

if TYPE_CHECKING:
    from orchestrator.health import Health


class Endpoint:
    """Answers scrapes and probes from what is in memory."""

    def __init__(self, health: Health, registry: CollectorRegistry = REGISTRY) -> None:
        self._health, self._registry = health, registry
        self._runner: web.AppRunner | None = None

    async def serve(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError or OverflowError for a port that cannot be had."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/livez", self._livez)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def aclose(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, _: web.Request) -> web.Response:
        return _answer(self._health.silent())

    async def _livez(self, _: web.Request) -> web.Response:
        return _answer(self._health.silent(restart=True))


def _answer(silent: list[str]) -> web.Response:
    return web.json_response({"ok": not silent, "silent": silent}, status=503 if silent else 200)

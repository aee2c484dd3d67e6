"""Look at the cluster and at Prometheus while the demo runs, twice a second, and remember what was seen."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Any

import httpx

from orchestrator_operator.adapters.kubernetes import KubernetesError, decode
from orchestrator_operator.demo.facts import Sighting
from orchestrator_operator.demo.screen import Meter
from orchestrator_operator.specs import ROLLOUTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator_operator.adapters.kubernetes import Kubernetes

_EVERY = 0.5  # seconds between two looks: phases that last a second are seen
_WINDOW = "10s"
_ENDED = f"sum by (engine) (rate(orchestrator_executions_finished_total[{_WINDOW}]))"
_FAILED = f'sum by (engine) (rate(orchestrator_executions_finished_total{{status="failed"}}[{_WINDOW}]))'
_QUERIES = {
    "started": f"sum by (engine) (rate(orchestrator_executions_started_total[{_WINDOW}]))",
    "failed": f"100 * ({_FAILED} or 0 * {_ENDED}) / {_ENDED}",
    "running": "max by (engine) (orchestrator_executions_running)",
}
_FLAG_KEYS = ("USE_ORCHESTRATOR_V2", "USE_ORCHESTRATOR_V2_PERCENT", "USE_ORCHESTRATOR_V2_EXPIRES")


class Watcher:
    """The demo's eyes. `sightings` grows by every look that changed anything; `meters` is the last one."""

    def __init__(
        self, kubernetes: Kubernetes, *, namespace: str, secret: str, prometheus: str, elapsed: Callable[[], float]
    ) -> None:
        self._kubernetes, self._namespace, self._secret, self._elapsed = kubernetes, namespace, secret, elapsed
        self._client = httpx.AsyncClient(base_url=prometheus, timeout=2.0, trust_env=False)
        self._looked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.sightings: list[Sighting] = []
        self.latest = Sighting(0.0, "", {}, None)
        self.meters: Mapping[str, Meter] = {}

    def start(self) -> None:
        self._task = asyncio.create_task(self._loop(), name="watch")
        self._task.add_done_callback(lambda _: self._wake())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._client.aclose()

    async def until(self, seen: Callable[[Sighting], bool]) -> Sighting:
        """The first look, from the latest one on, that shows it. Raises what ended the looking, if anything did."""
        while not seen(self.latest):
            if self._task is not None and self._task.done():
                self._task.result()
            await self._looked.wait()
        return self.latest

    async def _loop(self) -> None:
        while True:
            self._remember(await self._look())
            self.meters = await self._measure()
            self._wake()
            await asyncio.sleep(_EVERY)

    def _wake(self) -> None:
        """Whoever waits looks again."""
        self._looked.set()
        self._looked = asyncio.Event()

    async def _look(self) -> Sighting | None:
        """One look, or None when the API server did not answer: then nothing was seen."""
        try:
            rollouts = await self._kubernetes.list(ROLLOUTS, self._namespace)
            secret = await self._kubernetes.secret(self._namespace, self._secret)
        except KubernetesError:
            return None
        newest: Mapping[str, Any] = max(rollouts, key=lambda body: body["metadata"]["creationTimestamp"], default={})
        data = secret.get("data") or {}
        return Sighting(
            at=self._elapsed(),
            rollout=newest.get("metadata", {}).get("name", ""),
            status=newest.get("status") or {},
            flag={key: decode(data[key]) for key in _FLAG_KEYS if key in data},
        )

    def _remember(self, sighting: Sighting | None) -> None:
        if sighting is None:
            return
        last = self.latest
        self.latest = sighting
        if (last.rollout, last.status, last.flag) != (sighting.rollout, sighting.status, sighting.flag):
            self.sightings.append(sighting)

    async def _measure(self) -> dict[str, Meter]:
        found = await asyncio.gather(*(self._by_engine(query) for query in _QUERIES.values()))
        values = dict(zip(_QUERIES, found, strict=True))
        return {
            engine: Meter(**{name: by_engine.get(engine, math.nan) for name, by_engine in values.items()})
            for engine in ("v1", "v2")
        }

    async def _by_engine(self, query: str) -> dict[str, float]:
        """An instant query's values by the label `engine`; none without an answer: only the screen asks."""
        try:
            answer = (await self._client.get("/api/v1/query", params={"query": query})).json()
            return {one["metric"]["engine"]: float(one["value"][1]) for one in answer["data"]["result"]}
        except (httpx.HTTPError, ValueError, KeyError):
            return {}

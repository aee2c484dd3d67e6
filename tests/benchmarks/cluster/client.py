"""The load: creates resources as fast as the API server takes them, or at a steady rate, and watches how they end.

Runs in a process of its own (`tests.benchmarks.child`), on bare aiohttp: a client library would take as much processor
time a request as the server does, and what is to be measured is the operator.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import aiohttp
from kubernetes_asyncio import client as kubernetes_client
from kubernetes_asyncio import config as kubernetes_config

from tests.benchmarks.figures import percentile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_LINE = 1 << 23  # bytes of one event of a watch at most
_OVER = frozenset({"Success", "Failed", "Cancelled", "Succeeded", "Error"})  # ours, and Argo's
_GOOD = frozenset({"Success", "Succeeded"})
_SHARES = {"p50_s": 0.5, "p99_s": 0.99, "longest_s": 1.0}


@dataclass(slots=True)
class Tape:
    """When each resource was asked for, was over and was gone, by its name; seconds of the clock of this machine."""

    asked: dict[str, float] = field(default_factory=dict)
    answered: dict[str, float] = field(default_factory=dict)
    over: dict[str, float] = field(default_factory=dict)
    gone: dict[str, float] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)  # when its time to live ends
    bad: dict[str, str] = field(default_factory=dict)  # that ended otherwise than well: their phases
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, event: Mapping[str, Any]) -> None:
        """An event of the watch."""
        now, body = time.time(), event["object"]
        if event["type"] == "ERROR":
            raise RuntimeError(f"the watch broke: {body}")
        name, status = body["metadata"]["name"], body.get("status") or {}
        if name not in self.asked:
            return  # of an earlier load
        if event["type"] == "DELETED":
            self.gone[name] = now
        elif (phase := status.get("phase")) in _OVER and name not in self.over:
            self.over[name] = now
            ttl = body["spec"].get("ttlSecondsAfterFinished")
            if ttl is not None:
                self.due[name] = datetime.fromisoformat(status["finishedAt"]).timestamp() + ttl
            if phase not in _GOOD:
                self.bad[name] = phase
        self.changed.set()

    async def until(self, done: str, patience: float) -> None:
        """Until all that were asked for are `over` or `gone`; TimeoutError after `patience` seconds without any."""
        seen: dict[str, float] = getattr(self, done)
        while len(seen) < len(self.asked):
            before = len(seen)
            async with asyncio.timeout(patience):
                while len(seen) == before:
                    self.changed.clear()
                    await self.changed.wait()

    def measured(self) -> dict[str, Any]:
        """Rates from the first request on, and times from each request to what came of it."""
        first, count = min(self.asked.values()), len(self.asked)
        found: dict[str, Any] = {"count": count, "failed": len(self.bad), "phases": sorted({*self.bad.values()})}
        found["created_per_second"] = count / (max(self.answered.values()) - first)
        if self.over:
            found["ended_per_second"] = count / (max(self.over.values()) - first)
            found["seconds"] = max(self.over.values()) - first
            found["to_end"] = _shares([self.over[name] - asked for name, asked in self.asked.items()])
        if self.gone:
            found["after_due"] = _shares([self.gone[name] - due for name, due in self.due.items()])
        return found


async def load(
    *,
    kubeconfig: str,
    path: str,
    body: dict[str, Any],
    prefix: str,
    count: int,
    at_once: int = 16,
    rate: float = 0.0,
    until: str = "over",
    patience: float = 120.0,
) -> dict[str, Any]:
    """Create `count` resources like `body` at `path`, and measure until all are `over`, `gone` or just `answered`.

    With a `rate` so many a second, however long they take; else `at_once` requests are always on their way.
    """
    tape = Tape()
    async with session(kubeconfig) as api:
        watching: asyncio.Task[None] | None = None
        if until != "answered":
            listed = await asked(api.get(path, params={"limit": "1"}))
            version = listed["metadata"]["resourceVersion"]
            watching = asyncio.create_task(_watch(api, path, version, tape))
        maker = _Maker(api, path, body, prefix, tape)
        await (maker.steadily(count, rate) if rate else maker.flood(count, at_once))
        if watching is not None:
            waiting = asyncio.create_task(tape.until(until, patience))
            await asyncio.wait({waiting, watching}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()  # what broke it
                raise RuntimeError("the watch ended")
            await waiting
            watching.cancel()
    return tape.measured()


@dataclass(frozen=True, slots=True)
class _Maker:
    session: aiohttp.ClientSession
    path: str
    body: dict[str, Any]
    prefix: str
    tape: Tape

    async def flood(self, count: int, at_once: int) -> None:
        numbers = iter(range(count))

        async def some() -> None:
            for number in numbers:
                await self._create(number)

        await asyncio.gather(*(some() for _ in range(at_once)))

    async def steadily(self, count: int, rate: float) -> None:
        loop, tasks = asyncio.get_running_loop(), []
        began = loop.time()
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / rate - loop.time()))  # the schedule, not a wait for something
            tasks.append(asyncio.create_task(self._create(number)))
        await asyncio.gather(*tasks)

    async def _create(self, number: int) -> None:
        name = f"{self.prefix}-{number}"
        body = json.dumps(self.body | {"metadata": {**self.body.get("metadata", {}), "name": name}})
        self.tape.asked[name] = time.time()
        await asked(self.session.post(self.path, data=body))
        self.tape.answered[name] = time.time()


async def asked(request: Any) -> Any:
    """The JSON that a request was answered with; RuntimeError for any other answer than a good one."""
    async with request as response:
        content = await response.read()
        if not response.ok:
            raise RuntimeError(f"{response.method} {response.url}: {response.status} {content[:500]!r}")
        return json.loads(content)


async def _watch(api: aiohttp.ClientSession, path: str, version: str, tape: Tape) -> None:
    async for event in events(api, path, {"resourceVersion": version}):
        tape.note(event)


async def events(api: aiohttp.ClientSession, path: str, params: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
    """What a watch tells, for two hours at most."""
    asks = {"watch": "true", "timeoutSeconds": "7200", **params}
    async with api.get(path, params=asks, timeout=aiohttp.ClientTimeout(total=None)) as response:
        response.raise_for_status()
        rest = b""
        async for chunk in response.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield json.loads(line)


@asynccontextmanager
async def session(kubeconfig: str) -> AsyncIterator[aiohttp.ClientSession]:
    """As the user of a kubeconfig, who bears a client certificate."""
    configuration: Any = kubernetes_client.Configuration()
    await kubernetes_config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)
    tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    tls.load_cert_chain(configuration.cert_file, configuration.key_file)
    async with aiohttp.ClientSession(
        configuration.host,
        connector=aiohttp.TCPConnector(ssl=tls, limit=0),
        headers={"Content-Type": "application/json"},
        read_bufsize=_LINE,
    ) as session:
        yield session


def _shares(values: list[float]) -> dict[str, float]:
    return {name: round(percentile(values, share), 4) for name, share in _SHARES.items()}

"""What goes on beside a test: a stream of Executions, and eyes on a rollout and its flag."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from orchestrator_operator.demo.services import FLAG_SECRET
from orchestrator_operator.demo.watch import Watcher
from orchestrator_operator.specs import EXECUTIONS

from tests.support.polling import PATIENCE, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator_operator.demo.facts import Sighting

    from tests.support.site import Site


class Stream:
    """Creates `make(0)`, `make(1)`, … at a steady rate until the block ends, whatever the test does meanwhile."""

    def __init__(self, site: Site, make: Callable[[int], Mapping[str, Any]], rate: float) -> None:
        self._site, self._make, self._rate = site, make, rate
        self._background, self._kubernetes = site.plane.background, site.plane.kubernetes
        self._going = False
        self._task: asyncio.Task[None] | None = None
        self.names: list[str] = []

    def __enter__(self) -> Self:
        async def begin() -> asyncio.Task[None]:
            return asyncio.create_task(self._run(), name="stream")

        self._going = True
        self._task = self._background.run(begin())
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """No new ones; returns when those in flight are answered, and raises if one was refused."""
        task, self._task, self._going = self._task, None, False

        async def end() -> None:
            if task is not None:
                await task

        self._background.run(end())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        began, number = loop.time(), 0
        async with asyncio.TaskGroup() as group:
            while self._going:
                await asyncio.sleep(max(0.0, began + number / self._rate - loop.time()))
                group.create_task(self._create(number))
                number += 1

    async def _create(self, number: int) -> None:
        body = self._make(number)
        await self._kubernetes.create(EXECUTIONS, self._site.namespace, body)
        self.names.append(body["metadata"]["name"])


class Eyes:
    """The demo's watcher, from a synchronous test: every change of the newest rollout and of its flag."""

    def __init__(self, site: Site) -> None:
        self._background = site.plane.background
        self._began = datetime.now(UTC)
        self._watcher = Watcher(
            site.plane.kubernetes,
            namespace=site.namespace,
            secret=FLAG_SECRET,
            prometheus=site.plane.cluster.prometheus_url,
            elapsed=self._elapsed,
        )

    def _elapsed(self) -> float:
        return (datetime.now(UTC) - self._began).total_seconds()

    def __enter__(self) -> Self:
        async def begin() -> None:
            self._watcher.start()

        self._background.run(begin())
        return self

    def __exit__(self, *_: object) -> None:
        self._background.run(self._watcher.stop())

    @property
    def latest(self) -> Sighting:
        return self._watcher.latest

    def of(self, rollout: str) -> list[Sighting]:
        """Every change that was seen of a rollout and the flag, in order."""
        return [sighting for sighting in self._watcher.sightings if sighting.rollout == rollout]

    def until(self, holds: Callable[[Sighting], Any], what: str, within: float = PATIENCE) -> Sighting:
        """The first look from now on that shows it; says how far it came otherwise."""
        try:
            eventually(lambda: holds(self.latest), what, within)
        except AssertionError as error:
            status = {key: value for key, value in self.latest.status.items() if key not in ("conditions", "criteria")}
            raise AssertionError(f"{error}; flag {self.latest.flag}, status {status}") from None
        return self.latest

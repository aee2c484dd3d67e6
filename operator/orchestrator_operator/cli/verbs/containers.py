"""What the containers of an execution's nodes print: read at once, or followed while it goes on."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from orchestrator.errors import OrchestratorError
from orchestrator_operator.adapters.following import follow, lines
from orchestrator_operator.adapters.kubernetes import KubernetesError, NotFound, Refused, Unavailable
from orchestrator_operator.cli.verbs import standing, story
from orchestrator_operator.cli.verbs.standing import Standing
from orchestrator_operator.cli.verbs.story import Line
from orchestrator_operator.jobs.api import pods_path
from orchestrator_operator.jobs.manifest import CONTAINER, execution_selector
from orchestrator_operator.specs import EXECUTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator_operator.adapters.kubernetes import Kubernetes

_LOOK: Final = 1.0  # seconds between two looks for new containers
_LAST: Final = 5.0  # seconds that the last lines may take after the end
_LARGEST: Final = 4 << 20  # bytes of one container's log that are read at once
_HOUR: Final = 3600.0


class Containers:
    """The Pods of one execution. `warn` hears once what may not be read."""

    def __init__(
        self, kubernetes: Kubernetes, namespace: str, uid: str, tail: int | None, warn: Callable[[str], None]
    ) -> None:
        self._kubernetes, self._namespace, self._uid = kubernetes, namespace, uid
        self._tail, self._warn = tail, warn
        self._forbidden = False  # to look for Pods

    async def printed(self) -> list[Line]:
        """What all of them have printed so far."""
        found: list[Line] = []
        for pod in await self._pods():
            try:
                text = await self._kubernetes.text(self._log(pod), query=self._query() | {"limitBytes": _LARGEST})
            except Unavailable as error:
                self._warn(f"without what {story.container_of(pod)} printed: {error}")
            except KubernetesError:  # it is gone, or has not begun
                continue
            else:
                found += story.of_log(text, story.container_of(pod))
        return found

    async def follow(self, name: str, tell: Callable[[Line], None]) -> None:
        """Tell each line as it comes, and each change of the execution, until that is over."""
        streams: dict[str, asyncio.Task[None]] = {}
        looking = asyncio.create_task(self._look(streams, tell))
        try:
            await self._changes(name, tell)
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            await self._begin(streams, tell)  # one that began and ended since the last look
            if streams:
                await asyncio.wait(streams.values(), timeout=_LAST)
        finally:
            for task in (looking, *streams.values()):
                task.cancel()
            await asyncio.gather(looking, *streams.values(), return_exceptions=True)

    async def _changes(self, name: str, tell: Callable[[Line], None]) -> None:
        before: Standing | None = None
        try:
            async with aclosing(follow(self._kubernetes, EXECUTIONS, self._namespace, name)) as changes:
                async for body in changes:
                    now = Standing.of(body)
                    if before is not None and (said := standing.change(before, now, {})):
                        tell(Line(datetime.now(UTC), story.SELF, said))
                    before = now
                    if now.rests:
                        return
        except NotFound as error:
            raise OrchestratorError(f"{name} was deleted, and is cancelled with that") from error

    async def _look(self, streams: dict[str, asyncio.Task[None]], tell: Callable[[Line], None]) -> None:
        while True:
            if not await self._begin(streams, tell):
                return
            await asyncio.sleep(_LOOK)

    async def _begin(self, streams: dict[str, asyncio.Task[None]], tell: Callable[[Line], None]) -> bool:
        """Follow those that are new and have begun; False when nobody may look for them."""
        pods = await self._pods()
        for pod in pods:
            uid = pod["metadata"]["uid"]
            if uid not in streams and _began(pod):
                streams[uid] = asyncio.create_task(self._stream(pod, tell))
        return not self._forbidden

    async def _pods(self) -> list[dict[str, Any]]:
        if self._forbidden:
            return []
        query = {"labelSelector": execution_selector(self._uid)}
        try:
            page = await self._kubernetes.call("GET", pods_path(self._namespace), query=query)
        except Refused as error:
            self._forbidden = True
            self._warn(f"without what containers printed: {error}")
            return []
        found: list[dict[str, Any]] = page["items"]
        return found

    async def _stream(self, pod: Mapping[str, Any], tell: Callable[[Line], None]) -> None:
        """Each line once, also when the connection breaks: then it goes on behind the last moment."""
        source, last, query = story.container_of(pod), "", self._query() | {"follow": "true"}
        while True:
            told = last
            try:
                async with self._kubernetes.stream(self._log(pod), query=query, seconds=_HOUR) as content:
                    async for line in lines(content):
                        text = line.decode(errors="replace")
                        moment = text.partition(" ")[0]
                        if not told or moment > told:
                            last = moment
                            tell(story.line_of(text, source))
            except Unavailable:
                if last:
                    query = {key: one for key, one in query.items() if key != "tailLines"} | {"sinceTime": last}
                await asyncio.sleep(_LOOK)
            except KubernetesError as error:
                self._warn(f"without what {source} printed: {error}")
                return
            else:
                return

    def _query(self) -> dict[str, Any]:
        query: dict[str, Any] = {"container": CONTAINER, "timestamps": "true"}
        return query if self._tail is None else query | {"tailLines": self._tail}

    def _log(self, pod: Mapping[str, Any]) -> str:
        return f"{pods_path(self._namespace, pod['metadata']['name'])}/log"


def _began(pod: Mapping[str, Any]) -> bool:
    """Whether its container has something to say: before, the API server refuses to read its log."""
    found = (pod.get("status") or {}).get("containerStatuses") or ()
    return any({"running", "terminated"} & (one.get("state") or {}).keys() for one in found)

"""A namespace's objects of one kind, kept up to date by one watch, however many steps wait for one of them.

    list ─▶ watch from there ─▶ (the stream ends) ─▶ watch from the last version ─▶ … ─▶ (410 Gone, any error) ─▶ list

A watch may fall silent without ending: the server ends each after a while, and we end one that it does not.
"""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any, Final

import structlog

from orchestrator_operator.adapters.kubernetes import KubernetesError, Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from orchestrator_operator.adapters.kubernetes import Kubernetes

_log = structlog.get_logger(__name__)

_SERVER_ENDS: Final = 120  # seconds of a watch
_PAUSE: Final = 1.0  # seconds, jittered, before a new list
_LARGEST: Final = 8 << 20  # bytes of an event
_PAGE: Final = 500


class _Behind(Exception):
    """The server cannot go on from our version: list again."""


class Informer:
    """`objects` by name, without the parts that nobody here reads. `changed` is called with each that came, changed or
    went, and with None when all were read anew and any may have.
    """

    def __init__(
        self,
        kubernetes: Kubernetes,
        path: str,
        labels: str,
        changed: Callable[[Mapping[str, Any] | None], None],
        *,
        pause: float = _PAUSE,
    ) -> None:
        self._kubernetes, self._path, self._labels, self._changed = kubernetes, path, labels, changed
        self._pause = pause
        self.objects: dict[str, dict[str, Any]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                version = await self._list()
                while True:
                    version = await self._watch(version)
            except _Behind:
                pass  # not at once either: a server that always says so would be asked without a pause
            except KubernetesError as error:
                _log.warning("a watch broke off; it begins again", path=self._path, error=str(error))
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load, hides nothing

    async def _list(self) -> str:
        """Read all of them; the version to watch from."""
        query: dict[str, Any] = {"labelSelector": self._labels, "limit": _PAGE}
        found: dict[str, dict[str, Any]] = {}
        while True:
            page = await self._kubernetes.call("GET", self._path, query=query)
            found |= {item["metadata"]["name"]: _slim(item) for item in page["items"]}
            if not (token := page["metadata"].get("continue")):
                break
            query["continue"] = token
        self.objects = found
        self._changed(None)
        return str(page["metadata"]["resourceVersion"])

    async def _watch(self, version: str) -> str:
        """Follow the changes until the stream ends; the version to go on from."""
        query = {
            "labelSelector": self._labels,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": _SERVER_ENDS,
        }
        try:
            async with self._kubernetes.stream(self._path, query=query, seconds=_SERVER_ENDS + 30) as content:
                async for line in _lines(content):
                    version = self._take(json.loads(line))
        except Refused as error:
            if error.status == 410:  # noqa: PLR2004 - HTTP's own number for Gone
                raise _Behind from error
            raise
        return version

    def _take(self, event: Mapping[str, Any]) -> str:
        body, kind = event["object"], event["type"]
        if kind == "ERROR":
            raise _Behind
        name = body["metadata"].get("name", "")
        if kind == "DELETED":
            self.objects.pop(name, None)
        elif kind != "BOOKMARK":
            self.objects[name] = _slim(body)
        if kind != "BOOKMARK":
            self._changed(body)
        return str(body["metadata"]["resourceVersion"])


async def _lines(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Whole lines of a stream, of any length up to a bound."""
    rest = b""
    async for chunk in content:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
        if len(rest) > _LARGEST:
            raise _Behind


def _slim(body: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("name", "namespace", "uid", "labels", "creationTimestamp", "deletionTimestamp", "resourceVersion")
    meta = {key: value for key, value in body["metadata"].items() if key in kept}
    return {"metadata": meta, "status": body.get("status") or {}}

"""One object, as it is and as it changes: a watch that goes on where it broke off.

get ─▶ watch from there ─▶ (the stream ends) ─▶ watch from the last version ─▶ … ─▶ (410 Gone, any trouble) ─▶ get
"""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from orchestrator_operator.adapters.kubernetes import KubernetesError, NotFound, Refused, Unavailable, path_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from orchestrator_operator.adapters.kubernetes import Kubernetes
    from orchestrator_operator.specs import Resource

_SERVER_ENDS: Final = 300  # seconds of a watch
_PAUSE: Final = 1.0  # seconds, jittered, before a new beginning
_BREATH: Final = 0.1  # seconds between two streams
_GONE: Final = 410
_LARGEST: Final = 8 << 20  # bytes of an event


class _Behind(Exception):
    """The server cannot go on from our version."""


def _silent(_: KubernetesError) -> None:
    """Nobody is told."""


async def follow(
    kubernetes: Kubernetes,
    resource: Resource,
    namespace: str,
    name: str,
    *,
    troubled: Callable[[KubernetesError], None] = _silent,
) -> AsyncGenerator[dict[str, Any], None]:
    """The object as it is now, then as it is after each change that was seen; for ever.

    Raises NotFound when it is not there, is deleted, or another one has its name; Refused without the right to look.
    While the server is away it waits, and `troubled` hears of it. Close it with `aclosing`.
    """
    uid, version = "", ""
    while True:
        try:
            body = await kubernetes.get(resource, namespace, name)
            meta = body["metadata"]
            if uid and meta["uid"] != uid:
                raise NotFound(f"{resource.singular} {namespace}/{name} was deleted, and another one has its name")
            if meta["resourceVersion"] != version:
                uid, version = meta["uid"], meta["resourceVersion"]
                yield body
            while True:
                async with aclosing(_changes(kubernetes, resource, namespace, name, version)) as changes:
                    async for kind, changed in changes:
                        version = changed["metadata"]["resourceVersion"]
                        if kind != "BOOKMARK":
                            yield changed  # what is deleted is told as it was last
                        if kind == "DELETED":
                            raise NotFound(f"{resource.singular} {namespace}/{name} was deleted")
                await asyncio.sleep(_BREATH)  # a server that ends each watch at once is not to be hurried
        except _Behind:
            version = ""
        except Unavailable as error:
            troubled(error)
        await asyncio.sleep(_PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load, hides nothing


async def _changes(
    kubernetes: Kubernetes, resource: Resource, namespace: str, name: str, version: str
) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
    query = {
        "fieldSelector": f"metadata.name={name}",
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": version,
        "timeoutSeconds": _SERVER_ENDS,
    }
    path = path_of(resource, namespace)
    try:
        async with kubernetes.stream(path, query=query, seconds=_SERVER_ENDS + 30) as content:
            async for line in lines(content):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _Behind
                yield event["type"], event["object"]
    except Refused as error:
        if error.status == _GONE:
            raise _Behind from error
        raise


async def lines(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Whole lines of a stream, and what is behind the last line end; raises Unavailable for one without a bound."""
    rest = b""
    async for chunk in content:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line:
                yield line
        if len(rest) > _LARGEST:
            raise Unavailable(f"a line of more than {_LARGEST} bytes came")
    if rest:
        yield rest

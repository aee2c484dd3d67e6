"""One watch for all Jobs of a kind, when the server has no history for it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import pytest
from orchestrator_operator.adapters.kubernetes import Refused
from orchestrator_operator.jobs.informer import Informer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from orchestrator_operator.adapters.kubernetes import Kubernetes

HOUR = 3600.0


class Forgetful:
    """Lists, and answers every watch with 410 Gone: as a status, or within the stream."""

    def __init__(self, *, status: bool) -> None:
        self.status, self.lists = status, 0

    async def call(self, *_: Any, **__: Any) -> dict[str, Any]:
        self.lists += 1
        return {"metadata": {"resourceVersion": str(self.lists)}, "items": []}

    @asynccontextmanager
    async def stream(self, *_: Any, **__: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        if self.status:
            raise Refused("too old", status=410)

        async def error() -> AsyncIterator[bytes]:
            yield b'{"type": "ERROR", "object": {"code": 410}}\n'

        yield error()


async def listed(server: Forgetful, pause: float, at_least: int) -> None:
    informer = Informer(cast("Kubernetes", server), "/jobs", "", lambda _: None, pause=pause)
    running = asyncio.create_task(informer.run())
    for _ in range(1000):
        if server.lists >= at_least:
            break
        await asyncio.sleep(0)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("status", [True, False])
async def test_a_server_that_is_always_too_new_is_not_asked_without_a_pause(status: bool) -> None:
    server = Forgetful(status=status)
    await listed(server, HOUR, at_least=2)
    assert server.lists == 1


@pytest.mark.parametrize("status", [True, False])
async def test_after_410_gone_all_are_listed_again(status: bool) -> None:
    server = Forgetful(status=status)
    await listed(server, 0.0, at_least=3)
    assert server.lists == 3

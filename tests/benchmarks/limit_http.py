"""The limit of HTTP steps: a client with no engine around it.

Ten requests an execution, one after the other, on one pool of connections: what they take beyond 500 ms is the
service's, the client's and the machine's own, and no engine can be faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import aiohttp

from tests.benchmarks.load import STEPS

if TYPE_CHECKING:
    from types import TracebackType

CONFIGURATION = {"as": "one process: aiohttp alone, one request a step, nothing kept"}


class BareHttp:
    """An HTTP client under load."""

    def __init__(self, _database: str, _workload: str, _at_once: int, url: str) -> None:
        self._url = url
        self.steps = 0

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def execute(self) -> None:
        """Ten requests."""
        for _ in range(STEPS):
            async with self._client.get(self._url) as response:
                await response.json()
            self.steps += 1

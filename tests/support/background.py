"""An event loop in a thread of its own: synchronous tests use the product's asynchronous classes through it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class Background:
    """Runs coroutines beside the test, so that a stream goes on while the test polls or calls kubectl."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="background", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T], within: float = 120.0) -> T:
        """Run it to its end there, and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(within)

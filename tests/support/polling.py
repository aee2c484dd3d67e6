"""Wait for what other processes do: ask until it holds, with a deadline and a sentence for its failure."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PATIENCE = 60.0  # seconds; a machine with other work takes long over a process start


def eventually(condition: Callable[[], T | None], what: str, within: float = PATIENCE, every: float = 0.1) -> T:
    """The first true thing that `condition` returns; AssertionError with `what` and the last thing seen otherwise."""
    deadline = time.monotonic() + within
    while not (result := condition()):
        assert time.monotonic() < deadline, f"within {within:.0f} s there was not: {what} (the last look: {result!r})"
        time.sleep(every)
    return result


async def until(condition: Callable[[], object], what: str, within: float = PATIENCE, every: float = 0.02) -> None:
    """The same beside other tasks: `condition` is asked in a thread."""
    deadline = time.monotonic() + within
    while not (result := await asyncio.to_thread(condition)):
        assert time.monotonic() < deadline, f"within {within:.0f} s there was not: {what} (the last look: {result!r})"
        await asyncio.sleep(every)

"""Transactions that end although their caller is cancelled.

A task that is cancelled in the middle of a transaction leaves its connection to the garbage collector, and with it
SQLite's one write lock: every other writer then waits until it gives up.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = ParamSpec("P")
R = TypeVar("R")


def unbroken(method: Callable[P, Coroutine[None, None, R]]) -> Callable[P, Coroutine[None, None, R]]:
    """The method, run to its end even if its caller is cancelled, who is told after that."""

    @functools.wraps(method)
    async def called(*args: P.args, **kwargs: P.kwargs) -> R:
        task = asyncio.ensure_future(method(*args, **kwargs))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # nobody is left to hear of it
            raise

    return called

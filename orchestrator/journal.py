"""Group commit: many callers, one statement, each caller awaits its own.

While one flush is on its way to the disk, the next one gathers: alone, a caller waits for one commit; in a crowd,
hundreds share it. Nobody is answered before the commit that holds their item.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from orchestrator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

log = structlog.get_logger(__name__)

I = TypeVar("I")  # noqa: E741 — an item
A = TypeVar("A")  # its answer

MOST = 500  # items a flush: bounds the statement, and what a data error makes us split


class GroupCommit(Generic[I, A]):
    """Commits items in groups by `flush`, which answers in the order of its items.

    `flush` must recognise an item that it committed before: when the database does not answer, nobody knows whether
    it did, and the same items are offered again, for `patience` seconds; then callers get StoreUnavailable. An error
    that is about the data splits the group, so that one bad item spoils nobody else's.
    """

    def __init__(
        self, flush: Callable[[Sequence[I]], Awaitable[Sequence[A]]], *, most: int = MOST, patience: float = 20.0
    ) -> None:
        self._flush, self._most, self._patience = flush, most, patience
        self._waiting: list[tuple[I, asyncio.Future[A]]] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.flushes = 0
        self.items = 0

    async def put(self, item: I) -> A:
        """Commit an item; returns its own answer."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="group-commit")
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._wake.set()
        return await future

    async def aclose(self) -> None:
        """Stop. Callers that still wait are cancelled: what they wanted may or may not be committed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        for _, future in self._waiting:
            future.cancel()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                try:
                    await self._commit([pair for pair in group if not pair[1].cancelled()])
                except asyncio.CancelledError:
                    for _, future in group:
                        future.cancel()
                    raise

    async def _commit(self, group: list[tuple[I, asyncio.Future[A]]]) -> None:
        if not group:
            return
        try:
            answers = await self._insist([item for item, _ in group])
        except StoreUnavailable as error:
            for _, future in group:
                _fail(future, error)
        except Exception as error:  # noqa: BLE001 — an error about the data: found by halving, told to its owner
            if len(group) == 1:
                _fail(group[0][1], error)
                return
            half = len(group) // 2
            await self._commit(group[:half])
            await self._commit(group[half:])
        else:
            for (_, future), answer in zip(group, answers, strict=True):
                if not future.done():
                    future.set_result(answer)

    async def _insist(self, items: Sequence[I]) -> Sequence[A]:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(StoreUnavailable),
            wait=wait_random_exponential(multiplier=0.05, max=2.0),
            stop=stop_after_delay(self._patience),
            before_sleep=lambda state: log.warning(
                "the store did not answer; trying again", attempt=state.attempt_number
            ),
            reraise=True,
        ):
            with attempt:
                self.flushes += 1
                self.items += len(items)
                return await self._flush(items)
        raise AssertionError("unreachable: reraise is set")


def _fail(future: asyncio.Future[A], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)

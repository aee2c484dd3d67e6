"""Group commit: many callers, one statement, each caller awaits its own.

While one flush is on its way to the disk, the next one gathers: alone, a caller waits for one commit; in a crowd,
hundreds share it. Nobody is answered before the commit that holds their item.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
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
_FIRST_PAUSE = 0.05  # seconds at most before a flush is tried again
LANES = 2  # flushes on their way at once: one is built while the database works on the other


class GroupCommit(Generic[I, A]):
    """Commits items in groups by `flush`, which answers in the order of its items.

    `flush` must recognise an item that it committed before: when the database does not answer, nobody knows whether
    it did, and the same items are offered again, for `patience` seconds; then callers get StoreUnavailable. An error
    that is about the data splits the group, so that one bad item spoils nobody else's.

    Up to `lanes` flushes run beside each other, and a group takes no more than its share of all items that are under
    way: otherwise every caller would be in one group, and program and database would work in turns.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[I]], Awaitable[Sequence[A]]],
        *,
        most: int = MOST,
        patience: float = 20.0,
        lanes: int = LANES,
    ) -> None:
        self._flush, self._most, self._patience, self._lanes = flush, most, patience, lanes
        self._waiting: deque[tuple[I, asyncio.Future[A]]] = deque()
        self._flying: dict[asyncio.Task[None], list[tuple[I, asyncio.Future[A]]]] = {}
        self._pumping = False
        self.flushes = 0
        self.items = 0

    async def put(self, item: I) -> A:
        """Commit an item; returns its own answer."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[A] = loop.create_future()
        self._waiting.append((item, future))
        if not self._pumping:
            self._pumping = True
            loop.call_soon(self._pump)  # not at once: whoever else is about to put comes along
        return await future

    async def aclose(self) -> None:
        """Stop. Callers that still wait are cancelled: what they wanted may or may not be committed."""
        flying = list(self._flying.items())
        for task, _ in flying:
            task.cancel()
        await asyncio.gather(*(task for task, _ in flying), return_exceptions=True)
        for _, future in (*self._waiting, *(pair for _, group in flying for pair in group)):
            future.cancel()
        self._waiting.clear()

    def _pump(self) -> None:
        """Send groups while there is a lane for them."""
        self._pumping = False
        while self._waiting and len(self._flying) < self._lanes:
            under_way = len(self._waiting) + sum(map(len, self._flying.values()))
            share = min(self._most, -(-under_way // self._lanes))
            group = [self._waiting.popleft() for _ in range(min(share, len(self._waiting)))]
            group = [pair for pair in group if not pair[1].cancelled()]
            if group:
                task = asyncio.create_task(self._commit(group), name="group-commit")
                self._flying[task] = group
                task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        del self._flying[task]
        if self._waiting and not self._pumping and not task.cancelled():
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    async def _commit(self, group: list[tuple[I, asyncio.Future[A]]]) -> None:
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
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return await self._try(items)
        except StoreUnavailable:
            left = self._patience - (loop.time() - began)
            if left <= 0:
                raise
            log.warning("the store did not answer; trying again", attempt=1)
        await asyncio.sleep(random.uniform(0.0, min(left, _FIRST_PAUSE)))  # noqa: S311 — spreads load, hides nothing
        async for attempt in self._attempts(left):
            with attempt:
                return await self._try(items)
        raise AssertionError("unreachable: reraise is set")

    async def _try(self, items: Sequence[I]) -> Sequence[A]:
        self.flushes += 1
        self.items += len(items)
        return await self._flush(items)

    def _attempts(self, patience: float) -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception_type(StoreUnavailable),
            wait=wait_random_exponential(multiplier=0.05, max=2.0),
            stop=stop_after_delay(patience),
            before_sleep=lambda state: log.warning(
                "the store did not answer; trying again", attempt=state.attempt_number
            ),
            reraise=True,
        )


def _fail(future: asyncio.Future[A], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)

"""Threads for plain functions: a function that hangs costs its own thread, and neither the others' nor the exit.

A thread cannot be stopped. When its caller gives up, a thread is lost until the function returns by itself, and another
takes its place, until as many are lost as may be busy. All are daemons: a standard pool would wait for a hanging
function when the process ends.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections import Counter
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from orchestrator.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import Gauge

log = structlog.get_logger(__name__)

T = TypeVar("T")
_Job = tuple[asyncio.Future[Any], "Callable[[], Any]"]


class StillQueued(Exception):
    """The cause of a CancelledError: the caller gave up before a thread was free, so its function never began."""


class Threads:
    """At most `most` functions at once; the next ones wait for their turn. Belongs to one event loop."""

    def __init__(self, name: str, most: int, lost: Gauge | None = None) -> None:
        self._name, self._most, self._gauge = name, most, lost
        self._turn = asyncio.Semaphore(most)
        self._idle: list[_Thread] = []
        self._lost: Counter[str] = Counter()  # what hangs, and in how many threads
        self._closed = False

    async def run(self, function: Callable[[], T], what: str) -> T:
        """What the function returns or raises, run in a thread and in the caller's context; `what` is for messages.

        Raises StepError `NoThread`, retryable, if too many calls hang.
        """
        try:
            await self._turn.acquire()
        except asyncio.CancelledError:
            queued = StillQueued(f"all {self._most} {self._name} threads were busy, so it never began")
            raise asyncio.CancelledError from queued
        try:
            return await self._run(function, what)
        finally:
            self._turn.release()

    async def _run(self, function: Callable[[], T], what: str) -> T:
        if (lost := self._lost.total()) >= self._most:
            raise StepError("NoThread", f"{lost} {self._hanging()}; mend them and restart the worker", retryable=True)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        thread = self._idle.pop() if self._idle else _Thread(self._name, loop)
        thread.jobs.put((future, functools.partial(contextvars.copy_context().run, function)))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if not future.done():
                self._lose(what, future, thread)
            raise
        finally:
            if future.done():
                self._give_back(thread)

    def close(self) -> None:
        """Let all threads end: idle ones now, the others when their functions return."""
        self._closed = True
        while self._idle:
            self._idle.pop().jobs.put(None)

    def _give_back(self, thread: _Thread) -> None:
        if self._closed:
            thread.jobs.put(None)
        else:
            self._idle.append(thread)

    def _lose(self, what: str, future: asyncio.Future[Any], thread: _Thread) -> None:
        def found(_: asyncio.Future[Any]) -> None:
            self._lost[what] -= 1
            if self._gauge is not None:
                self._gauge.dec()
            self._give_back(thread)
            if not future.cancelled():
                future.exception()  # nobody else will ask for it

        self._lost[what] += 1
        if self._gauge is not None:
            self._gauge.inc()
        future.add_done_callback(found)
        log.warning("a call was given up and still holds its thread", what=what, threads_lost=self._lost.total())

    def _hanging(self) -> str:
        named = ", ".join(sorted(+self._lost))
        return f"{self._name} threads of this worker are held by calls that were given up but never returned ({named})"


class _Thread(threading.Thread):
    """Does one job after the other; None ends it."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name=f"{name}-thread", daemon=True)
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._loop = loop
        self.start()

    def run(self) -> None:
        while (job := self.jobs.get()) is not None:
            future, function = job
            try:
                result, error = function(), None
            except BaseException as raised:  # noqa: BLE001 - whatever it is, it belongs to the caller
                result, error = None, _settable(raised)
            del job, function
            try:
                self._loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:  # the loop has ended, and nobody waits any more
                return
            del future, result, error  # an idle thread keeps nothing of what it did


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


def _settable(error: BaseException) -> BaseException:
    """A future takes any exception but this one."""
    return RuntimeError("the function raised StopIteration") if isinstance(error, StopIteration) else error

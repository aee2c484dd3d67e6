"""A worker at work in time that jumps: its event loop, its clock, and when to let the test go on."""

from __future__ import annotations

import asyncio
import contextlib
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from orchestrator.errors import OrchestratorError
from orchestrator.testing.virtual import VirtualLoop
from orchestrator.testing.wire import Wire
from orchestrator.worker import Worker, WorkerSettings

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.testing.clock import FakeClock
    from orchestrator.testing.memory import MemoryStore
    from orchestrator.testing.stubs import StubbedRunner

_SETTINGS: Final = WorkerSettings(
    concurrency=100_000, poll=timedelta(days=1), batch=timedelta(0), drain=timedelta(0), lease=timedelta(seconds=15)
)


class Shift:
    """One worker at a time. It does nothing, and no time passes, but within `work`."""

    def __init__(self, store: MemoryStore, runner: StubbedRunner, clock: FakeClock, seed: int) -> None:
        _check_no_loop_runs()
        self._chance = random.Random(seed)  # noqa: S311 - repeatable, on purpose
        self._store, self._runner, self._clock = store, runner, clock
        self._loop = VirtualLoop(self._idle)
        self._runs = asyncio.Runner(loop_factory=lambda: self._loop)
        self._resting: asyncio.Future[None] | None = None
        self._horizon, self._to_the_end = clock.now(), True
        self._hinted = 0  # how many commits there were when the worker was told to look
        self._hire()

    def work(self, horizon: datetime, *, to_the_end: bool = True) -> None:
        """Do all that comes up to that moment; without `to_the_end` time stops when nothing more can come."""
        self._horizon, self._to_the_end = horizon, to_the_end
        self._runs.run(self._until_rest())

    def crash(self) -> None:
        """The worker dies where it stands, without a word to the store, and another takes its place."""
        self._dismiss()
        self._hire()

    def close(self) -> None:
        self._dismiss()
        self._runs.run(self._runner.aclose())
        self._runs.close()

    def _hire(self) -> None:
        self._wire = Wire(self._store)
        self._worker = Worker(self._wire.store, self._runner, self._clock, _SETTINGS, chance=self._chance)

        async def begin() -> asyncio.Task[None]:
            return asyncio.create_task(self._worker.run(asyncio.Event()), name="bench-worker")

        self._working = self._runs.run(begin())

    def _dismiss(self) -> None:
        async def end() -> None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)

        self._wire.cut()
        self._runs.run(end())

    async def _until_rest(self) -> None:
        self._resting = asyncio.get_running_loop().create_future()
        self._hint()
        await asyncio.wait([self._resting, self._working], return_when=asyncio.FIRST_COMPLETED)
        if self._working.done():
            self._working.result()
            raise RuntimeError("the worker stopped by itself")
        self._resting = None

    def _hint(self) -> None:
        self._hinted = self._store.commits
        self._worker.hint()

    def _idle(self, next_timer: int | None) -> None:
        """Nothing can run: let time pass to the next moment that matters, or let the test go on."""
        now = self._clock.now()
        timer = None if next_timer is None else now + timedelta(microseconds=next_timer)
        if self._resting is None:  # the worker is being dismissed
            self._pass_until(timer or now)
            return
        due = timer if self._worker.busy else self._store.next_due()
        if due is not None and due <= now and self._hinted == self._store.commits:
            due = timer  # it was told so, and did not claim it: it may have a reason
        if due is None or due > self._horizon:
            if self._to_the_end:
                self._pass_until(self._horizon)
            self._resting.set_result(None)
            return
        self._pass_until(due)
        self._hint()

    def _pass_until(self, moment: datetime) -> None:
        passing = max(timedelta(0), moment - self._clock.now())
        self._loop.skip(passing // timedelta(microseconds=1))
        self._clock.advance(passing.total_seconds())


def _check_no_loop_runs() -> None:
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        raise OrchestratorError(
            "a bench has an event loop of its own, and cannot be used inside another: write the test as a plain `def`, "
            "or call it by `await asyncio.to_thread(…)`"
        )

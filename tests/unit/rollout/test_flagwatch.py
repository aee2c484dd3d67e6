"""The router's view of the flag: read once a second whatever goes on, kept while nobody answers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from orchestrator_operator.rollout.flagwatch import FlagWatcher

from orchestrator.flag import CLEAR, UNREAD, FlagReason, FlagSnapshot, FlagUnavailable, FlagValues
from orchestrator.testing.virtual import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ON = FlagSnapshot(FlagValues("true", "50", None), version="1")


class Flags:
    """A flag behind a server that takes its time, on the loop's own clock."""

    def __init__(self, takes: float = 0.0) -> None:
        self.takes, self.snapshot = takes, ON
        self.away = False
        self.reads: list[float] = []

    async def read(self) -> FlagSnapshot:
        self.reads.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.takes)
        if self.away:
            raise FlagUnavailable("nobody answers")
        return self.snapshot

    async def write(self, values: Mapping[str, str | None], expected_version: str) -> FlagSnapshot:
        raise AssertionError("a watcher writes nothing")


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    def idle(due: int | None) -> None:
        assert due is not None, "everything waits for ever"
        made.skip(due)

    made = VirtualLoop(idle)
    yield made
    made.close()


def watched(loop: VirtualLoop, watcher: FlagWatcher, seconds: float, rate: float = 0.0) -> None:
    """Run it for so long, beside so many executions a second that ask how they are to be routed."""

    async def flow() -> None:
        while rate:
            watcher.state(NOW)
            await asyncio.sleep(1 / rate)

    async def story() -> None:
        tasks = [asyncio.ensure_future(one) for one in (watcher.run(), flow())]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    loop.run_until_complete(story())


@pytest.mark.parametrize("takes", [0.0, 0.2, 0.9])
def test_the_flag_is_read_once_a_second_while_executions_flow(loop: VirtualLoop, takes: float) -> None:
    flags = Flags(takes)
    watched(loop, FlagWatcher(flags, lambda: None), 60.5, rate=200)
    assert len(flags.reads) == 61
    assert all(later - sooner == pytest.approx(1.0, abs=0.01) for sooner, later in pairwise(flags.reads))


def test_a_server_that_is_slower_than_that_is_asked_again_at_once(loop: VirtualLoop) -> None:
    flags = Flags(3.0)
    watched(loop, FlagWatcher(flags, lambda: None), 30.5)
    assert len(flags.reads) == 11


def test_a_server_that_refuses_at_once_is_not_asked_without_a_pause(loop: VirtualLoop) -> None:
    flags = Flags()
    flags.away = True
    watched(loop, FlagWatcher(flags, lambda: None), 10.5)
    assert len(flags.reads) == 11


def test_what_was_read_last_holds_while_nobody_answers(loop: VirtualLoop) -> None:
    flags = Flags()
    watcher = FlagWatcher(flags, lambda: None)
    assert watcher.state(NOW) is UNREAD
    watched(loop, watcher, 2.5)
    flags.away = True
    watched(loop, watcher, 5.0)
    assert watcher.state(NOW).reason is FlagReason.PERCENT


def test_a_change_is_told_once(loop: VirtualLoop) -> None:
    flags, told = Flags(), []
    watcher = FlagWatcher(flags, lambda: told.append(loop.time()))
    watched(loop, watcher, 3.5)
    flags.snapshot = FlagSnapshot(CLEAR, version="2")
    watched(loop, watcher, 3.5)
    assert len(told) == 2
    assert watcher.state(NOW).reason is FlagReason.OFF

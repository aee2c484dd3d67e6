"""What ends a life of the operator, and when another one begins."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest
from orchestrator_operator.lives import live
from orchestrator_operator.watch import WatchEnded


async def test_after_a_watch_that_ended_by_itself_another_life_begins() -> None:
    lives: list[asyncio.Event] = []

    async def life(stop: asyncio.Event) -> None:
        lives.append(stop)
        if len(lives) == 1:
            raise WatchEnded("410 Gone")

    await live(life, pause=0.0)
    assert len(lives) == 2


async def test_several_short_lives_in_a_row_end_the_process() -> None:
    lives: list[asyncio.Event] = []

    async def life(stop: asyncio.Event) -> None:
        lives.append(stop)
        raise WatchEnded("410 Gone")

    with pytest.raises(WatchEnded):
        await live(life, pause=0.0)
    assert len(lives) == 5


async def test_nothing_begins_anew_once_somebody_asked_for_the_end() -> None:
    async def life(stop: asyncio.Event) -> None:
        stop.set()  # as the watch does at SIGTERM
        raise WatchEnded("the connection was closed")

    await live(life, pause=0.0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_a_life_that_has_no_handlers_yet(number: signal.Signals) -> None:
    async def life(stop: asyncio.Event) -> None:
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()

    await live(life)


async def test_a_signal_in_the_pause_between_two_lives_ends_it() -> None:
    lives: list[asyncio.Event] = []

    async def life(stop: asyncio.Event) -> None:
        lives.append(stop)
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        raise WatchEnded("410 Gone")

    await live(life, pause=3600.0)
    assert len(lives) == 1


async def test_a_cancelled_life_is_cancelled_and_no_quiet_end() -> None:
    begun = asyncio.Event()

    async def life(stop: asyncio.Event) -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(live(life))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_process_that_hangs_at_its_end_ends_all_the_same() -> None:
    program = "import threading, orchestrator_operator.lives as l; l.end_within(0.1); threading.Event().wait()"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 1

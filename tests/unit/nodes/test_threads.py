from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import os
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator import telemetry
from orchestrator.functions import Functions
from orchestrator.model import Node, RetryPolicy
from orchestrator.nodes import python
from orchestrator.nodes.runner import NodeRunner
from orchestrator.nodes.threads import Threads
from tests.support.polling import until
from tests.support.services import failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.nodes.base import StepContext

ROOT = Path(__file__).resolve().parents[3]
PYTHON = Node("charge", "python", (), None, {}, RetryPolicy(1, timedelta(0), 1.0, timedelta(0), "none"), timedelta(1))


class Hanging:
    """Calls that hang until they are let go, and say that they have begun."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.over = threading.Event()

    def __call__(self) -> str:
        self.begun.release()
        self.over.wait()
        return "let go"

    async def wait_for(self, calls: int) -> None:
        for _ in range(calls):
            await until(lambda: self.begun.acquire(blocking=False), "a call that began", every=0.002)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    calls = Hanging()
    yield calls
    calls.over.set()


async def given_up(threads: Threads, hanging: Hanging, calls: int) -> None:
    """Start hanging calls, and give them up when they have begun."""
    tasks = [asyncio.create_task(threads.run(hanging, "shop:hang")) for _ in range(calls)]
    await hanging.wait_for(calls)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_call_has_its_callers_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("mine")
    assert await Threads("t", 1).run(variable.get, "get") == "mine"


@pytest.mark.parametrize("error", [KeyError("a"), SystemExit(3), KeyboardInterrupt()])
async def test_what_a_call_raises_its_caller_gets(error: BaseException) -> None:
    def fails() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await Threads("t", 1).run(fails, "fails")
    assert caught.value is error


async def test_a_stop_iteration_does_not_get_lost() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await Threads("t", 1).run(lambda: next(iter(())), "next")


async def test_a_thread_is_used_again() -> None:
    threads = Threads("t", 8)
    assert len({await threads.run(threading.get_ident, "ident") for _ in range(20)}) == 1


async def test_no_more_calls_run_at_once_than_allowed(hanging: Hanging) -> None:
    threads = Threads("t", 2)
    calls = [asyncio.create_task(threads.run(hanging, "hang")) for _ in range(3)]
    await hanging.wait_for(2)
    assert not hanging.begun.acquire(timeout=0.05)
    hanging.over.set()
    assert await asyncio.gather(*calls) == ["let go"] * 3


async def test_a_call_that_was_given_up_holds_nobody_up(hanging: Hanging) -> None:
    threads = Threads("t", 2)
    await given_up(threads, hanging, 1)
    assert await asyncio.gather(*(threads.run(lambda: 1, "one") for _ in range(5))) == [1] * 5


async def test_when_too_many_calls_hang_the_next_is_told_which(hanging: Hanging) -> None:
    threads = Threads("python", 2)
    await given_up(threads, hanging, 2)
    error = await failure(threads.run(lambda: 1, "one"))
    assert (error.kind, error.retryable) == ("NoThread", True)
    assert "2 python threads of this worker are held by calls that were given up" in error.message
    assert "(shop:hang)" in error.message


async def test_a_thread_whose_call_returns_after_all_is_used_again(hanging: Hanging) -> None:
    threads = Threads("python", 1, telemetry.THREADS_LOST)
    before = telemetry.THREADS_LOST._value.get()
    await given_up(threads, hanging, 1)
    assert telemetry.THREADS_LOST._value.get() == before + 1
    hanging.over.set()
    async with asyncio.timeout(20):
        while telemetry.THREADS_LOST._value.get() != before:
            await asyncio.sleep(0.002)
    assert await threads.run(lambda: 1, "one") == 1


async def test_closing_ends_idle_threads() -> None:
    threads = Threads("t", 1)
    thread = await threads.run(threading.current_thread, "current")
    threads.close()
    await until(lambda: not thread.is_alive(), "the end of the thread", every=0.002)


# ---- as steps


async def test_a_step_that_never_got_a_thread_says_so(
    context: StepContext, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(python, "_THREADS", 1)
    functions = Functions()
    functions.register(hanging, "hang")
    async with NodeRunner(functions=functions) as runner:
        first = asyncio.create_task(runner.run(PYTHON, {"call": "hang"}, context))
        await hanging.wait_for(1)
        hurried = dataclasses.replace(context, timeout=timedelta(milliseconds=20))
        error = await failure(runner.run(PYTHON, {"call": "hang"}, hurried))
        hanging.over.set()
        assert await first == "let go"
    assert (error.kind, error.retryable) == ("NoThread", True)
    assert "all 1 python threads were busy, so it never began" in error.message


async def test_a_step_that_waits_for_a_thread_can_be_cancelled(
    context: StepContext, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(python, "_THREADS", 1)
    functions = Functions()
    functions.register(hanging, "hang")
    async with NodeRunner(functions=functions) as runner:
        first = asyncio.create_task(runner.run(PYTHON, {"call": "hang"}, context))
        await hanging.wait_for(1)
        second = asyncio.create_task(runner.run(PYTHON, {"call": "hang"}, context))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        hanging.over.set()
        await first


def test_a_function_that_hangs_does_not_keep_the_process(tmp_path: Path) -> None:
    script = tmp_path / "hangs.py"
    script.write_text(
        """
import asyncio, threading
from orchestrator.nodes.threads import Threads

async def main():
    threads, begun = Threads("python", 1), threading.Event()
    def hang():
        begun.set()
        threading.Event().wait()
    call = asyncio.create_task(threads.run(hang, "hang"))
    while not begun.is_set():
        await asyncio.sleep(0.01)
    call.cancel()
    threads.close()
    print("done")

asyncio.run(main())
""",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert "done" in done.stdout.splitlines()

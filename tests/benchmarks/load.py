"""A closed loop: exactly so many executions at once, measured over a window in the middle of a steady load."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from tests.benchmarks import usage
from tests.benchmarks.figures import percentile_so_far

if TYPE_CHECKING:
    from cProfile import Profile
    from types import TracebackType

STEPS = 10  # of every execution, in every workload


class Contender(Protocol):
    """An engine under load, in this process. Entered before the load; after it the process just ends."""

    steps: int  # that completed so far: what the rate is made of

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def execute(self) -> None:
        """Start one execution of ten steps and return when it is over and durable; raises if it did not succeed."""


@dataclass(frozen=True, slots=True)
class Window:
    """How long a load runs, in seconds."""

    warmup: float
    measured: float
    drain: float  # at most, for executions that began before the window's end; the load is kept up meanwhile


@dataclass(frozen=True, slots=True)
class Sample:
    """What one load measured."""

    seconds: float
    steps: int
    executions: int  # that ended and are in the percentiles
    unfinished: int  # that began before the window's end and did not end within the drain: they count with their age
    p50_ms: float
    p50_is_lower_bound: bool
    p99_ms: float
    p99_is_lower_bound: bool
    client_cpu_s: float
    server_cpu_s: float
    client_peak_mb: float
    server_mb: float
    load_average: float

    def as_json(self) -> dict[str, Any]:
        """With the derived figures that the tables show."""
        thousands = max(self.steps, 1) / 1000
        return asdict(self) | {
            "steps_per_second": self.steps / self.seconds,
            "client_cpu_s_per_1000_steps": self.client_cpu_s / thousands,
            "server_cpu_s_per_1000_steps": self.server_cpu_s / thousands,
        }


@dataclass(slots=True)
class _Loop:
    """N clients, each of which starts the next execution when its last one is over."""

    contender: Contender
    began: dict[int, float]
    ended: list[tuple[float, float]]

    async def client(self, number: int) -> None:
        while True:
            self.began[number] = began = time.perf_counter()
            await self.contender.execute()
            self.ended.append((began, time.perf_counter()))

    def open_before(self, moment: float) -> list[float]:
        return [began for began in self.began.values() if began < moment]


async def measure(
    contender: Contender, at_once: int, window: Window, server_pid: int | None, profiler: Profile | None = None
) -> Sample:
    """Load a contender and measure it; raises what an execution raised. A profiler watches the window, and slows it."""
    loop = _Loop(contender, {}, [])
    clients = [asyncio.create_task(loop.client(number), name=f"client-{number}") for number in range(at_once)]
    watch = asyncio.create_task(_watch(loop, window, server_pid, profiler), name="watch")
    try:
        await asyncio.wait([watch, *clients], return_when=asyncio.FIRST_COMPLETED)
        for client in clients:
            if client.done():
                client.result()  # a client never returns: it raises
        return watch.result()
    finally:
        for task in (watch, *clients):
            task.cancel()


async def _watch(loop: _Loop, window: Window, server_pid: int | None, profiler: Profile | None) -> Sample:
    def server_cpu() -> float:
        return usage.tree_cpu(server_pid) if server_pid else 0.0

    await asyncio.sleep(window.warmup)
    load_average = os.getloadavg()[0]
    opened, steps, own, server = time.perf_counter(), loop.contender.steps, usage.own_cpu(), server_cpu()
    if profiler is not None:
        profiler.enable()
    await asyncio.sleep(window.measured)
    if profiler is not None:
        profiler.disable()
    closed, steps = time.perf_counter(), loop.contender.steps - steps
    own, server = usage.own_cpu() - own, server_cpu() - server
    while loop.open_before(closed) and time.perf_counter() - closed < window.drain:
        await asyncio.sleep(0.02)
    now = time.perf_counter()
    over = [end - began for began, end in loop.ended if end > opened and began < closed]
    unfinished = [now - began for began in loop.open_before(closed)]
    (p50, p50_bound), (p99, p99_bound) = (percentile_so_far(over, unfinished, share) for share in (0.50, 0.99))
    return Sample(
        seconds=closed - opened,
        steps=steps,
        executions=len(over),
        unfinished=len(unfinished),
        p50_ms=p50 * 1000,
        p50_is_lower_bound=p50_bound,
        p99_ms=p99 * 1000,
        p99_is_lower_bound=p99_bound,
        client_cpu_s=own,
        server_cpu_s=server,
        client_peak_mb=usage.own_peak_mb(),
        server_mb=usage.tree_memory_mb(server_pid) if server_pid else 0.0,
        load_average=load_average,
    )

"""Replays traces as counters for Prometheus, a bin a second. A process of its own.

python -m tests.benchmarks.rollout.argo.exporter TRACES.json

Prints the port; counts from zero when it reads a line, and serves until its standard input is closed. TRACES.json has
for each case, engine and outcome the counts of each second: {"late": {"v2": {"bad": [0, 1, …], "good": […]}}}.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import accumulate
from pathlib import Path

from aiohttp import web

METRIC = "bench_executions_total"


class Replay:
    """The totals of every series at each second."""

    def __init__(self, traces: dict[str, dict[str, dict[str, list[int]]]]) -> None:
        self._series = {
            f'{METRIC}{{case="{case}",engine="{engine}",outcome="{outcome}"}}': [0, *accumulate(counts)]
            for case, engines in traces.items()
            for engine, outcomes in engines.items()
            for outcome, counts in outcomes.items()
        }

    def text(self, second: int) -> str:
        """The exposition format at a second of the replay; after the end of a trace its totals stay as they are."""
        lines = [f"{name} {totals[min(second, len(totals) - 1)]}" for name, totals in self._series.items()]
        return "\n".join([f"# TYPE {METRIC} counter", *lines, ""])


async def _serve(traces: Path) -> None:
    replay = Replay(json.loads(traces.read_text(encoding="utf-8")))
    began: float | None = None

    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(text=replay.text(0 if began is None else int(time.monotonic() - began)))

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    if await asyncio.to_thread(sys.stdin.readline):
        began = time.monotonic()
        await asyncio.to_thread(sys.stdin.read)  # the parent's end closes when the parent ends, however it ends
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))

"""The function of a trivial step, as a worker loads it: `--functions tests.benchmarks.steps`."""

from __future__ import annotations

from orchestrator.functions import function


class Count:
    """How many steps ran in this process."""

    steps = 0


@function(name="bench-step")
async def step(number: int) -> int:
    """Do nothing, and count it."""
    Count.steps += 1
    return number

"""V1 keeps nothing, but its row says until when its step may take: one that lives must not be taken for left behind."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from orchestrator.model import Engine, Status
from orchestrator.testing import Bench

if TYPE_CHECKING:
    from collections.abc import Mapping

MINUTE = timedelta(minutes=1)
WAITS = {"id": "rest", "type": "wait", "with": {"duration": "3h"}}
# Ten items one after the other, each within its minute, all of them beyond it.
MAPS = {
    "id": "all",
    "type": "map",
    "with": {
        "items": "${[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}",
        "do": {"type": "python", "with": {"call": "slow"}},
    },
    "timeout": "1m",
}


def stalled(bench: Bench) -> int:
    return asyncio.run(bench.store.gauges(bench.clock.now(), timedelta(seconds=1))).stalled[Engine.V1]


def at_work(bench: Bench, node: Mapping[str, Any]) -> str:
    return bench.submit({"nodes": [dict(node)]}, engine=Engine.V1)


def test_a_long_wait_is_no_stall_and_no_cancel_ends_it_before_v1_reads_it() -> None:
    with Bench() as bench:
        rests = at_work(bench, WAITS)
        for _ in range(17):
            bench.advance(10 * MINUTE)
            assert stalled(bench) == 0
        assert bench.cancel(rests)
        assert bench.get(rests).status is Status.RUNNING


def test_the_items_of_a_map_may_take_longer_together_than_each_of_them() -> None:
    async def slow() -> None:
        await asyncio.sleep(40)

    with Bench(functions={"slow": slow}) as bench:
        maps = at_work(bench, MAPS)
        for _ in range(6):
            bench.advance(MINUTE)
            assert bench.get(maps).status is Status.RUNNING
            assert stalled(bench) == 0
        bench.advance(MINUTE)
        assert bench.get(maps).status is Status.SUCCESS


def test_what_dies_while_it_waits_is_left_behind_once_its_wait_is_over() -> None:
    with Bench() as bench:
        rests = at_work(bench, WAITS)
        bench.advance(MINUTE)
        bench.crash()
        bench.advance(170 * MINUTE)
        assert stalled(bench) == 0
        bench.advance(20 * MINUTE)
        assert stalled(bench) == 1
        assert bench.cancel(rests)
        assert bench.get(rests).status is Status.CANCELLED
        assert stalled(bench) == 0

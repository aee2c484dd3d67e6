"""A controller that ends anywhere between two of its writes: the next one repairs it, and no promise is broken.

The places are not listed by hand: a story is told once, every moment that it announces is noted, and then it is told
again for each of them, with an end there.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, get_args

import pytest
import structlog
from orchestrator_operator.rollout import steps
from orchestrator_operator.rollout.log.recorder import read_all
from orchestrator_operator.rollout.log.verify import verify
from orchestrator_operator.rollout.model import Action
from orchestrator_operator.rollout.planning.situation import ABORT
from orchestrator_operator.rollout.steps import Moment, Step

from orchestrator.flag import FlagValues, is_on
from orchestrator.testing import MemoryStore, faults
from tests.support.prometheus import counters
from tests.support.rollout_cluster import GOOD, PASSING, Cluster
from tests.support.rollouts import DOCUMENT
from tests.support.stores import claim_one, end, submission, workflow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from orchestrator.store import DecisionRow

#: One criterion at one age: it is told over and over.
SMALL = {
    "criteria": DOCUMENT["criteria"][:1],
    "analysis": {**DOCUMENT["analysis"], "ages": ["1m"], "restart": "30m"},
}
OWN = {"name": "own", "type": "comparison", "required": False} | {
    field: f'shop_{counter}_total{{engine="$engine"}}' for field, counter in (("bad", "refunds"), ("total", "orders"))
}
FAILING = [*PASSING, *counters("25", (20, 18_000), (6000, 0))]


class Killed(BaseException):
    """The process has ended here."""


class Watched(Cluster):
    """Looks at each write of the flag: what does the log say at that moment?"""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.shares = [0.0]
        self._write = self.kubernetes.patch_secret
        self.kubernetes.patch_secret = self._watch

    async def look_again(self, seconds: float = 0.0, times: int = 1) -> None:
        """As `look`; if the process ends on the way, another one begins, and looks."""
        self.clock.advance(seconds)
        for _ in range(times):
            try:
                await self.look()
            except Killed:
                await self.controller.aclose()
                self.restarted()
                await self.look(times=2)

    async def log(self) -> list[DecisionRow]:
        uid = self.uid if not self.there() else self.body()["metadata"]["uid"]
        self.uid = uid
        return await read_all(self.store, uid)

    async def _watch(self, *args: Any, **kwargs: Any) -> Any:
        written = await self._write(*args, **kwargs)
        values = FlagValues.of(self.flag)
        share = float(values.percent or 100) if is_on(values) else 0.0
        if share > self.shares[-1]:
            decided = [json.loads(row.content) for row in await self.log()]
            planned = [body["planned"]["status"] for body in decided if body.get("inputs") is not None]
            assert float(planned[-1]["percent"]) == share, "the percent rose without a recorded reason"
            assert planned[-1]["phase"] not in ("RollingBack", "RolledBack"), "a rollback was undone"
        self.shares.append(share)
        return written


async def promoted_and_aborted(cluster: Watched) -> None:
    """Started, two restarts of the evidence, promoted, aborted by a person, cancelled, drained, deleted."""
    await cluster.apply(**SMALL, rollback={"inFlight": "Cancel"})
    await cluster.look_again(times=3)
    await cluster.store.put_workflow(workflow())
    await cluster.store.submit([submission("x1")], cluster.clock.now())
    cluster.prometheus.counters = GOOD
    await cluster.look_again(1900)
    cluster.prometheus.counters = PASSING
    await cluster.look_again(1900, times=2)
    await cluster.annotate(ABORT, "true")
    await cluster.look_again(60, times=2)
    await end(cluster.store, await claim_one(cluster.store, at=cluster.clock.now()), at=cluster.clock.now())
    await cluster.look_again(60)
    cluster.body()["metadata"]["deletionTimestamp"] = "2026-01-01T02:00:00Z"
    await cluster.look_again(60)


async def convicted_and_begun_again(cluster: Watched) -> None:
    """Started, with counters of a user's own whose bins close, promoted, blind, seeing, convicted, drained."""
    begun = cluster.clock.now().timestamp()
    for counter, each in (("refunds", 0.0), ("orders", 20.0)):
        for engine in ("v1", "v2"):
            labels = {"engine": engine, "job": "shop", "instance": "pod-0"}
            samples = [(begun + 60.0 * minute, each * (minute + 10)) for minute in range(-10, 200)]
            cluster.prometheus.raw[f'shop_{counter}_total{{engine="{engine}"}}'] = [(labels, samples)]
    await cluster.apply(**{**SMALL, "criteria": [*SMALL["criteria"], OWN]})
    await cluster.look_again(times=3)
    cluster.prometheus.counters = PASSING
    await cluster.look_again(3600, times=2)
    cluster.prometheus.down = True
    await cluster.look_again(60)
    cluster.prometheus.down = False
    await cluster.look_again(60)
    cluster.prometheus.counters = FAILING
    await cluster.look_again(60, times=2)


STORIES: tuple[Callable[[Watched], Awaitable[None]], ...] = (promoted_and_aborted, convicted_and_begun_again)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The same story is told a hundred times: its log lines would take a third of the time."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@contextmanager
def armed(plan: Callable[[Step, Moment], None]) -> Iterator[None]:
    steps.arm(plan)
    try:
        yield
    finally:
        steps.arm(None)


async def tell(story: Callable[[Watched], Awaitable[None]], kill_at: int | None) -> tuple[list[Any], Watched]:
    """Every moment that was reached, in order; the process ends at number `kill_at` of them."""
    cluster, reached = Watched(), []

    def plan(step: Step, moment: Moment) -> None:
        reached.append((step, moment))
        if len(reached) - 1 == kill_at:
            raise Killed

    with armed(plan):
        await story(cluster)
    await cluster.controller.aclose()
    return reached, cluster


def decisions(rows: list[DecisionRow]) -> list[tuple[str, str]]:
    return [(row.action, row.reason) for row in rows if row.action != "Observed"]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_wherever_it_ends_every_decision_is_recorded_once_and_the_flag_is_cleared(
    story: Callable[[Watched], Awaitable[None]],
) -> None:
    reached, undisturbed = await tell(story, None)
    wanted = decisions(await undisturbed.log())
    for place, where in enumerate(reached):
        if where[1] is Moment.BEFORE and where in reached[:place]:
            continue  # nothing was written since the end of the step before: that place had its turn
        _, cluster = await tell(story, place)
        rows = await cluster.log()
        assert decisions(rows) == wanted, f"after an end at {where}, number {place}"
        assert verify(rows).difference == "", f"after an end at {where}, number {place}"
        assert cluster.flag == {}, f"after an end at {where}, number {place}"


async def test_the_stories_pass_every_step() -> None:
    """A new action whose step no story reaches fails here."""
    reached = {step for story in STORIES for step, _ in (await tell(story, None))[0]}
    assert reached == set(Step)


def test_every_action_has_a_step_of_its_own() -> None:
    assert set(steps.OF) == set(get_args(Action))
    assert len(set(steps.OF.values())) == len(steps.OF)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_nothing_is_written_outside_of_a_step(story: Callable[[Watched], Awaitable[None]]) -> None:
    """Neither to the API server nor to the store: what a test does itself, it does while nothing reconciles."""
    cluster, open_steps, outside = Watched(), [], []
    reconcile = type(cluster.controller).reconcile
    busy = False

    async def reconciling(controller: Any, uid: str) -> float:
        nonlocal busy
        busy = True
        try:
            return await reconcile(controller, uid)
        finally:
            busy = False

    def plan(step: Step, moment: Moment) -> None:
        open_steps.append(step) if moment is Moment.BEFORE else open_steps.remove(step)

    def writes(name: str) -> None:
        if busy and len(open_steps) != 1:
            outside.append(name)

    for name in ("patch_status", "patch", "take_off", "patch_secret", "create_event"):
        setattr(cluster.kubernetes, name, _noted(getattr(cluster.kubernetes, name), name, writes))
    cluster.controller.reconcile = lambda uid: reconciling(cluster.controller, uid)  # type: ignore[method-assign]  # a spy
    with armed(plan), faults.planned(lambda boundary, _: writes(boundary)):
        await story(cluster)
    assert outside == []


def _noted(method: Callable[..., Awaitable[Any]], name: str, writes: Callable[[str], None]) -> Callable[..., Any]:
    async def noted(*args: Any, **kwargs: Any) -> Any:
        writes(name)
        await asyncio.sleep(0)
        return await method(*args, **kwargs)

    return noted

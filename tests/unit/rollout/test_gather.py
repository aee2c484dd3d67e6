"""What one look reads, what it costs, and what is said when it cannot be read."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from orchestrator_operator.adapters.prometheus import Prometheus
from orchestrator_operator.rollout.judging.judge import judge
from orchestrator_operator.rollout.known import Known
from orchestrator_operator.rollout.model import Health, Unreadable
from orchestrator_operator.rollout.planning.plan import plan
from orchestrator_operator.rollout.reading.gather import Gatherer
from orchestrator_operator.specs import ROLLOUTS
from orchestrator_operator.specs.rollout_status import Phase, RolloutStatus, write_status

from orchestrator.errors import StoreUnavailable
from orchestrator.flag import EnvironmentFlagStore
from orchestrator.model import Engine, Status
from orchestrator.store import Totals
from orchestrator.store.messages import V1Update
from orchestrator.testing import FakeClock, MemoryStore
from tests.support.cluster import document
from tests.support.prometheus import FakePrometheus, counters, vector
from tests.support.rollouts import DOCUMENT
from tests.support.stores import projection, submission, workflow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from orchestrator_operator.rollout.model import Gathered

SECRET, ATTEMPT = "orchestrator-flags", "3f2a9c1e-1"
CHAIN, OTHER = "default/chain", "default/other"
SLOWER = {"name": "slower", "type": "comparison", "preset": "slower-than-baseline"}
STALLED = {"name": "stalled", "type": "guardrail", "query": "stalled", "max": 0}
OWN = {"name": "own", "type": "comparison", "bad": 'b{e="$engine"}', "total": 't{e="$engine"}'}
KINDS = ("failures", "first-attempt-failures", "slower-than-baseline")
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


class Counting:
    """A store that counts what it is asked."""

    def __init__(self, store: Any) -> None:
        self._store, self.calls = store, Counter[str]()

    def __getattr__(self, name: str) -> Any:
        self.calls[name] += 1
        return getattr(self._store, name)


class World:
    """One rollout, and everything that is read for it."""

    def __init__(self) -> None:
        self.clock, self.memory, self.prometheus = FakeClock(), MemoryStore(), FakePrometheus()
        self.store = Counting(self.memory)
        self.prometheus.counters = counters("5", (1, 95), (0, 5), criteria=KINDS)
        self.use(self.prometheus.transport())
        self.start = self.clock.now()
        self.status = RolloutStatus(
            phase=Phase.PROGRESSING, attempt_id=ATTEMPT, started_at=self.start, stage_started_at=self.start
        )
        self.document: dict[str, Any] = DOCUMENT | {"criteria": [*DOCUMENT["criteria"], SLOWER]}

    def use(self, transport: httpx.AsyncBaseTransport) -> None:
        """Another Prometheus from now on."""
        self.client = Prometheus("http://prometheus", transport=transport)
        self.gatherer = Gatherer(
            store=self.store,
            prometheus=self.client,
            flags=lambda _: EnvironmentFlagStore({}),
            routed_secret=SECRET,
            clock=self.clock,
        )

    async def gather(self, **status: Any) -> Gathered:
        body = document(ROLLOUTS, "v2", self.document)
        body["status"] = write_status(self.status.model_copy(update=status))
        return await self.gatherer.gather(Known.found(body), None)

    async def cost(self) -> tuple[int, Counter[str]]:
        """Queries of Prometheus, and calls of the store by name, of one look."""
        self.prometheus.asked = 0
        self.store.calls.clear()
        await self.gather()
        return self.prometheus.asked, Counter(self.store.calls)

    async def v1(self, executions: int, at: datetime, status: Status = Status.SUCCESS, **fields: Any) -> None:
        """Executions of V1 that ended at that moment."""
        ids = [f"{status}-{at:%H%M%S}-{fields.get('workflow', '')!s:.9}-{i}" for i in range(executions)]
        await self.memory.submit([submission(id_, engine=Engine.V1, **fields) for id_ in ids], at)
        await self.memory.v1_update([V1Update(id_, projection(status, finished_at=at), None) for id_ in ids])

    async def baselines(self) -> None:
        await self.memory.take_baselines(ATTEMPT, self.start - timedelta(days=7), self.start)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.client.aclose()


# -- what it costs


async def test_ages_restarts_percents_and_presets_cost_nothing(world: World) -> None:
    world.document = DOCUMENT | {"criteria": DOCUMENT["criteria"][:1], "analysis": {"ages": ["1m"]}}
    few = await world.cost()
    ages = [f"{minutes}m" for minutes in range(1, 30)]
    world.document = DOCUMENT | {"criteria": [*DOCUMENT["criteria"], SLOWER], "analysis": {"ages": ages}}
    for percent in ("5", "25", "50"):
        world.prometheus.counters += counters(percent, (1, 95), (0, 5), criteria=KINDS, ages=tuple(ages))
    for restart in range(1, 29):
        await world.memory.save_totals(ATTEMPT, Totals(restart, world.start, {}))
    assert await world.cost() == few
    assert few == (2, Counter(["totals", "baselines"]))


async def test_a_guardrail_costs_one_query(world: World) -> None:
    before = await world.cost()
    world.document["criteria"] = [
        *world.document["criteria"],
        {"name": "slow", "type": "guardrail", "preset": "slow-checkpoints", "max": 0.05},
        STALLED,
    ]
    assert await world.cost() == (before[0] + 2, before[1])


async def test_a_user_s_own_counters_cost_four_queries_and_one_look_into_the_store(world: World) -> None:
    before = await world.cost()
    world.document["criteria"] = [*world.document["criteria"], OWN]
    world.clock.advance(60)
    assert await world.cost() == (before[0] + 4, before[1] + Counter(["bins"]))


async def test_the_health_of_any_number_of_workflows_costs_one_query(world: World) -> None:
    before = await world.cost()
    for number in range(5):
        await world.v1(1, world.start - MINUTE, workflow=workflow(name=f"w{number}"))
    await world.baselines()
    assert await world.cost() == (before[0], before[1] + Counter(["ended"]))


async def test_a_rollout_that_is_over_costs_prometheus_nothing(world: World) -> None:
    world.status = world.status.model_copy(update={"phase": Phase.COMPLETED})
    assert await world.cost() == (0, Counter())


# -- whatever Prometheus says

REDIRECT = httpx.Response(302, headers={"Location": "http://elsewhere/"})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.ConnectError("refused"), "PrometheusUnreachable"),
        (httpx.ReadTimeout("slow"), "PrometheusUnreachable"),
        (httpx.Response(503, text="starting"), "PrometheusUnreachable"),
        (httpx.Response(200, text="<html>log in</html>"), "UnexpectedAnswer"),
        (REDIRECT, "UnexpectedAnswer"),
        (httpx.Response(200, json={"status": "error", "error": "no"}), "QueryRefused"),
        (httpx.Response(403, json={"status": "error", "error": "no"}), "QueryRefused"),
        (vector([({}, 1)], warnings=["half of it is missing"]), "PartialAnswer"),
        (vector([({"pod": str(number)}, 1) for number in range(5_001)]), "TooManySeries"),
    ],
)
async def test_what_cannot_be_read_is_never_a_number(
    world: World, answer: httpx.Response | Exception, reason: str
) -> None:
    def said(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    world.use(httpx.MockTransport(said))
    world.document["criteria"] = [*world.document["criteria"], STALLED, OWN]
    world.clock.advance(60)
    found = await world.gather()
    everything = [
        *found.cohorts.values(),
        found.starts,
        found.calibration,
        *found.guardrails.values(),
        found.own["own"],
    ]
    assert {one.reason if isinstance(one, Unreadable) else one for one in everything} == {reason}
    assert (found.keyed, found.closed) == (None, ())


# -- V1's health


async def test_v1_s_last_hour_stands_beside_its_week_before(world: World) -> None:
    await world.v1(98, world.start - HOUR)
    await world.v1(2, world.start - HOUR, Status.FAILED)
    await world.baselines()
    world.clock.advance(2 * 3600)
    await world.v1(5, world.clock.now() - 61 * MINUTE)
    await world.v1(3, world.clock.now() - 59 * MINUTE)
    await world.v1(4, world.clock.now() - MINUTE, Status.FAILED)
    await world.v1(1, world.clock.now() - MINUTE, Status.FAILED, workflow=workflow(name="other"))
    health = (await world.gather()).health
    assert health == (Health(CHAIN, 4, 7, 2, 100), Health(OTHER, 1, 1, 0, 0))


async def test_before_the_baselines_are_taken_there_is_no_health_and_they_are_asked_for(world: World) -> None:
    await world.v1(3, world.start)
    found = await world.gather()
    assert (found.health, found.baselined) == ((), False)
    await world.baselines()
    assert (await world.gather()).baselined


async def test_a_store_that_is_away_is_told_and_asks_for_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(world.memory, "baselines", away)
    found = await world.gather()
    assert isinstance(found.health, Unreadable)
    assert {one.reason for one in found.cohorts.values() if isinstance(one, Unreadable)} == {"StoreUnavailable"}
    assert found.baselined


@pytest.mark.parametrize("executions", [99, 100])
async def test_durations_are_compared_where_there_is_history(world: World, executions: int) -> None:
    await world.v1(executions, world.start - HOUR)
    await world.baselines()
    found = (await world.gather()).cohorts["slower-than-baseline", MINUTE]
    assert (isinstance(found, Unreadable) and found.nothing_to_compare) == (executions < 100)


BEFORE_THE_START = {"phase": Phase.PENDING, "started_at": None, "stage_started_at": None}


async def test_before_the_start_v1_s_last_hour_stands_beside_the_week_before_it(world: World) -> None:
    await world.v1(98, world.start - 2 * HOUR)
    await world.v1(2, world.start - 2 * HOUR, Status.FAILED)
    await world.v1(5, world.start - timedelta(days=8), Status.FAILED)
    await world.v1(3, world.start - MINUTE)
    await world.v1(4, world.start - MINUTE, Status.FAILED)
    await world.v1(1, world.start - MINUTE, Status.FAILED, workflow=workflow(name="other"))
    health = (await world.gather(**BEFORE_THE_START)).health
    assert health == (Health(CHAIN, 4, 7, 2, 100), Health(OTHER, 1, 1, 0, 0))


async def test_nothing_starts_while_v1_is_worse_than_in_its_week(world: World) -> None:
    await world.v1(950, world.start - 2 * HOUR)
    await world.v1(10, world.start - 2 * HOUR, Status.FAILED)
    await world.v1(60, world.start - MINUTE, Status.FAILED)
    found = await world.gather(**BEFORE_THE_START)
    planned = plan(found, judge(found))
    assert (planned.status.phase, planned.status.reason) == (Phase.PENDING, "SharedDegradation")
    world.clock.advance(3601)
    world.prometheus.age = 0.0
    found = await world.gather(**BEFORE_THE_START)
    assert judge(found).alarms == ()


async def test_the_week_before_the_start_is_counted_once_in_ten_minutes(world: World) -> None:
    await world.gather(**BEFORE_THE_START)
    world.store.calls.clear()
    await world.gather(**BEFORE_THE_START)
    assert world.store.calls["ended"] == 1
    world.clock.advance(600)
    await world.gather(**BEFORE_THE_START)
    assert world.store.calls["ended"] == 4


# -- starts


async def test_starts_and_calibration_come_from_the_same_answer(world: World) -> None:
    world.prometheus.counters += counters("5", (0, 95), (0, 5), criteria=("starts",), ages=("1m",))
    world.prometheus.counters += counters("5", (0, 6), (0, 2), criteria=("starts",), assignment="key")
    for arm in ("calibration-a", "calibration-b"):
        world.prometheus.counters += counters("5", (1, 9), (0, 0), criteria=(arm,), ages=("10m",))
    found = await world.gather()
    assert not isinstance(found.starts, Unreadable)
    assert [(cell.n1, cell.n2) for cell in found.starts] == [(95, 5)]
    assert found.keyed == 8
    assert not isinstance(found.calibration, Unreadable)
    assert [(cell.bad_v1, cell.bad_v2) for cell in found.calibration] == [(1, 1)]


async def test_how_many_were_sent_by_key_is_not_known_without_the_starts(world: World) -> None:
    assert (await world.gather()).keyed is None


async def test_stale_counters_leave_nothing_to_judge(world: World) -> None:
    world.prometheus.age = 181.0
    found = await world.gather()
    assert all(isinstance(one, Unreadable) for one in (*found.cohorts.values(), found.starts, found.calibration))


# -- starts after a rollback


async def late(world: World, cleared: float, started: float, now: float) -> int | None:
    """Late starts as seen `now`, of one that started; in seconds after the attempt's start."""
    await world.memory.submit([submission("x1")], world.start + timedelta(seconds=started))
    world.clock.advance(now)
    found = await world.gather(
        phase=Phase.ROLLED_BACK, flag_cleared_at=world.start + timedelta(seconds=cleared), rolled_back_at=world.start
    )
    return found.late_starts


@pytest.mark.parametrize(("started", "expected"), [(159, 0), (160, 1)])
async def test_a_start_on_v2_is_late_from_a_minute_after_the_flag_was_clear_on(
    world: World, started: float, expected: int
) -> None:
    assert await late(world, 100, started, 200) == expected


async def test_within_the_first_minute_nothing_is_late(world: World) -> None:
    assert await late(world, 100, 130, 150) == 0


async def test_a_late_start_is_told_of_for_an_hour(world: World) -> None:
    assert await late(world, 100, 200, 200 + 3600) == 1
    world.clock.advance(1)
    assert (await world.gather(phase=Phase.ROLLED_BACK, flag_cleared_at=world.start)).late_starts == 0


async def test_nobody_asks_for_late_starts_while_a_stage_runs(world: World) -> None:
    assert (await world.gather()).late_starts is None

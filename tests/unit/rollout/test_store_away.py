"""A database that is away: a V2 that fails is rolled back all the same, and nothing else goes on without it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_operator.rollout.log.recorder import read_all
from orchestrator_operator.rollout.log.verify import verify
from orchestrator_operator.rollout.statistics import coins, evidence

from orchestrator.errors import StoreUnavailable
from orchestrator.flag import PERCENT
from orchestrator.testing import MemoryStore
from tests.support.prometheus import counters
from tests.support.rollout_cluster import FAILING, PASSING, Cluster
from tests.support.rollouts import DOCUMENT, cells

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SLOWER = {"name": "slower", "type": "comparison", "preset": "slower-than-baseline"}
KINDS = ("failures", "first-attempt-failures", "slower-than-baseline")


class Mortal:
    """A store in which everything fails while it is away."""

    def __init__(self) -> None:
        self.whole, self.away = MemoryStore(), False

    def __getattr__(self, name: str) -> Any:
        if not self.away:
            return getattr(self.whole, name)

        async def gone(*_: object, **__: object) -> Any:
            raise StoreUnavailable("the database did not answer")

        return gone


class Site(Cluster):
    """A cluster whose database can go away."""

    def __init__(self) -> None:
        self.database = Mortal()
        super().__init__(self.database)  # type: ignore[arg-type]  # it answers as the store in it does


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    await made.apply(analysis={**DOCUMENT["analysis"], "restart": "20m"})
    await made.look(times=3)
    assert made.state() == ("Progressing", "StageRunning")
    yield made
    await made.controller.aclose()


@pytest.mark.parametrize("restarted", [False, True], ids=["the same operator", "another operator"])
async def test_a_v2_that_fails_is_rolled_back_while_every_call_of_the_store_fails(site: Site, restarted: bool) -> None:
    site.database.away = True
    if restarted:
        site.restarted()
    site.prometheus.counters = FAILING
    await site.look(60, times=2)
    assert site.status()["reason"] == "CriterionFailed"
    assert site.flag == {}
    site.database.away = False
    await site.look(5, times=2)
    rows = await read_all(site.store, site.body()["metadata"]["uid"])
    assert [row.action for row in rows if row.action == "RollBack"] == ["RollBack"]
    assert verify(rows).difference == ""


async def test_a_v2_that_does_not_fail_waits_for_the_store_and_says_so(site: Site) -> None:
    site.database.away = True
    site.prometheus.counters = PASSING
    for _ in range(3):  # beyond the stage's end
        await site.look(1300)
    assert site.state()[0] == "Held"
    assert "the database did not answer" in site.status()["message"]
    assert site.flag[PERCENT] == "5"


async def test_it_goes_on_when_the_store_is_back(site: Site) -> None:
    site.database.away = True
    site.prometheus.counters = PASSING
    await site.look(4000, times=2)
    site.database.away = False
    await site.look(5, times=2)
    assert site.flag[PERCENT] == "25"


async def test_a_regression_that_only_a_restart_shows_is_convicted_by_what_was_read_before() -> None:
    """Long before, V2 did far better than V1: the whole says nothing against it."""
    site = Site()
    await site.apply(analysis={**DOCUMENT["analysis"], "restart": "20m"})
    await site.look(times=3)
    site.prometheus.counters = counters("5", (19_000, 100_000), (600, 5600))
    await site.look(1201, times=2)
    site.database.away = True
    site.prometheus.counters = counters("5", (19_030, 102_000), (670, 5630))
    await site.look(60, times=2)
    assert site.status()["reason"] == "CriterionFailed"
    await site.controller.aclose()


@pytest.mark.parametrize("restarted", [False, True], ids=["baselines in memory", "no baselines known"])
async def test_without_known_baselines_only_the_durations_cannot_be_read(restarted: bool) -> None:
    site = Site()
    site.prometheus.counters = counters("5", (0, 0), (0, 0), criteria=KINDS)
    await site.apply(criteria=[*DOCUMENT["criteria"], SLOWER])
    await site.look(times=3)
    site.database.away = True
    if restarted:
        site.restarted()
    await site.look(5)
    found = {item["name"]: item["sentence"] for item in site.status()["criteria"]}
    assert "baselines cannot be read" in found["failures"]
    assert found["failures"].startswith("cannot be read in full")
    assert found["slower"].startswith("cannot be read at 1m") == restarted
    await site.controller.aclose()


# -- the evidence without what the store keeps


@given(st.tuples(*[st.integers(0, 300)] * 4), st.dictionaries(st.integers(1, 30), st.floats(-50, 50)))
def test_what_convicts_without_some_restarts_convicts_with_them_too(
    now: tuple[int, ...], fresh: dict[int, float]
) -> None:
    whole = evidence.log_fail_with_restarts(cells("5", now[:2], now[2:]), {}, 1)  # type: ignore[arg-type]  # two each
    full = coins.log_mixture_of_restarts(whole, fresh, 28)
    known = dict(list(fresh.items())[::2])
    assert coins.log_mixture_of_restarts(whole, known, 28, complete=False) <= full + 1e-9


def test_without_any_restart_the_whole_has_its_own_weight() -> None:
    weight = 0.5 + 0.5 * coins.restart_weight(0, 28)
    assert coins.log_mixture_of_restarts(5.0, {}, 28, complete=False) == pytest.approx(5 + math.log(weight))

"""A user's own counters are read once, bin by bin, whatever comes between: gaps, resets, a long absence."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrator_operator.adapters.prometheus import Prometheus
from orchestrator_operator.rollout.model import Bin, Unreadable
from orchestrator_operator.rollout.reading.own_reading import OwnReader
from orchestrator_operator.specs.rollout_status import Phase, RolloutStatus

from orchestrator.errors import StoreUnavailable
from orchestrator.store import KeptBin
from orchestrator.testing import MemoryStore
from tests.support.prometheus import FakePrometheus
from tests.support.rollouts import DOCUMENT, START, spec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SCRAPE = 15  # seconds
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
OWN = {"name": "own", "type": "comparison", "bad": 'bad{engine="$engine"}', "total": 'all{engine="$engine"}'}
CRITERIA = [*DOCUMENT["criteria"], OWN]
SPEC = spec(criteria=CRITERIA)


class Shop:
    """A rollout's own counters: `look` reads up to a moment, and keeps what has closed as the controller would."""

    def __init__(self) -> None:
        self.prometheus, self.store = FakePrometheus(), MemoryStore()
        self.client = Prometheus("http://prometheus", transport=self.prometheus.transport())
        self.spec = SPEC
        self.status = RolloutStatus(phase=Phase.PROGRESSING, attempt_id="r-1", started_at=START, stage_started_at=START)

    def scraped(
        self,
        counter: str,
        engine: str,
        value: Callable[[float], float],
        *spans: tuple[float, float],
        every: int = SCRAPE,
    ) -> None:
        """One series with a value for each scrape in these spans (hours after START)."""
        moments = [
            START.timestamp() + seconds
            for begin, end in spans
            for seconds in range(round(begin * 3600), round(end * 3600), every)
        ]
        labels = {"engine": engine, "job": "shop", "instance": f"pod-{len(self.series(counter, engine))}"}
        samples = [(moment, value(moment - START.timestamp())) for moment in moments]
        self.series(counter, engine).append((labels, samples))

    def series(self, counter: str, engine: str) -> list[Any]:
        return self.prometheus.raw.setdefault(f'{counter}{{engine="{engine}"}}', [])

    def steady(self, *spans: tuple[float, float], every: int = SCRAPE) -> None:
        """On V1 1 unit a second of which a tenth is bad, on V2 a unit each 10 seconds, half of them bad."""
        for engine, rate, share in (("v1", 1.0, 0.1), ("v2", 0.1, 0.5)):
            self.scraped("all", engine, lambda s, rate=rate: 1e5 + s * rate, *spans, every=every)
            self.scraped("bad", engine, lambda s, rate=rate * share: 1e3 + s * rate, *spans, every=every)

    async def look(self, after: timedelta) -> tuple[Bin, ...] | Unreadable:
        found = await OwnReader(self.store, self.client).read(self.status, self.spec, START + after)
        for closed in found.closed:
            kept = [
                KeptBin(n, end(one), one.k1, one.n1, one.k2, one.n2) for n, one in enumerate(closed.bins, closed.first)
            ]
            await self.store.save_bins("r-1", closed.criterion, kept)
        return found.bins["own"]


def end(one: Bin) -> datetime:
    assert one.end is not None
    return one.end


def sums(bins: tuple[Bin, ...] | Unreadable) -> tuple[float, float, float, float]:
    """k1, n1, k2, n2 of all bins together."""
    assert not isinstance(bins, Unreadable), bins
    k1, n1, k2, n2 = (sum(getattr(one, name) for one in bins) for name in ("k1", "n1", "k2", "n2"))
    return k1, n1, k2, n2


def steady(seconds: float) -> Any:
    """What `Shop.steady` counts in that time."""
    return pytest.approx((0.1 * seconds, seconds, 0.05 * seconds, 0.1 * seconds))


@pytest_asyncio.fixture
async def shop() -> AsyncIterator[Shop]:
    made = Shop()
    yield made
    await made.client.aclose()


async def test_what_the_counters_grew_by_since_the_start_is_in_the_bins(shop: Shop) -> None:
    shop.steady((-1, 2))
    bins = await shop.look(HOUR)
    assert sums(bins) == steady((end(bins[-1]) - START).total_seconds())
    assert HOUR - 5 * MINUTE < end(bins[-1]) - START <= HOUR


async def test_every_look_goes_on_where_the_last_bin_closed(shop: Shop) -> None:
    shop.steady((-1, 2))
    for minutes in range(7, 60, 7):
        bins = await shop.look(minutes * MINUTE)
        assert sums(bins) == steady((end(bins[-1]) - START).total_seconds())
    assert [end(one) for one in bins] == sorted({end(one) for one in bins})


async def test_what_was_kept_is_not_read_again(shop: Shop) -> None:
    shop.steady((-1, 30))
    for hours in range(1, 29):
        await shop.look(hours * HOUR)
    shop.prometheus.queries.clear()
    bins = await shop.look(28 * HOUR + MINUTE)
    assert sums(bins) == steady((end(bins[-1]) - START).total_seconds())
    windows = [int(query.partition("[")[2].removesuffix("ms]")) for query in shop.prometheus.queries]
    assert len(windows) == 4  # each counter on each engine, once
    assert max(windows) <= 20 * 60 * 1000


async def test_a_pod_that_started_anew_counts_on(shop: Shop) -> None:
    shop.steady((-1, 2))
    restarted = HOUR.total_seconds() / 2
    shop.scraped("all", "v2", lambda s: s if s < restarted else s - restarted, (0, 1))
    bins = await shop.look(HOUR)
    lasted = (end(bins[-1]) - START).total_seconds()
    assert sums(bins)[3] == pytest.approx(1.1 * lasted, abs=2 * SCRAPE)


async def test_a_bin_ends_wherever_the_percent_was_changed(shop: Shop) -> None:
    shop.steady((-1, 2))
    moments = tuple(START + minutes * MINUTE + timedelta(seconds=7) for minutes in (11, 31, 32, 57))
    shop.status = shop.status.model_copy(update={"share_changed_at": moments})
    bins = await shop.look(HOUR)
    assert {*moments} <= {end(one) for one in bins}


async def test_a_bin_ends_where_a_stage_began(shop: Shop) -> None:
    shop.steady((-1, 2))
    began = START + 31 * MINUTE + timedelta(seconds=7)
    shop.status = shop.status.model_copy(update={"stage_started_at": began})
    assert began in [end(one) for one in await shop.look(HOUR)]


async def test_a_long_absence_is_caught_up_with_window_by_window(shop: Shop) -> None:
    shop.steady((-1, 21))
    looks = []
    for _ in range(4):
        shop.prometheus.asked = 0
        looks.append(await shop.look(20 * HOUR))
        assert shop.prometheus.asked <= 4 * 7
    assert [one.reason for one in looks[:3] if isinstance(one, Unreadable)] == ["CatchingUp"] * 3
    last = looks[3]
    assert sums(last) == steady((end(last[-1]) - START).total_seconds())
    assert end(last[-1]) - START > 19 * HOUR


async def test_a_gap_in_the_samples_loses_nothing_that_both_sides_know(shop: Shop) -> None:
    shop.steady((-1, 1), (4, 6))
    bins = await shop.look(5 * HOUR)
    assert sums(bins) == steady((end(bins[-1]) - START).total_seconds())


async def test_a_gap_longer_than_a_look_loses_nothing_that_both_sides_know(shop: Shop) -> None:
    shop.steady((-1, 1), (35, 38))
    for _ in range(3):  # each look gets further, so it ends
        last = await shop.look(37 * HOUR)
    assert sums(last) == steady((end(last[-1]) - START).total_seconds())
    assert end(last[-1]) - START > 36 * HOUR


async def test_a_gap_longer_than_a_look_is_waited_for_while_it_lasts(shop: Shop) -> None:
    shop.steady((-1, 1))
    await shop.look(HOUR)
    kept = len(await shop.store.bins("r-1", "own"))
    shop.prometheus.asked = 0
    found = await shop.look(30 * HOUR)
    assert isinstance(found, Unreadable)
    assert found.reason == "NoSeries"
    assert len(await shop.store.bins("r-1", "own")) - kept <= 1  # the last minutes before it
    assert shop.prometheus.asked <= 4 * 8


async def test_bins_that_are_longer_than_a_look_lose_nothing(shop: Shop) -> None:
    shop.spec = spec(criteria=CRITERIA, analysis={"interval": "13h"})
    for counter, engine in (("all", "v1"), ("bad", "v1"), ("all", "v2"), ("bad", "v2")):
        shop.scraped(counter, engine, lambda s: 1e3 + s / 7200, (-1, 41))  # so few that no bin fills
    for _ in range(4):
        last = await shop.look(40 * HOUR)
    assert sums(last) == pytest.approx((19.5,) * 4, abs=1e-9)
    assert [end(one) - START for one in last] == [13 * HOUR, 26 * HOUR, 39 * HOUR]


async def test_while_it_lasts_a_gap_is_stale(shop: Shop) -> None:
    shop.steady((-1, 1))
    found = await shop.look(2 * HOUR)
    assert isinstance(found, Unreadable)
    assert found.reason == "Stale"


async def test_samples_on_the_border_of_two_windows_count_once(shop: Shop) -> None:
    shop.steady((-1, 4))
    shop.prometheus.closed = True
    bins = await shop.look(3 * HOUR)
    assert sums(bins) == steady((end(bins[-1]) - START).total_seconds())


async def test_a_clock_that_was_moved_back_unreads_nothing(shop: Shop) -> None:
    shop.steady((-1, 2))
    before = await shop.look(HOUR)
    shop.prometheus.asked = 0
    assert await shop.look(-HOUR) == before
    assert shop.prometheus.asked == 0


async def test_a_prometheus_that_is_down_leaves_what_was_kept_alone(shop: Shop) -> None:
    shop.steady((-1, 3))
    await shop.look(HOUR)
    shop.prometheus.down = True
    found = await shop.look(2 * HOUR)
    assert isinstance(found, Unreadable)
    assert found.reason == "PrometheusUnreachable"
    shop.prometheus.down = False
    bins = await shop.look(2 * HOUR)
    assert sums(bins) == steady((end(bins[-1]) - START).total_seconds())


async def test_a_store_that_is_away_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(shop.store, "bins", away)
    found = await shop.look(HOUR)
    assert isinstance(found, Unreadable)
    assert found.reason == "StoreUnavailable"


@pytest.mark.parametrize("holdback", [0, 1])
async def test_where_everything_runs_on_v2_nobody_needs_v1_s_counters(shop: Shop, holdback: int) -> None:
    shop.steady((-1, 1))
    before = await shop.look(HOUR)
    stages = [*DOCUMENT["stages"][:2], {**DOCUMENT["stages"][2], "holdback": holdback}]
    shop.spec = spec(criteria=CRITERIA, stages=stages)
    shop.status = shop.status.model_copy(update={"stage_index": 2, "stage_started_at": START + HOUR})
    found = await shop.look(2 * HOUR)
    if holdback:
        assert isinstance(found, Unreadable)
    else:
        assert found == before


async def test_before_the_first_stage_nothing_is_read(shop: Shop) -> None:
    shop.status = RolloutStatus(attempt_id="r-1")
    found = await OwnReader(shop.store, shop.client).read(shop.status, SPEC, START)
    assert (found.bins, found.closed, shop.prometheus.asked) == ({}, (), 0)


@given(
    outage=st.integers(0, 45),
    gaps=st.lists(st.tuples(st.integers(0, 44), st.integers(1, 20)), max_size=3),
    looks=st.integers(12, 14),
)
@settings(max_examples=8, deadline=None)
def test_however_long_nobody_looked_everything_is_counted_once(
    outage: int, gaps: list[tuple[int, int]], looks: int
) -> None:
    """An operator that was away for hours, a Prometheus that was away for some of them."""
    here = [hour for hour in range(-1, 50) if not any(begin < hour <= begin + length for begin, length in gaps)]
    spans = [(hour, hour + 1) for hour in here if hour < 47] + [(47, 50)]

    async def story() -> None:
        shop = Shop()
        shop.steady(*spans, every=60)
        for counter in [*shop.prometheus.raw.values()]:  # one series each, with holes
            samples = sorted({sample for _, found in counter for sample in found})
            counter[:] = [(counter[0][0], samples)]
        await shop.look(outage * HOUR / 10)
        for _ in range(looks):
            bins = await shop.look(49 * HOUR)
        assert sums(bins) == steady((end(bins[-1]) - START).total_seconds())
        assert end(bins[-1]) - START > 48 * HOUR
        await shop.client.aclose()

    asyncio.run(story())


@given(
    increments=st.lists(st.integers(0, 9), min_size=200, max_size=200),
    restarts=st.sets(st.integers(1, 199)),
    looks=st.sets(st.integers(1, 195 * SCRAPE), min_size=1, max_size=6),
)
@settings(max_examples=25, deadline=None)
def test_whenever_it_is_looked_at_everything_is_counted_once(
    increments: list[int], restarts: set[int], looks: set[int]
) -> None:
    """A process that starts anew counts from 0: what is read must still be what really happened, scrape by scrape."""
    values, value = [], 1000
    for number, increment in enumerate(increments):
        value = increment if number in restarts and value > 9 else value + increment  # else nobody could tell
        values.append(float(value))
    happened = np.cumsum(increments) - increments[0]  # since the scrape at START

    async def story() -> None:
        shop = Shop()
        for counter, engine in (("all", "v1"), ("bad", "v1"), ("all", "v2"), ("bad", "v2")):
            shop.scraped(counter, engine, lambda s: values[round(s) // SCRAPE], (0, 200 * SCRAPE / 3600))
        for seconds in sorted(looks):
            bins = await shop.look(timedelta(seconds=seconds))
            assert not isinstance(bins, Unreadable), bins
            closed = round((end(bins[-1]) - START).total_seconds()) // SCRAPE if bins else 0
            assert sums(bins) == (happened[closed],) * 4
        await shop.client.aclose()

    asyncio.run(story())

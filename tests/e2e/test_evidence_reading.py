"""What is judged, read from a real Prometheus: two replicas, a failover, a counter that began anew."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from orchestrator_operator.adapters.prometheus import Prometheus, PrometheusRefused
from orchestrator_operator.local import Target
from orchestrator_operator.rollout.model import Unreadable
from orchestrator_operator.rollout.reading import readings
from orchestrator_operator.rollout.reading.counters import Counters
from orchestrator_operator.rollout.reading.own_reading import OwnReader
from orchestrator_operator.specs.rollout_status import Phase, RolloutStatus

from orchestrator.testing import MemoryStore
from tests.support.exporting import Exporter
from tests.support.rollouts import AGES, DOCUMENT, spec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.support.live import ControlPlane

pytestmark = pytest.mark.e2e

WITHIN = 30.0  # seconds
OWN = {
    "name": "own",
    "type": "comparison",
    "bad": 'bad_total{engine="$engine"}',
    "total": 'all_total{engine="$engine"}',
}
SPEC = spec(criteria=[*DOCUMENT["criteria"], OWN], analysis={"interval": "1s"})


@pytest_asyncio.fixture
async def prometheus(control_plane: ControlPlane) -> AsyncIterator[Prometheus]:
    client = Prometheus(control_plane.cluster.prometheus_url)
    yield client
    await client.aclose()


async def until(question: Callable[[], Awaitable[bool]], what: str) -> None:
    """Ask until it is so."""
    try:
        async with asyncio.timeout(WITHIN):
            while not await question():
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"not within {WITHIN:g} s: {what}")


def cohort(attempt: str, bad: int, criterion: str = "failures") -> dict[str, float]:
    """One bad one on V1 at its first age, as the operator would export it."""
    labels = f'attempt="{attempt}",assignment="execution",engine="v1",criterion="{criterion}",percent="5",age="1m"'
    return {f'orchestrator_cohort_outcomes_total{{{labels},outcome="bad"}}': float(bad)}


async def counted(prometheus: Prometheus, attempt: str) -> int | None:
    """The bad ones; None: not readable."""
    cells = Counters.of(await prometheus.query(readings.counters_query(attempt))).cohorts(SPEC)["failures", AGES[0]]
    return None if isinstance(cells, Unreadable) else cells[0].bad_v1


async def test_two_replicas_count_once_and_a_failover_loses_nothing(
    control_plane: ControlPlane, prometheus: Prometheus
) -> None:
    attempt = "failover-1"
    with Exporter() as second:
        first = Exporter()
        first.page = second.page = cohort(attempt, 7)
        with control_plane.scraping(Target("op", first.address), Target("op", second.address)):

            async def has(bad: int) -> bool:
                found = await counted(prometheus, attempt)
                seen.append(found or 0)
                return found == bad

            async def both() -> bool:
                return len(await prometheus.query(f'orchestrator_cohort_outcomes_total{{attempt="{attempt}"}}')) == 2

            seen: list[int] = []
            await until(both, "both replicas are scraped")
            assert await counted(prometheus, attempt) == 7
            second.page = cohort(attempt, 9)  # it leads now …
            first.stop()  # … and the other one is gone
            await until(lambda: has(9), "the new leader's count")
            assert seen == sorted(seen)  # at no moment had it gone down, which would be a reset
            (age,) = await prometheus.query(readings.age_query(attempt))
            assert 0 <= age.value < WITHIN
    assert set(seen) <= {7, 9}


async def test_counters_that_nobody_exports_any_more_are_no_series(
    control_plane: ControlPlane, prometheus: Prometheus
) -> None:
    exporter = Exporter()
    exporter.page = cohort("gone-1", 3)
    with control_plane.scraping(Target("op", exporter.address)):

        async def counts(expected: int | None) -> bool:
            return await counted(prometheus, "gone-1") == expected

        await until(lambda: counts(3), "the first scrape")
        exporter.stop()
        await until(lambda: counts(None), "blindness")


async def test_a_user_s_counter_that_began_anew_is_counted_on(
    control_plane: ControlPlane, prometheus: Prometheus
) -> None:
    reader = OwnReader(MemoryStore(), prometheus)
    with Exporter() as shop, control_plane.scraping(Target("shop", shop.address)):

        async def scraped(value: float) -> None:
            shop.page = {f'all_total{{engine="{engine}"}}': value for engine in ("v1", "v2")}

            async def there() -> bool:
                return {one.value for one in await prometheus.query("all_total")} == {value}

            await until(there, f"{value:g} is scraped")

        await scraped(5)
        start = datetime.now(UTC)
        status = RolloutStatus(phase=Phase.PROGRESSING, attempt_id="r-1", started_at=start, stage_started_at=start)
        for value in (9, 2):  # 4 more, then a new process with 2
            await scraped(value)

        async def counted_on() -> bool:
            bins = (await reader.read(status, SPEC, datetime.now(UTC))).bins["own"]
            return not isinstance(bins, Unreadable) and sum(one.n1 for one in bins) == 6 == sum(one.n2 for one in bins)

        await until(counted_on, "6 in all")


async def test_a_query_that_is_wrong_is_refused_in_prometheus_words(prometheus: Prometheus) -> None:
    with pytest.raises(PrometheusRefused, match="parse error"):
        await prometheus.query("up{")

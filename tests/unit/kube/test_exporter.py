"""The metrics that only the store knows, and /healthz."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING

import httpx
import pytest_asyncio
from orchestrator_operator.exporter import Exporter, expected, series
from orchestrator_operator.routing import RoutingFacts
from prometheus_client import CollectorRegistry

from orchestrator.cohorts import CRITERIA
from orchestrator.endpoint import Endpoint
from orchestrator.errors import StoreUnavailable
from orchestrator.flag import FlagValues, parse
from orchestrator.health import Health
from orchestrator.model import Assignment, Engine
from orchestrator.router import Owner
from orchestrator.store import CohortCount
from orchestrator.testing import FakeClock
from tests.support.cluster import Flag, Operator
from tests.support.stores import submission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

CLOCK = FakeClock()
ON = parse(FlagValues.on(Decimal("12.5"), None), CLOCK.now())
OUTCOMES = ("bad", "good")
FACTS = RoutingFacts(ON, Owner.ACTIVE, "5f0c-1", (60.0, 600.0))


class TestSeries:
    def test_the_running_attempt_starts_at_zero_everywhere(self) -> None:
        found = series(FACTS, [])
        assert set(found.values()) == {0}
        assert ("v1", "failures", "bad", "execution", "12.5", "1m", "5f0c-1") in found
        assert ("v2", "first-attempt-failures", "good", "execution", "12.5", "10m", "5f0c-1") in found

    def test_engines_criteria_ages_and_outcomes_are_all_there(self) -> None:
        # three comparisons on two engines, and V2's own guardrail; two ages, two outcomes
        outcomes = [labels for labels in expected(FACTS) if labels[1] in CRITERIA]
        assert len(outcomes) == len(set(outcomes)) == (3 * 2 + 1) * 2 * 2

    def test_starts_are_there_at_the_first_age_and_always_good(self) -> None:
        found = [labels for labels in expected(FACTS) if labels[1] == "starts"]
        assert found == [(engine, "starts", "good", "execution", "12.5", "1m", "5f0c-1") for engine in ("v1", "v2")]

    def test_the_arms_of_the_calibration_are_v1_s_at_the_middle_age(self) -> None:
        found = {labels for labels in expected(FACTS) if labels[1].startswith("calibration-")}
        assert {(labels[0], labels[5]) for labels in found} == {("v1", "10m")}
        assert {(labels[1], labels[2]) for labels in found} == set(
            product(("calibration-a", "calibration-b"), OUTCOMES)
        )

    def test_without_a_rollout_there_are_none(self) -> None:
        assert series(RoutingFacts(ON), []) == {}

    def test_a_flag_in_conflict_counts_at_zero_percent(self) -> None:
        assert {labels[4] for labels in expected(RoutingFacts(ON, Owner.ROLLED_BACK, "a", (1.0,)))} == {"0"}

    def test_counts_take_their_place_and_old_attempts_stay(self) -> None:
        def count(attempt: str, value: int) -> CohortCount:
            return CohortCount(Engine.V2, "failures", "bad", Assignment.EXECUTION, "12.5", "1m", attempt, value)

        found = series(FACTS, [count("5f0c-1", 3), count("old-1", 4)])
        assert found["v2", "failures", "bad", "execution", "12.5", "1m", "5f0c-1"] == 3
        assert found["v2", "failures", "bad", "execution", "12.5", "1m", "old-1"] == 4


@pytest_asyncio.fixture
async def served(operator: Operator) -> AsyncIterator[tuple[Exporter, Health, httpx.AsyncClient]]:
    health = Health(operator.clock)
    operator.flag = Flag(FlagValues.on(Decimal(5), None), Owner.ACTIVE, "5f0c-1", (60.0,))
    registry = CollectorRegistry()
    exporter = Exporter(operator.store, operator.flag, operator.clock, health, registry)
    endpoint = Endpoint(health, registry)
    port = await endpoint.serve("127.0.0.1", 0)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield exporter, health, client
    await endpoint.aclose()
    exporter.close()


Served = tuple[Exporter, Health, httpx.AsyncClient]


async def test_executions_are_counted_at_their_age(operator: Operator, served: Served) -> None:
    exporter, _, client = served
    one = submission("a", percent="5", attempt="5f0c-1", ages=(60.0,))
    await operator.store.submit([one], operator.clock.now())
    operator.clock.advance(61)
    await exporter.refresh()
    text = (await client.get("/metrics")).text
    labels = 'age="1m",assignment="execution",attempt="5f0c-1",criterion="failures",engine="v2"'
    # At the last age: not finished, though nothing in it waits.
    assert line(text, f'orchestrator_cohort_outcomes_total{{{labels},outcome="bad",percent="5"}}') == 1
    assert line(text, f'orchestrator_cohort_outcomes_total{{{labels},outcome="good",percent="5"}}') == 0


async def test_gauges_stand_for_both_engines(served: Served) -> None:
    exporter, _, client = served
    await exporter.refresh()
    text = (await client.get("/metrics")).text
    for name in ("running", "long_running", "stalled"):
        for engine in ("v1", "v2"):
            assert line(text, f'orchestrator_executions_{name}{{engine="{engine}"}}') == 0
    assert line(text, "orchestrator_queue_oldest_seconds") == 0


async def test_a_store_that_is_away_takes_its_metrics_with_it(
    operator: Operator, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter, _, client = served
    await exporter.refresh()

    async def away(*_: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(operator.store, "gauges", away)
    await exporter.step()
    assert "orchestrator_queue_oldest_seconds" not in (await client.get("/metrics")).text


async def test_health_names_what_is_silent(operator: Operator, served: Served) -> None:
    exporter, health, client = served
    health.expect("store", timedelta(seconds=30))
    assert (await client.get("/healthz")).json()["silent"] == ["store: nothing yet"]
    await exporter.refresh()
    assert (await client.get("/healthz")).status_code == 200
    operator.clock.advance(31)
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()["silent"]) == (503, ["store: nothing for 31 s"])
    await exporter.refresh()
    assert (await client.get("/healthz")).status_code == 200


def line(text: str, name: str) -> float:
    """The value of one sample."""
    (found,) = [row for row in normal(text) if row.startswith(f"{name} ")]
    return float(found.rsplit(" ", 1)[1])


def normal(text: str) -> list[str]:
    """Samples with their labels in alphabetical order."""
    rows = []
    for row in text.splitlines():
        name, brace, rest = row.partition("{")
        if brace and not row.startswith("#"):
            labels, _, value = rest.rpartition("}")
            row = f"{name}{{{','.join(sorted(labels.split(',')))}}}{value}"  # noqa: PLW2901 - the same row, sorted
        rows.append(row)
    return rows

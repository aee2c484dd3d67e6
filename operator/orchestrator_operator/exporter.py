"""The metrics that only the store knows.

A scrape never waits for the database: a background task refreshes a snapshot each second, and the collector renders
the last one. When the store cannot be read the store's metrics are left out: a stale number would look like health.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from typing import TYPE_CHECKING

import structlog
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from orchestrator import durations
from orchestrator.cohorts import BAD, CALIBRATION, CRITERIA, GOOD, SLOW_CHECKPOINTS, STARTS, middle
from orchestrator.errors import StoreError
from orchestrator.flag import show_percent
from orchestrator.model import Assignment, Engine
from orchestrator.router import effective_percent
from orchestrator_operator.flagmetrics import FlagCollector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from prometheus_client import Metric

    from orchestrator.clock import Clock
    from orchestrator.health import Health
    from orchestrator.store.evidence import CohortCount
    from orchestrator.store.port import Store
    from orchestrator.store.records import Gauges
    from orchestrator_operator.routing import RoutingFacts, RoutingSource

_LABELS = ("engine", "criterion", "outcome", "assignment", "percent", "age", "attempt")

_log = structlog.get_logger(__name__)

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The store's metrics at one moment."""

    cohorts: Mapping[Labels, int]
    gauges: Gauges


class StoreCollector(Collector):
    """Renders the last snapshot."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None

    def describe(self) -> Iterable[Metric]:
        """Nothing to collect while registering."""
        return ()

    def collect(self) -> Iterable[Metric]:
        snapshot = self.snapshot
        if snapshot is None:
            return
        cohorts = CounterMetricFamily(
            "orchestrator_cohort_outcomes",
            "Executions read at a fixed age, by outcome; take max without (pod, instance) before any delta.",
            labels=_LABELS,
        )
        for labels, value in snapshot.cohorts.items():
            cohorts.add_metric(labels, value)
        yield cohorts
        gauges = snapshot.gauges
        for name, text, values in (
            ("running", "Executions that run now.", gauges.running),
            ("long_running", "Executions that have been running for more than ten minutes.", gauges.long_running),
            ("stalled", "Executions without an event within their step's own timeout.", gauges.stalled),
        ):
            family = GaugeMetricFamily(f"orchestrator_executions_{name}", text, labels=("engine",))
            for engine in Engine:
                family.add_metric((engine.value,), values.get(engine, 0))
            yield family
        yield GaugeMetricFamily(
            "orchestrator_queue_oldest_seconds",
            "How long the execution that has waited longest for a worker has been due.",
            value=gauges.queue_oldest_seconds,
        )


def series(facts: RoutingFacts, counts: Sequence[CohortCount]) -> dict[Labels, int]:
    """The counters by labels; those of the running attempt start at zero, so that "no series" really means blind."""
    found = dict.fromkeys(expected(facts), 0)
    for count in counts:
        labels = (count.engine.value, count.criterion, count.outcome, count.assignment.value)
        found[(*labels, count.percent, count.age, count.attempt)] = count.value
    return found


def expected(facts: RoutingFacts) -> Iterable[Labels]:
    """Every series that the running attempt can raise for executions with a coin of their own, at the present share."""
    if not facts.attempt:
        return
    percent = show_percent(effective_percent(facts.flag, facts.owner)[0])
    ages = [durations.show(timedelta(seconds=age)) for age in facts.ages]

    def labels(engine: Engine, criterion: str, outcome: str, age: str) -> Labels:
        return (engine.value, criterion, outcome, Assignment.EXECUTION.value, percent, age, facts.attempt)

    for engine in Engine:
        yield labels(engine, STARTS, GOOD, ages[0])
        for criterion, age, outcome in product(CRITERIA, ages, (BAD, GOOD)):
            if criterion != SLOW_CHECKPOINTS or engine is Engine.V2:  # V1 keeps no checkpoints
                yield labels(engine, criterion, outcome, age)
    for arm, outcome in product(CALIBRATION, (BAD, GOOD)):
        yield labels(Engine.V1, arm, outcome, ages[middle(len(ages))])


class Exporter:
    """Counts the cohorts and refreshes the snapshot, once a second."""

    def __init__(
        self, store: Store, routing: RoutingSource, clock: Clock, health: Health, registry: CollectorRegistry = REGISTRY
    ) -> None:
        self._store, self._routing, self._clock, self._health = store, routing, clock, health
        self._collector, self._flag, self._registry = StoreCollector(), FlagCollector(routing, clock), registry
        registry.register(self._collector)
        registry.register(self._flag)

    async def run(self, interval: float = 1.0) -> None:
        """Until cancelled; a store that is away is waited for."""
        while True:
            await self.step()
            await asyncio.sleep(interval)

    async def step(self) -> None:
        """Refresh; without the store nothing is told of it."""
        try:
            await self.refresh()
        except StoreError as error:
            self._collector.snapshot = None
            _log.warning("no metrics of the store", error=str(error))

    async def refresh(self) -> None:
        """Read the executions that reached an age, then take the numbers."""
        while await self._store.count_cohorts(self._clock.now()):
            pass  # one call reads a bounded number: after an outage there may be many
        now = self._clock.now()
        counts = await self._store.cohort_counts()
        gauges = await self._store.gauges(now, timedelta(seconds=1))
        self._collector.snapshot = Snapshot(series(self._routing.facts(now), counts), gauges)
        self._health.beat("store")

    def close(self) -> None:
        """Nothing is told of the store any more."""
        self._registry.unregister(self._collector)
        self._registry.unregister(self._flag)

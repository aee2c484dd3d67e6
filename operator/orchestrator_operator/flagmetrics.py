"""The flag as the router sees it, for /metrics: read at each scrape from the router's own cache, never from the API."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from orchestrator.flag import FlagReason
from orchestrator.router import RouteReason, effective_percent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from orchestrator.clock import Clock
    from orchestrator_operator.routing import RoutingSource

STATES = tuple(str(state) for state in chain(FlagReason, (RouteReason.CONFLICT,)))


class FlagCollector(Collector):
    """The share that really goes to V2 now, why, and until when."""

    def __init__(self, routing: RoutingSource, clock: Clock) -> None:
        self._routing, self._clock = routing, clock

    def describe(self) -> Iterable[Metric]:
        """Nothing to collect while registering."""
        return ()

    def collect(self) -> Iterable[Metric]:
        facts = self._routing.facts(self._clock.now())
        percent, reason = effective_percent(facts.flag, facts.owner)
        yield GaugeMetricFamily(
            "orchestrator_flag_percent", "The share of new executions that the router sends to V2 now.", float(percent)
        )
        state = GaugeMetricFamily(
            "orchestrator_flag_state", "1 for what the flag says now, 0 for all else.", labels=("state",)
        )
        for name in STATES:
            state.add_metric((name,), float(name == reason))
        yield state
        if facts.flag.expires is not None:
            yield GaugeMetricFamily(
                "orchestrator_flag_expires_timestamp_seconds",
                "When routers fall back to V1 unless the controller renews the flag.",
                facts.flag.expires.timestamp(),
            )

"""Whatever a dashboard or an alert names is exported under exactly that name."""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.exporter import Snapshot, StoreCollector
from orchestrator_operator.flagmetrics import FlagCollector
from orchestrator_operator.routing import RoutingFacts
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from orchestrator.flag import FlagValues, parse
from orchestrator.model import Engine
from orchestrator.store import Gauges
from orchestrator.testing import FakeClock
from tests.support import boards

if TYPE_CHECKING:
    from datetime import datetime

DECLARED_IN = (
    "orchestrator.telemetry",
    "orchestrator_operator.leadership.metrics",
    "orchestrator_operator.telemetry",
    "orchestrator_operator.statuses",
    "orchestrator_operator.rollout.metrics",
)
SUFFIXES = re.compile(r"_(bucket|count|sum)$")


class Routing:
    def facts(self, now: datetime) -> RoutingFacts:
        return RoutingFacts(parse(FlagValues("true", "5", "2100-01-01T00:00:00Z"), now))


def exported() -> set[str]:
    for module in DECLARED_IN:
        importlib.import_module(module)
    registry = CollectorRegistry()
    store: Any = StoreCollector()
    none = dict.fromkeys(Engine, 0)
    store.snapshot = Snapshot(
        {("v1", "failures", "bad", "execution", "5", "1m", "a"): 1}, Gauges(none, none, none, 0.0)
    )
    registry.register(store)
    registry.register(FlagCollector(Routing(), FakeClock()))
    pages = generate_latest(REGISTRY) + generate_latest(registry)
    return {
        name if kind != "counter" or name.endswith("_total") else f"{name}_total"
        for name, kind in re.findall(r"^# TYPE (\S+) (\S+)", pages.decode(), re.MULTILINE)
    }


EXPORTED = exported()
EVERYTHING = [*boards.panel_queries(), *boards.alert_signals(), *boards.alert_expressions()]


@pytest.mark.parametrize("query", EVERYTHING, ids=str)
def test_each_metric_that_is_named_is_exported(query: boards.Query) -> None:
    named = set(re.findall(r"\b(?:orchestrator|process)_\w+", query.expression))
    assert named or "ALERTS" in query.expression
    assert {SUFFIXES.sub("", name) if name not in EXPORTED else name for name in named} <= EXPORTED


def test_no_metric_of_ours_is_left_without_a_panel() -> None:
    """What nobody looks at need not be exported."""
    shown = " ".join(query.expression for query in boards.panel_queries())
    ours = {name for name in EXPORTED if name.startswith("orchestrator_") and not name.endswith("_created")}
    assert {name for name in ours if name not in shown} == UNSEEN


# The reason of a rollout's phase and the flag's expiry stand in the resource, for `kubectl get`; alerts and
# people's own panels may want them.
UNSEEN = {
    "orchestrator_flag_expires_timestamp_seconds",
    "orchestrator_rollout_reason",
}

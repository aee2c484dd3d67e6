"""Every metric, from the registries that are scraped: name, type, labels, help."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import REGISTRY, Histogram

import orchestrator
import orchestrator_operator
from orchestrator.clock import SystemClock
from orchestrator.flag import FlagReason, FlagState
from orchestrator.store.records import Gauges
from orchestrator_operator.exporter import Snapshot, StoreCollector
from orchestrator_operator.flagmetrics import FlagCollector
from orchestrator_operator.reference.markdown import code, page, table
from orchestrator_operator.routing import RoutingFacts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from types import ModuleType

_PREFIX: Final = "orchestrator_"
_INTRODUCTION: Final = """\
Prometheus' conventions: base units, counters end in `_total`, no label names an execution. A worker serves its own at
`--metrics-port`, the operator at `ORCHESTRATOR_METRICS_PORT`; both add the `process_` and `python_` metrics of the
client library.

What only the store knows is exported by the operator, from one snapshot a second, and left out while the store cannot
be read; the flag is told as the router reads it. Where several operators are scraped, take
`max without (pod, instance)` before any delta."""
_SKIPPED: Final = (
    "__main__",
    "migrations",
    "reference",
    "demo",
)  # nothing in there is scraped, and one runs as it loads


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as it is scraped; `buckets` of a histogram are upper bounds."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


def render() -> str:
    """The page."""
    declared, of_the_store = declared_metrics(), store_metrics()
    buckets = [(code(one.name), ", ".join(f"{bound:g}" for bound in one.buckets)) for one in declared if one.buckets]
    return page(
        "Metrics",
        _INTRODUCTION,
        "## Of the process that did the work",
        _table(declared),
        "## Of the store",
        _table(of_the_store),
        "## Of the flag",
        _table(flag_metrics()),
        "## Buckets of the histograms",
        table(("histogram", "upper bounds, seconds"), buckets),
    )


def declared_metrics() -> list[Metric]:
    """What both packages register when all of their modules are loaded."""
    for package in (orchestrator, orchestrator_operator):
        _load(package)
    found = {id(one): one for one in REGISTRY._collector_to_names}.values()  # noqa: SLF001 - it has no list of its own
    return sorted((_metric(one) for one in found if _is_ours(one)), key=lambda metric: metric.name)


def store_metrics() -> list[Metric]:
    """What the operator reads from the store, as it renders an empty one."""
    collector = StoreCollector()
    collector.snapshot = Snapshot({}, Gauges({}, {}, {}, 0.0))
    families = (_family(one) for one in collector.collect())
    return sorted(families, key=lambda metric: metric.name)


def flag_metrics() -> list[Metric]:
    """What the operator tells of the flag, as the router reads it at a scrape."""
    families = (_family(one) for one in FlagCollector(_Expiring(), SystemClock()).collect())
    return sorted(families, key=lambda metric: metric.name)


class _Expiring:
    """A flag that says everything that a flag can say."""

    def facts(self, now: datetime) -> RoutingFacts:
        return RoutingFacts(FlagState(FlagReason.PERCENT, Decimal(5), expires=now))


def _load(package: ModuleType) -> None:
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not set(module.name.split(".")) & set(_SKIPPED):
            importlib.import_module(module.name)


def _is_ours(collector: Any) -> bool:
    return str(getattr(collector, "_name", "")).startswith(_PREFIX)


def _metric(collector: Any) -> Metric:
    family = next(iter(collector.describe()))
    return Metric(
        _scraped(family.name, family.type),
        family.type,
        tuple(collector._labelnames),  # noqa: SLF001 - a metric without children yet has no other trace of its labels
        family.documentation,
        tuple(collector._upper_bounds[:-1]) if isinstance(collector, Histogram) else (),  # noqa: SLF001 - as above
    )


def _family(family: Any) -> Metric:
    return Metric(_scraped(family.name, family.type), family.type, tuple(family._labelnames), family.documentation)  # noqa: SLF001 - as above


def _scraped(name: str, kind: str) -> str:
    return f"{name}_total" if kind == "counter" else name


def _table(metrics: list[Metric]) -> str:
    rows = [(code(one.name), one.kind, ", ".join(map(code, one.labels)), one.help) for one in metrics]
    return table(("name", "type", "labels", "meaning"), rows)


def names() -> Iterator[str]:
    """Every metric's name."""
    yield from (metric.name for metric in (*declared_metrics(), *store_metrics(), *flag_metrics()))

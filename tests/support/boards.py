"""The dashboards' and alerts' queries as they were committed, put to a real Prometheus as Grafana puts them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from dashboards.alerts import alerts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

GENERATED = Path(__file__).parents[2] / "dashboards" / "generated"
RULES = GENERATED / "alerts.yaml"
_STEP = 2  # seconds between two points
_WINDOW = "20s"  # $__rate_interval at a scrape a second and a graph of a few minutes


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and where it stands."""

    place: str
    expression: str

    def __str__(self) -> str:
        return self.place


def documents() -> dict[str, Any]:
    """Each dashboard's JSON by its uid."""
    found = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(GENERATED.glob("*.json")))
    return {document["uid"]: document for document in found}


def panels(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All panels but the headings of rows."""
    return [panel for panel in document["panels"] if panel["type"] != "row"]


def panel_queries() -> list[Query]:
    """Every panel's and annotation's expressions."""
    return [query for uid, document in documents().items() for query in _queries(uid, document)]


def alert_signals() -> list[Query]:
    """What the alerts watch: each has an answer on a healthy system, whatever the alert says."""
    return [
        Query(f"{alert.name} {number}", signal)
        for alert in alerts()
        for number, signal in enumerate(alert.signals, start=1)
    ]


def alert_expressions() -> list[Query]:
    """When the alerts fire: rightly without an answer on a healthy system."""
    return [Query(alert.name, alert.expression) for alert in alerts()]


def _queries(uid: str, document: Mapping[str, Any]) -> Iterator[Query]:
    for panel in panels(document):
        for target in panel.get("targets", ()):
            yield Query(f"{uid}: {panel['title']} {target['refId']}", target["expr"])
    for annotation in document.get("annotations", {}).get("list", ()):
        yield Query(f"{uid}: annotation {annotation['name']}", annotation["expr"])


def expression(title: str, letter: str = "A") -> str:
    """What the one panel of this title asks."""
    (found,) = (query.expression for query in panel_queries() if query.place.endswith(f": {title} {letter}"))
    return found


def interpolated(expression: str, namespace: str, window: str = _WINDOW) -> str:
    """With the variables that a person has chosen one namespace in, and all else left at All."""
    values = {
        "$namespace": namespace,
        "$job": "(operator|worker)",
        "$rollout": ".*",
        "$criterion": ".*",
        "$__rate_interval": window,
    }
    for variable, value in values.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression, expression
    return expression


@dataclass(frozen=True, slots=True)
class Asked:
    """A Prometheus, and the time that the questions are about."""

    url: str
    namespace: str
    since: datetime
    until: datetime

    def answers(self, query: Query) -> int:
        """How many finite values its graph has in that time; AssertionError with Prometheus' words for an error."""
        parameters = {
            "query": interpolated(query.expression, self.namespace),
            "start": self.since.timestamp(),
            "end": self.until.timestamp(),
            "step": _STEP,
        }
        answer = self._ask("query_range", parameters)
        assert not answer.get("warnings"), f"{query}: {answer['warnings']}"
        values = (float(value) for series in answer["data"]["result"] for _, value in series["values"])
        return sum(math.isfinite(value) for value in values)

    def rules(self) -> dict[str, str]:
        """Each alert that Prometheus evaluates, and how well it can."""
        groups = self._ask("rules", {})["data"]["groups"]
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}

    def firing(self) -> set[str]:
        """The alerts that fire now for this namespace."""
        found = self._ask("alerts", {})["data"]["alerts"]
        return {
            alert["labels"]["alertname"]
            for alert in found
            if alert["state"] == "firing" and alert["labels"].get("namespace") == self.namespace
        }

    def values_of(self, label: str, selector: str) -> set[str]:
        """What a variable of a dashboard offers."""
        return set(self._ask(f"label/{label}/values", {"match[]": selector})["data"])

    def _ask(self, what: str, parameters: Mapping[str, Any]) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{what}", params=dict(parameters), trust_env=False, timeout=30)
        found = answer.json()
        assert found["status"] == "success", f"{parameters}: {found}"
        return found

"""What all dashboards have in common: variables, links to each other, rows, and the JSON that Grafana reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from grafana_foundation_sdk.builders import dashboard as builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from dashboards import panels
from dashboards.panels import SOURCE
from dashboards.promql import rollout, series

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.cog.builder import Builder

TAG: Final = "orchestrator"
# Where docs/ can be read. The project has no public address yet: this one leads nowhere until somebody names their own,
# by `python -m dashboards --docs` or in deploy/monitoring.
DOCS: Final = "https://docs.example.com/orchestrator"
_RUNBOOK: Final = "${docs:raw}/runbook.md"  # raw: Grafana would escape the address's own slashes
# One metric of each kind of process: the variables' values are the namespaces and jobs that export them.
_OURS: Final = '{__name__=~"orchestrator_operator_leader|orchestrator_fenced_writes_total"%s}'


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading. The first row of a dashboard has none."""

    title: str
    panels: Sequence[Builder[models.Panel]]


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard before it is JSON. Its uid is what links, bookmarks and alerts hold on to."""

    uid: str
    title: str
    description: str
    since: str  # the time range that it opens with: now-6h
    rows: Sequence[Row]
    rollouts: bool = False  # with the variable `rollout`, and the decisions as annotations

    @property
    def file(self) -> str:
        """Its file's name."""
        return f"{self.uid}.json"


def render(board: Board, docs: str = DOCS) -> str:
    """The JSON model, the same to a byte for the same dashboard.

    The address of the docs is the first thing in it, between the seventh and the eighth quotation mark: kustomize can
    change nothing in a ConfigMap's text but a part between two delimiters (deploy/monitoring).
    """
    model = json.loads(json.dumps(document(board, docs), cls=JSONEncoder, sort_keys=True))
    first, *others = model.pop("templating")["list"]
    first = {"query": first.pop("query"), **first}
    return json.dumps({"templating": {"list": [first, *others]}, **model}, indent=1, ensure_ascii=False) + "\n"


def document(board: Board, docs: str = DOCS) -> dict[str, Any]:
    """The JSON model as plain values."""
    made = (
        builder.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .editable()
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time(board.since, "now")
        .refresh("30s")
        .variables(_variables(board, docs))
        .link(
            builder.DashboardLink("Orchestrator")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .tooltip("The other dashboards, for the same namespace and time")
            .as_dropdown(False)
            .include_vars(True)
            .keep_time(True)
        )
        .link(_to_runbook("Runbook", "What to do about each alert"))
    )
    for row in board.rows:
        if row.title:
            made.with_row(builder.Row(row.title))
        for panel in row.panels:
            made.with_panel(panel)
    model = made.build()
    for number, made_panel in enumerate(model.panels or (), start=1):
        made_panel.id_val = number  # what links and screenshots name a panel by
    plain: dict[str, Any] = json.loads(json.dumps(model, cls=JSONEncoder))
    plain["templating"]["list"][0]["skipUrlSync"] = (
        True  # or a crafted link to a dashboard could lead its links elsewhere
    )
    if board.rollouts:
        plain["annotations"] = {"list": [_decisions()]}
    return plain


def _to_runbook(title: str, tooltip: str) -> builder.DashboardLink:
    return (
        builder.DashboardLink(title)
        .type(models.DashboardLinkType.LINK)
        .url(_RUNBOOK)
        .icon("doc")
        .tooltip(tooltip)
        .target_blank(True)
    )


def _variables(board: Board, docs: str) -> list[Builder[models.VariableModel]]:
    everything = models.VariableOption(selected=True, text="All", value="$__all")
    found: list[Builder[models.VariableModel]] = [
        builder.ConstantVariable("docs").label("Docs").description("Where docs/ can be read.").value(docs),
        builder.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _values("namespace", "Namespace", f"label_values({_OURS % ''}, namespace)", everything).all_value(".*"),
        _values("job", "Job", "label_values(" + _OURS % ',namespace=~"$namespace"' + ", job)", everything),
    ]
    if board.rollouts:
        query = f"label_values({series('orchestrator_rollout_percent')}, rollout)"
        found.append(_values("rollout", "Rollout", query, everything).all_value(".*"))
        # Of comparisons alone: a guardrail has no arms. All of them one by one, for a panel is repeated for each.
        query = f"label_values({rollout('orchestrator_rollout_judged_executions')}, criterion)"
        found.append(_values("criterion", "Criterion", query, everything))
    return found


def _values(name: str, label: str, query: str, current: models.VariableOption) -> builder.QueryVariable:
    return (
        builder.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": query, "refId": name, "qryType": 1})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .current(current)
    )


def _decisions() -> dict[str, Any]:
    """What the controller decided, where it decided it: the series' value is the moment, in milliseconds.

    The SDK's model knows only what all data sources share, so this one is written out.
    """
    moments = rollout("orchestrator_rollout_decision_timestamp_seconds")
    return {
        "name": "Decisions",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "enable": True,
        "hide": False,
        "iconColor": "purple",
        "expr": f"max by (rollout, action, reason) ({moments}) * 1000",
        "step": "",
        "useValueForTime": True,
        "titleFormat": "{{action}}: {{reason}}",
        "textFormat": "{{rollout}}",
        "tagKeys": "action",
    }


def alarms(width: int = 4) -> Builder[models.Panel]:
    """How many of our alerts fire now."""
    # Or without a namespace: where no operator is left, nothing says whose it was.
    ours = 'ALERTS{alertname=~"Orchestrator.*",alertstate="firing",namespace=~"$namespace|"}'
    query = panels.Query(f"count({ours}) or vector(0)", "firing")
    description = (
        "Alerts of Orchestrator that fire now, if the rules of deploy/monitoring are installed. "
        "What to do about each stands in the runbook, by this panel's link."
    )
    panel = panels.number("Alerts firing", description, [query], limits=[panels.Limit(1, panels.RED)], width=width)
    return panel.links([_to_runbook("Runbook: what to do about each alert", "")])

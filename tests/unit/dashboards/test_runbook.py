"""Every alert leads to a section of docs/runbook.md, and every section of it to an alert."""

from __future__ import annotations

import re

import pytest
import yaml

from dashboards.alerts import ENGINES, OPERATOR, PAGE, ROLLOUT, TICKET, Alert, alerts
from dashboards.board import DOCS
from tests.support import boards, runbook

ALERTS = alerts()
COMMAND = re.compile(r"^(?:orchestrator|kubectl|curl) \S.*$", re.MULTILINE)


def whole(alert: Alert) -> list[runbook.Block]:
    """The blocks of its section, and those of one that it says to do alike."""
    alike = re.search(r"Do as for\s+\[(\w+)\]", runbook.sections()[alert.name])
    names = {alert.name, *(alike.groups() if alike else ())}
    every = [block for mark in ("", "acts", "elsewhere") for block in runbook.blocks(mark)]
    return [block for block in every if block.section in names]


def test_the_sections_are_the_alerts_in_their_order() -> None:
    assert [name for name in runbook.sections() if name] == [alert.name for alert in ALERTS]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
class TestAlert:
    def test_its_section_has_a_command_that_looks(self, alert: Alert) -> None:
        assert [line for block in whole(alert) if block.mark == "" for line in COMMAND.findall(block.text)]

    def test_one_that_wakes_a_person_says_by_which_command_to_act(self, alert: Alert) -> None:
        if alert.severity == PAGE:
            acts = [block for block in whole(alert) if block.mark in ("acts", "elsewhere")]
            assert [line for block in acts for line in COMMAND.findall(block.text)]
            assert "*Act.*" in "".join(runbook.sections()[block.section] for block in acts)

    def test_the_runbooks_table_says_its_severity(self, alert: Alert) -> None:
        row = f"| [{alert.name}](#{alert.anchor}) | {alert.severity} | "
        assert row in runbook.sections()[""]

    def test_it_names_what_a_person_needs(self, alert: Alert) -> None:
        assert alert.severity in (PAGE, TICKET)
        assert alert.board in (ROLLOUT, ENGINES, OPERATOR)
        assert alert.board in boards.documents()
        assert len(alert.summary) < 100
        assert alert.description.endswith(".")

    def test_it_tells_only_labels_that_its_expression_keeps(self, alert: Alert) -> None:
        kept = {label for by in re.findall(r"\bby \(([^)]*)\)", alert.expression) for label in by.split(", ")}
        assert set(re.findall(r"\$labels\.(\w+)", alert.summary + alert.description)) <= kept


def test_each_rule_bears_the_place_of_its_section() -> None:
    groups = yaml.safe_load(boards.RULES.read_text(encoding="utf-8"))["groups"]
    found = {rule["alert"]: rule["annotations"]["runbook_url"] for group in groups for rule in group["rules"]}
    assert found == {alert.name: f"{DOCS}/runbook.md#{alert.name.lower()}" for alert in ALERTS}


def test_links_within_the_page_lead_somewhere() -> None:
    anchors = {name.lower() for name in runbook.sections()}
    assert set(re.findall(r"\]\(#(\w+)\)", runbook.PAGE.read_text(encoding="utf-8"))) <= anchors

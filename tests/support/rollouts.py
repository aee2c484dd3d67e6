"""Builders for the rollout controller's pure core: a small spec, a moment, and what was gathered then."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from orchestrator_operator.rollout.judging.judge import judge
from orchestrator_operator.rollout.model import ClearFlag, Gathered, Plan, SetFlag
from orchestrator_operator.rollout.planning.plan import plan
from orchestrator_operator.rollout.statistics.evidence import Cell
from orchestrator_operator.specs.rollout import RolloutSpec, parse_rollout
from orchestrator_operator.specs.rollout_status import RolloutStatus

from orchestrator.flag import CLEAR, FlagSnapshot, FlagValues

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator_operator.rollout.model import CohortKey, Unreadable
    from orchestrator_operator.rollout.statistics.evidence import Cells

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
AGES = (timedelta(minutes=1), timedelta(minutes=10))
PRESETS = ("failures", "first-attempt-failures")

DOCUMENT: dict[str, Any] = {
    "stages": [
        {"name": "one", "percent": 5, "duration": "1h"},
        {"name": "two", "percent": 25, "duration": "1h"},
        {"name": "three", "percent": 100, "duration": "1h"},
    ],
    "analysis": {"ages": ["1m", "10m"], "minimumExecutions": 100, "underpowered": "Hold", "extend": "30m"},
    "criteria": [
        {"name": "failures", "type": "comparison", "preset": "failures"},
        {"name": "first-attempts", "type": "comparison", "preset": "first-attempt-failures"},
    ],
    "deadman": "1h",
    "rollback": {"cooldown": "2h"},
    "blind": {"budget": "10m"},
}


def spec(**changes: Any) -> RolloutSpec:
    """The small spec: three stages of an hour; changes are fields as a document spells them."""
    merged = {**DOCUMENT, **changes}
    if "analysis" in changes:
        merged["analysis"] = {**DOCUMENT["analysis"], **changes["analysis"]}
    return parse_rollout(merged)


def cells(percent: str = "5", v1: tuple[int, int] = (0, 0), v2: tuple[int, int] = (0, 0)) -> Cells:
    """One cell from (bad, good) of each engine."""
    return (Cell(Decimal(percent), *v1, *v2),)


def cohorts(found: Cells | Unreadable) -> Mapping[CohortKey, Cells | Unreadable]:
    """The same reading for every preset at every age."""
    return {(preset, age): found for preset in PRESETS for age in AGES}


GOOD = cells("5", (60, 5940), (2, 398))  # shows nothing: far too few on V2 for a Pass
PASSING = cells("5", (19000, 100000), (600, 5600))
FAILING = cells("5", (20, 1880), (60, 40))


#: So much traffic that every stage can show a relative risk of two; the coin was fair.
BUSY = tuple(Cell(Decimal(p), 0, (100 - p) * 100_000, 0, p * 100_000) for p in (5, 25, 50))


class World:
    """A rollout in a pretend cluster: `step` gathers, judges, plans, and does to the flag what the plan says."""

    def __init__(self, document: RolloutSpec | None = None) -> None:
        self.spec: RolloutSpec | None = document or spec()
        self.status = RolloutStatus()
        self.flag = FlagSnapshot(CLEAR, version="1")
        self.now = START
        self.cohorts: Mapping[CohortKey, Cells | Unreadable] = cohorts(cells())
        self.starts = BUSY
        self.extra: dict[str, Any] = {}
        self.found: dict[str, Any] = {}  # what a judgement says beside its verdicts: alarms, sticky, power
        self.plan: Plan | None = None

    def gathered(self) -> Gathered:
        """What the controller would read now."""
        base = Gathered(
            now=self.now,
            name="shop/v2",
            uid="3f2a9c1e-7b54-4e0d-9a6f-1c2d3e4f5a6b",
            generation=1,
            spec=self.spec,
            status=self.status,
            flag=self.flag,
            cohorts=self.cohorts,
            starts=self.starts,
            in_flight=0,
        )
        return replace(base, **self.extra)

    def decide(self) -> Plan:
        """Judge and plan, without doing anything."""
        gathered = self.gathered()
        self.plan = plan(gathered, replace(judge(gathered), **self.found))
        return self.plan

    def step(self, after: timedelta = timedelta(0)) -> Plan:
        """Let time go by, decide, remember, and write the flag."""
        self.now += after
        planned = self.decide()
        self.status = planned.status
        for action in planned.actions:
            if isinstance(action, SetFlag):
                self.write(action.values)
            elif isinstance(action, ClearFlag):
                self.write(CLEAR)
        return planned

    def says(self, key: str, word: str = "true") -> Plan:
        """A step in which a person's annotation stands on the resource; it is taken off after that."""
        self.extra["annotations"] = {key: word}
        planned = self.step()
        del self.extra["annotations"]
        return planned

    def settle(self, after: timedelta = timedelta(0)) -> Plan:
        """A step, and the one right after it that sees what the flag says now."""
        self.step(after)
        return self.step()

    def write(self, values: FlagValues) -> None:
        """Any hand on the flag: the version moves."""
        self.flag = replace(self.flag, values=values, version=str(int(self.flag.version) + 1))

    def running(self) -> World:
        """Started, with the flag confirmed."""
        self.settle()
        self.settle()
        return self

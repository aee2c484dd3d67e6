"""A rollout that was recorded: four weeks of made-up traffic through the real judge and plan, row by row as the
decision log has them. Blind in week 1, held by a guardrail in week 2, worse in week 3.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from orchestrator_operator.rollout.judging.judge import judge
from orchestrator_operator.rollout.log import chain
from orchestrator_operator.rollout.log.sharing import Shared, shared_values
from orchestrator_operator.rollout.model import ClearFlag, RememberTotals, SetFlag, Unreadable
from orchestrator_operator.rollout.statistics.evidence import Cell
from orchestrator_operator.specs.rollout import parse_rollout
from orchestrator_operator.specs.rollout_status import DecisionHead

from tests.support.rollouts import START, World

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator_operator.rollout.statistics.evidence import Cells

    from orchestrator.store.evidence import DecisionRow

_AGES = {"1m": timedelta(minutes=1), "10m": timedelta(minutes=10), "24h": timedelta(hours=24)}
_RATES = {"failures": 0.010, "first-attempt-failures": 0.021}  # of bad executions on V1, at the last age
_SHOWN = (0.4, 0.5, 0.1)  # the parts of the bad ones that show at each age for the first time
_LOAD = 1000  # executions an hour

SPEC: dict[str, Any] = {
    "stages": [
        {"name": "week-1", "percent": 5, "duration": "7d"},
        {"name": "week-2", "percent": 25, "duration": "7d"},
        {"name": "week-3", "percent": 50, "duration": "7d"},
        {"name": "week-4", "percent": 100, "duration": "7d"},
    ],
    "analysis": {"ages": list(_AGES), "restart": "2d", "minimumExecutions": 200},
    "criteria": [
        {"name": "failures", "type": "comparison", "preset": "failures"},
        {"name": "first-attempts", "type": "comparison", "preset": "first-attempt-failures"},
        {"name": "slow-checkpoint", "type": "guardrail", "preset": "slow-checkpoints", "max": 0.05, "for": "2h"},
    ],
    "blind": {"budget": "6h", "then": "Hold"},
    "deadman": "2d",  # looked at every few hours only, a shorter one would expire in between
}
_BLIND = (timedelta(days=2, hours=6), timedelta(days=2, hours=17))  # since the start
_SLOW = (timedelta(days=9), timedelta(days=9, hours=10))
_ONSET = timedelta(days=16, hours=4)  # from here on V2 fails nearly twice as often
_WORSE = 1.9


@cache
def recorded() -> tuple[DecisionRow, ...]:
    """The rows of the whole story, looked at every three hours."""
    return tuple(Recorder(SPEC).run(timedelta(days=28), timedelta(hours=3)))


class Recorder:
    """Lets hours go by and writes down what was seen and decided, as JSON objects in the form of the log."""

    def __init__(self, document: dict[str, Any], seed: int = 11) -> None:
        self._world = World(parse_rollout(document))
        self._random = np.random.default_rng(seed)
        self._totals: dict[tuple[str, timedelta], dict[Decimal, Cell]] = {}
        self._starts: dict[Decimal, Cell] = {}
        self._late: list[tuple[datetime, tuple[str, timedelta], Cell]] = []  # executions that have yet to reach an age
        self._shared: Shared | None = None
        self.rows: list[DecisionRow] = []

    def run(self, length: timedelta, step: timedelta) -> list[DecisionRow]:
        """Rows of so much time; it goes on for some hours after a rollback."""
        over = 0
        while self._world.now - START < length and over < 8:
            self._hour(step)
            over += self._world.status.phase in ("RollingBack", "RolledBack")
        return self.rows

    def _hour(self, step: timedelta) -> None:
        world = self._world
        self._traffic(step)
        world.now += step
        since = world.now - START
        blind = _BLIND[0] <= since < _BLIND[1]
        unread = Unreadable("PrometheusUnreachable", "Prometheus does not answer: connection refused")
        world.cohorts = {
            (preset, age): unread if blind else self._cells(preset, age) for preset in _RATES for age in _AGES.values()
        }
        slow = 0.11 if _SLOW[0] <= since < _SLOW[1] else 0.012 + 0.006 * self._random.random()
        world.extra |= {"guardrails": {"slow-checkpoint": unread if blind else slow}}
        world.extra |= {"starts": unread if blind else tuple(self._starts.values())}
        for _ in range(4):  # until nothing more follows from this moment
            if not self._look():
                break

    def _look(self) -> bool:
        """One reconcile, recorded as the controller does; whether it wrote the flag, so that another one follows."""
        world = self._world
        gathered = world.gathered()
        judgement = judge(gathered)
        planned = world.step()
        kept = tuple(a.restart for a in planned.actions if isinstance(a, RememberTotals))
        world.extra["restarts"] = (*world.extra.get("restarts", ()), *kept)
        drafts = chain.decided(gathered, judgement, planned, "test")
        for n, draft in enumerate(drafts or (chain.observed(gathered, judgement, planned, "test"),)):
            same = {"same": self.rows[-1].number} if n else {}
            self.rows.append(chain.seal(draft, self._head, same, self._shared))
            if not n:
                self._shared = Shared(self._head.number, shared_values(draft.content["inputs"]))
        return any(isinstance(action, SetFlag | ClearFlag) for action in planned.actions)

    @property
    def _head(self) -> DecisionHead:
        return DecisionHead(number=self.rows[-1].number, hash=self.rows[-1].hash) if self.rows else chain.NOWHERE

    def _traffic(self, step: timedelta) -> None:
        """Executions of this time on both engines; each is counted when it reaches an age."""
        world, hours = self._world, step / timedelta(hours=1)
        percent = Decimal(world.status.percent)
        n = self._random.poisson(_LOAD * hours)
        n2 = int(self._random.binomial(n, float(percent) / 100))
        n1 = int(n - n2)
        if 0 < percent < 100:
            before = self._starts.get(percent, Cell(percent))
            self._starts[percent] = replace(before, good_v1=before.good_v1 + n1, good_v2=before.good_v2 + n2)
        worse = _WORSE if world.now - START >= _ONSET else 1.0
        for preset, rate in _RATES.items():
            bad1 = self._random.multinomial(int(self._random.binomial(n1, rate)), _SHOWN)
            bad2 = self._random.multinomial(int(self._random.binomial(n2, min(rate * worse, 1))), _SHOWN)
            for place, age in enumerate(_AGES.values()):
                k1, k2 = int(bad1[: place + 1].sum()), int(bad2[: place + 1].sum())
                cell = Cell(percent, k1, n1 - k1, k2, n2 - k2)
                self._late.append((world.now + age, (preset, age), cell))

    def _cells(self, preset: str, age: timedelta) -> Cells:
        key, now = (preset, age), self._world.now
        totals = self._totals.setdefault(key, {})
        for due, found, cell in self._late:
            if found == key and due <= now:
                before = totals.get(cell.percent, Cell(cell.percent))
                totals[cell.percent] = Cell(
                    cell.percent,
                    before.bad_v1 + cell.bad_v1,
                    before.good_v1 + cell.good_v1,
                    before.bad_v2 + cell.bad_v2,
                    before.good_v2 + cell.good_v2,
                )
        self._late = [item for item in self._late if not (item[1] == key and item[0] <= now)]
        return tuple(cell for _, cell in sorted(totals.items()))

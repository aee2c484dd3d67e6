"""What `rollout simulate --output json` prints is drawn like a rollout."""

from __future__ import annotations

import copy
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from orchestrator_operator.report import derive, simulated
from orchestrator_operator.rollout.statistics.evidence import Cell
from orchestrator_operator.specs.rollout_status import Phase

from orchestrator.errors import InvalidInput
from tests.support.reports import SIMULATED, printed
from tests.support.rollouts import START


def test_rows_of_one_moment_are_one_look_and_decisions_are_told_once() -> None:
    story = simulated.report({"rows": SIMULATED}, "x.json")
    assert [(m.at - START, m.decided and m.decided.action) for m in story.moments] == [
        (timedelta(0), "Start"),
        (timedelta(hours=1), None),
        (timedelta(hours=2), "RollBack"),
    ]
    assert [m.number for m in story.moments] == [1, 2, 3]


def test_a_criterion_is_shown_by_the_age_that_says_most_against_v2() -> None:
    (criterion,) = simulated.report({"rows": SIMULATED}, "x.json").moments[1].criteria
    assert (criterion.age, criterion.log_evidence) == ("10m", 2.5)


def test_the_totals_of_every_age_are_counted() -> None:
    story = simulated.report({"rows": SIMULATED}, "x.json")
    cell = Cell(Decimal(5), 10, 1890, 2, 98)
    assert derive.latest_cells(story) == (("failures", "1m", cell), ("failures", "10m", cell))


def test_it_ends_as_the_last_row_says() -> None:
    story = simulated.report({"rows": SIMULATED}, "x.json")
    assert (story.status.phase, story.moments[-1].percent, story.name) == (Phase.ROLLED_BACK, 0, "x.json")


def test_evidence_that_is_no_number_is_not_drawn() -> None:
    row = printed(0, logEvidenceJudged=None, logThreshold=float("nan"))
    (criterion,) = simulated.report([row], "x.json").moments[-1].criteria
    assert (criterion.log_evidence, criterion.log_threshold) == (None, None)


@pytest.mark.parametrize("document", [{}, [], {"rows": []}, {"rows": [1]}, 3, None])
def test_something_else_is_refused_with_the_command_that_makes_it(document: Any) -> None:
    with pytest.raises(InvalidInput, match="rollout simulate"):
        simulated.report(document, "x.json")


@pytest.mark.parametrize("field", ["end", "criterion", "age", "totals", "verdict", "percent", "phase", "decisions"])
def test_a_row_that_lacks_something_is_refused(field: str) -> None:
    row = copy.deepcopy(SIMULATED[0])
    del row[field]
    with pytest.raises(InvalidInput, match=rf"no row of a simulation \(KeyError: '{field}'\)"):
        simulated.report([row], "x.json")

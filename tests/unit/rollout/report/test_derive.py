"""What lasted, what was seen, and what began afresh."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from orchestrator_operator.report import derive
from orchestrator_operator.rollout.statistics.evidence import Cell
from orchestrator_operator.specs.rollout_status import RolloutStatus, Verdict

from tests.support.reports import judged, moment, of
from tests.support.rollouts import START

if TYPE_CHECKING:
    from orchestrator_operator.report.model import Report

HOUR = timedelta(hours=1)


def starts(v1: int, v2: int, percent: int = 5) -> tuple[Cell, ...]:
    return (Cell(Decimal(percent), good_v1=v1, good_v2=v2),)


def test_phases_follow_each_other_without_a_gap(story: Report) -> None:
    found = derive.phases(story)
    assert (found[0].start, found[-1].end) == (story.start, story.end)
    assert all(earlier.end == later.start for earlier, later in pairwise(found))
    assert [item.name for item in found if item.name == "Held"] == ["Held", "Held"]


def test_stages_have_their_percent_and_end_with_the_rollback(story: Report) -> None:
    found = derive.stages(story)
    assert [(item.name, item.percent) for item in found] == [("week-1", 5), ("week-2", 25), ("week-3", 50)]
    assert found[-1].end < story.end


def test_blindness_lasts_until_something_is_read_again() -> None:
    blind = judged(verdict=Verdict.BLIND)
    report = of(moment(0), moment(1, criteria=(blind,)), moment(2, criteria=(blind,)), moment(5, criteria=(judged(),)))
    ((stretch),) = derive.blindness(report)
    assert (stretch.start, stretch.end) == (START + HOUR, START + 5 * HOUR)


def test_the_share_is_seen_from_what_the_counters_grew_by() -> None:
    report = of(moment(0, starts=starts(0, 0)), moment(1, starts=starts(90, 10)), moment(2, starts=starts(180, 20)))
    assert [(dot.share, dot.executions) for dot in derive.seen(report)] == [(10, 100), (10, 100)]


@pytest.mark.parametrize(
    "moments",
    [
        (moment(0, starts=starts(0, 0)), moment(1, starts=starts(9, 1))),
        (moment(0, starts=starts(900, 50)), moment(1, starts=starts(90, 10))),
        (moment(0, starts=starts(0, 0)), moment(1, 25, starts=starts(900, 100))),
    ],
    ids=["too few", "counters that went down", "another percent"],
)
def test_what_says_nothing_about_a_share_is_not_drawn(moments: tuple) -> None:
    assert derive.seen(of(*moments)) == ()


def test_without_starts_the_executions_that_were_read_are_counted() -> None:
    def read(v1: int, v2: int) -> dict[tuple[str, str], tuple[Cell, ...]]:
        return {("failures", "1m"): (Cell(Decimal(5), 1, v1 - 1, 1, v2 - 1),)}

    report = of(moment(0, cells=read(10, 10)), moment(1, cells=read(105, 15)))
    assert [dot.share for dot in derive.seen(report)] == [5]


def test_at_a_hundred_per_cent_the_share_is_that_of_the_holdback() -> None:
    report = of(moment(0, 100, starts=starts(0, 0, 99)), moment(1, 100, starts=starts(2, 198, 99)))
    assert [dot.share for dot in derive.seen(report)] == [99]


def test_restarts_are_where_the_rows_have_one_more() -> None:
    report = of(moment(0), moment(1, restarts=1), moment(2, restarts=1), moment(3, restarts=2))
    assert derive.restarts(report) == (START + HOUR, START + 3 * HOUR)


def test_restarts_that_no_row_tells_of_are_those_of_the_spec() -> None:
    report = of(moment(0), moment(7), restart=3 * HOUR)
    report = replace(report, status=RolloutStatus(started_at=START))
    assert derive.restarts(report) == (START + 3 * HOUR, START + 6 * HOUR)


def test_counts_of_before_the_rollout_are_left_out() -> None:
    cells = (Cell(Decimal(0), 1, 99), Cell(Decimal(5), 1, 94, 1, 4))
    report = of(moment(0, cells={("failures", "10m"): cells}))
    assert derive.latest_cells(report) == (("failures", "10m", cells[1]),)

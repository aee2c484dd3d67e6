"""From samples to counts: labels, doubles, gaps, starts, and V1 against itself."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from orchestrator_operator.rollout.model import Unreadable
from orchestrator_operator.rollout.reading.counters import Counters, without_history
from orchestrator_operator.rollout.reading.promql import Sample
from orchestrator_operator.rollout.statistics.evidence import Cell

from tests.support.prometheus import counters
from tests.support.rollouts import AGES, spec

KEY = ("failures", AGES[0])
MIDDLE = "10m"  # of the two ages


def counted(series: Any) -> Counters:
    return Counters.of([Sample(labels, float(value)) for labels, value in series])


def read(series: Any) -> Any:
    return counted(series).cohorts(spec())


def test_counters_become_cells_by_percent() -> None:
    found = read(counters("5", (1, 2), (3, 4)) + counters("12.5", (5, 6), (7, 8)))
    assert found[KEY] == (Cell(Decimal(5), 1, 2, 3, 4), Cell(Decimal("12.5"), 5, 6, 7, 8))


def test_a_counter_that_is_not_there_beside_others_is_zero() -> None:
    series = [item for item in counters("5", (1, 2), (3, 4)) if item[0]["outcome"] != "bad"]
    assert read(series)[KEY] == (Cell(Decimal(5), 0, 2, 0, 4),)


def test_two_scrapes_of_the_same_operator_count_once() -> None:
    series = counters("5", (1, 2), (3, 4), job="a") + counters("5", (1, 2), (3, 5), job="b")
    assert read(series)[KEY] == (Cell(Decimal(5), 1, 2, 3, 5),)


def test_a_criterion_without_any_series_cannot_be_read() -> None:
    found = read(counters("5", (1, 2), (3, 4), criteria=("failures",)))
    assert isinstance(found[KEY], tuple)
    assert found["first-attempt-failures", AGES[0]].reason == "NoSeries"


def test_an_age_without_any_series_cannot_be_read() -> None:
    found = read(counters("5", (1, 2), (3, 4), ages=("1m",)))
    assert found["failures", AGES[1]].reason == "NoSeries"


def test_series_of_other_criteria_and_ages_do_not_matter() -> None:
    found = read(counters("5", (1, 2), (3, 4)) + counters("5", (9, 9), (9, 9), criteria=("slow-checkpoints",)))
    assert found[KEY] == (Cell(Decimal(5), 1, 2, 3, 4),)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_what_is_no_count_spoils_its_criterion_and_age_only(value: float) -> None:
    series = counters("5", (1, 2), (3, 4))
    series[0] = (series[0][0], value)
    found = read(series)
    assert found[KEY].reason == "NotANumber"
    assert isinstance(found["failures", AGES[1]], tuple)


@pytest.mark.parametrize("label", ["percent", "engine", "outcome"])
def test_a_missing_or_strange_label_spoils_its_criterion(label: str) -> None:
    series = counters("5", (1, 2), (3, 4))
    series[0] = ({**series[0][0], label: "?"}, 1)
    assert read(series)[KEY].reason == "NotANumber"


@pytest.mark.parametrize("percent", ["NaN", "Infinity", "-1", "100.01", "5e9", ""])
def test_what_is_no_percent_spoils_its_criterion(percent: str) -> None:
    assert read(counters(percent, (1, 2), (3, 4)))[KEY].reason == "NotANumber"


def test_a_count_that_a_double_cannot_tell_from_its_neighbour_is_none() -> None:
    assert read(counters("5", (2.0**53 + 2, 2), (3, 4)))[KEY].reason == "NotANumber"


# -- starts


def starts(percent: str, v1: int, v2: int, **labels: str) -> Any:
    series = counters(percent, (0, v1), (0, v2), criteria=("starts",), ages=("1m",), **labels)
    return [(labels, value) for labels, value in series if labels["outcome"] == "good"]


def test_starts_are_good_ones_by_percent() -> None:
    found = counted(starts("5", 95, 5) + starts("25", 30, 10)).starts(spec())
    assert found == (Cell(Decimal(5), 0, 95, 0, 5), Cell(Decimal(25), 0, 30, 0, 10))


def test_starts_by_key_are_none_of_the_coin_s() -> None:
    found = counted(starts("5", 95, 5) + starts("5", 50, 50, assignment="key"))
    assert found.starts(spec()) == (Cell(Decimal(5), 0, 95, 0, 5),)
    assert found.keyed(spec(), Decimal(5)) == 100


def test_only_the_share_that_is_asked_for_counts_by_key() -> None:
    found = counted(starts("5", 1, 2, assignment="key") + starts("25", 4, 8, assignment="key"))
    assert found.keyed(spec(), Decimal(25)) == 12
    assert found.keyed(spec(), Decimal(50)) == 0


def test_the_same_share_is_the_same_however_it_is_spelled() -> None:
    assert counted(starts("5", 1, 2, assignment="key")).keyed(spec(), Decimal("5.00")) == 3


def test_outcomes_by_key_are_not_compared() -> None:
    assert read(counters("5", (1, 2), (3, 4), assignment="key"))[KEY].reason == "NoSeries"


def test_without_any_starts_they_cannot_be_read() -> None:
    assert isinstance(counted(counters("5", (1, 2), (3, 4))).starts(spec()), Unreadable)


# -- V1 against itself


def arm(name: str, bad: int, good: int, age: str = MIDDLE) -> Any:
    series = counters("5", (bad, good), (0, 0), criteria=(f"calibration-{name}",), ages=(age,))
    return [(labels, value) for labels, value in series if labels["engine"] == "v1"]


def test_v1_s_second_arm_stands_in_for_v2() -> None:
    found = counted(arm("a", 19, 76) + arm("b", 1, 4)).calibration(spec())
    assert found == (Cell(Decimal(5), 19, 76, 1, 4),)


def test_the_arms_are_read_at_the_middle_age() -> None:
    found = counted(arm("a", 19, 76, "1m") + arm("b", 1, 4, "1m")).calibration(spec())
    assert isinstance(found, Unreadable)


def test_one_arm_without_the_other_is_none() -> None:
    assert isinstance(counted(arm("a", 19, 76)).calibration(spec()), Unreadable)


# -- without a baseline

SLOWER = ("slower-than-baseline", timedelta(minutes=1))


@pytest.mark.parametrize("executions", [[], [99, 99]])
def test_without_history_nothing_can_be_slower_than_it(executions: list[int]) -> None:
    cells = (Cell(Decimal(5), 0, 0, 0, 0),)
    found = without_history({KEY: cells, SLOWER: cells}, executions)
    assert found[KEY] == cells
    slower = found[SLOWER]
    assert isinstance(slower, Unreadable)
    assert slower.nothing_to_compare


def test_one_workflow_with_history_is_enough() -> None:
    cells = (Cell(Decimal(5), 0, 0, 0, 0),)
    assert without_history({SLOWER: cells}, [3, 100]) == {SLOWER: cells}

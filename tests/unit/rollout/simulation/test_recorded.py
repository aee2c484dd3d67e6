"""Recorded counters become rows: nothing is counted twice, nothing is lost, and what went down is not believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_operator.rollout.simulation.recorded import Recorded, Values, one_attempt, query, rows

from orchestrator.errors import InvalidInput
from tests.support.rollouts import spec

if TYPE_CHECKING:
    from orchestrator_operator.rollout.simulation.history import Row

START = datetime(2026, 3, 1, tzinfo=UTC)
SPEC = spec()


def moments(count: int) -> list[datetime]:
    return [START + index * timedelta(hours=1) for index in range(count)]


def series(values: Values, **labels: Any) -> Recorded:
    known = {"criterion": "failures", "age": "10m", "percent": "5", "engine": "v2", "outcome": "bad", "attempt": "a-1"}
    return Recorded(known | labels, values)


def told(*recorded: Recorded) -> list[Row]:
    return list(rows(recorded, SPEC, moments(len(recorded[0].values))))


def test_a_row_has_what_its_counters_grew_by() -> None:
    found = told(series([2, 5, 9]), series([100, 140, 150], outcome="good"))
    assert [row.counts for row in found] == [(0, 0, 43, 3), (0, 0, 14, 4)]
    assert [row.start for row in found] == moments(2)


def test_a_counter_that_appears_counts_from_zero() -> None:
    assert [row.counts for row in told(series([None, None, 4]))] == [(0, 0, 0, 0), (0, 0, 4, 4)]


def test_each_percent_has_a_row_of_its_own() -> None:
    found = told(series([0, 3]), series([None, 2], percent="25"))
    assert [(row.percent, row.counts) for row in found] == [(Decimal(5), (0, 0, 3, 3)), (Decimal(25), (0, 0, 2, 2))]


def test_an_hour_without_an_answer_is_made_up_for() -> None:
    found = told(series([0, 3, None, 8]))
    assert [row.counts for row in found] == [(0, 0, 3, 3), None, (0, 0, 5, 5)]


def test_a_counter_that_went_down_is_not_read_until_it_is_back() -> None:
    found = told(series([0, 6, 4, 7]))
    assert [row.counts for row in found] == [(0, 0, 6, 6), None, (0, 0, 1, 1)]


def test_of_two_jobs_that_scrape_the_same_operator_the_larger_count_is_taken() -> None:
    assert [row.counts for row in told(series([0, 3], job="a"), series([0, 2], job="b"))] == [(0, 0, 3, 3)]


def test_what_the_spec_does_not_compare_is_left_out() -> None:
    assert told(series([0, 3], criterion="slow-checkpoints"), series([0, 1], age="24h")) == []


def test_two_attempts_are_not_one_experiment() -> None:
    with pytest.raises(InvalidInput, match="a-1, a-2"):
        one_attempt([series([1]), series([1], attempt="a-2")])


def test_a_prometheus_without_a_rollout_is_told() -> None:
    with pytest.raises(InvalidInput, match="was the operator scraped"):
        one_attempt([])


def test_an_attempt_can_hide_nothing_in_its_name() -> None:
    assert 'attempt="a\\"} or vector(1)' in query('a"} or vector(1)')


@given(st.lists(st.one_of(st.none(), st.integers(0, 5)), min_size=2, max_size=30))
def test_the_rows_sum_up_to_the_last_value_that_was_read(steps: list[int | None]) -> None:
    values: Values = []
    total = 0
    for step in steps:
        total += step or 0
        values.append(None if step is None else float(total))
    found = told(series(values))
    read = [value for value in values if value is not None]
    base = values[0] or 0.0
    last = read[-1] if read else 0.0
    assert sum(row.counts[3] for row in found if row.counts) == last - base

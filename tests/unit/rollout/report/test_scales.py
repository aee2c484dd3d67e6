"""Axes: round labels in their order, never closer than asked, and every value within."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_operator.report.scales import Linear, Times, decades, power_of_ten

moments = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the zone comes with the strategy
lengths = st.timedeltas(timedelta(seconds=1), timedelta(days=900))


@given(moments, lengths, st.floats(200, 2000), st.floats(40, 120))
def test_labels_of_time_lie_within_and_apart(start: datetime, length: timedelta, width: float, apart: float) -> None:
    times = Times(start, start + length, 0, width)
    found = [at for at, _ in times.ticks(apart)]
    assert all(start <= at <= start + length for at in found)
    assert all(times.x(later) - times.x(earlier) >= apart - 1e-6 for earlier, later in pairwise(found))


@given(moments, lengths, st.floats(0, 1))
def test_a_place_leads_back_to_its_moment(start: datetime, length: timedelta, part: float) -> None:
    times = Times(start, start + length, 50, 950)
    at = start + length * part
    assert abs(times.at(times.x(at)) - at) <= timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("length", "first"),
    [
        (timedelta(days=28), "2 Mar"),
        (timedelta(days=2), "2 Mar"),
        (timedelta(hours=3), "12:30"),
        (timedelta(seconds=50), "12:00:00"),
    ],
    ids=["weeks begin on Mondays", "midnight bears its date", "half hours", "seconds"],
)
def test_labels_are_round_moments(length: timedelta, first: str) -> None:
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    labels = [label for _, label in Times(start, start + length, 0, 900).ticks(84)]
    assert first in labels[:3]


@given(st.floats(-100, 100), st.floats(0.01, 1000), st.floats(-1e4, 1e4))
def test_a_value_outside_lies_on_the_edge(low: float, height: float, value: float) -> None:
    for bottom, top in ((200.0, 10.0), (0.0, 1.0)):
        y = Linear(low, low + height, bottom, top).y(value)
        assert min(bottom, top) <= y <= max(bottom, top)


@given(st.floats(-100, 100), st.floats(0.01, 1000), st.floats(-1e4, 1e4), st.floats(0, 20))
def test_a_line_may_lead_out_by_so_many_pixels(low: float, height: float, value: float, beyond: float) -> None:
    y = Linear(low, low + height, 200, 10).y(value, beyond)
    assert 10 - beyond <= y <= 200 + beyond


@given(st.floats(1e-6, 1e6))
def test_labels_of_values_are_few_and_within(high: float) -> None:
    ticks = Linear(0, high, 100, 0).ticks(4)
    assert 2 <= len(ticks) <= 6
    assert all(0 <= tick <= high * (1 + 1e-9) for tick in ticks)


@given(st.floats(1, 300), st.floats(50, 300))
def test_powers_of_ten_are_apart_and_have_one_among_them(decades_shown: float, height: float) -> None:
    scale = Linear(-2, decades_shown, height, 0)
    found = decades(scale, 24)
    assert 0 in found
    assert all(abs(scale.y(a) - scale.y(b)) >= 24 - 1e-6 for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("exponent", "text"), [(-2, "0.01"), (0, "1"), (3, "1,000"), (4, "10,000"), (6, "10⁶"), (-12, "10⁻¹²")]
)
def test_powers_of_ten_are_written_out_while_they_are_short(exponent: int, text: str) -> None:
    assert power_of_ten(exponent) == text

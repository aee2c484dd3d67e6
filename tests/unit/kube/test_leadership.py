"""What a candidate does about a Lease; by nobody's clock but its own."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_operator.leadership.record import (
    Next,
    Record,
    decide,
    identity,
    leads_until,
    name_of,
    read,
    released,
    taken,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OTHER = Record("7", identity("b", "77"), 15.0, "2026-03-01T11:00:00.000000Z", 3)
ME = identity("a", "12")


def test_a_lease_that_nobody_holds_is_taken() -> None:
    assert decide(Record("7"), ME, seen=0.0, now=0.0) is Next.TAKE


def test_a_lease_that_another_one_holds_is_waited_for() -> None:
    assert decide(OTHER, ME, seen=100.0, now=114.9) is Next.WAIT


def test_a_lease_that_stayed_the_same_for_its_duration_is_taken() -> None:
    assert decide(OTHER, ME, seen=100.0, now=115.0) is Next.TAKE


def test_a_restart_under_the_same_name_waits_for_nobody() -> None:
    assert decide(Record("7", identity("a", "99"), 15.0), ME, seen=100.0, now=100.0) is Next.TAKE


@pytest.mark.parametrize("name", ["a", "operator-6f7c9-x2x1z", "with_underscore"])
def test_a_name_is_read_back_from_an_identity(name: str) -> None:
    assert name_of(identity(name, "3f9a")) == name


@given(st.floats(0, 1e6), st.floats(3, 600), st.floats(0, 30))
def test_who_leads_stops_before_another_one_may_begin(asked: float, duration: float, late: float) -> None:
    """The renewal is seen by others after it was asked for: `late` seconds later."""
    until = leads_until(asked, duration)
    held = Record("8", identity("a", "1"), duration)
    assert decide(held, identity("b", "1"), seen=asked + late, now=until) is Next.WAIT


def test_taking_over_is_counted_and_dated() -> None:
    spec = taken(OTHER, ME, 15, NOW)
    assert spec["leaseTransitions"] == 4
    assert spec["acquireTime"] == spec["renewTime"] == "2026-03-01T12:00:00.000000Z"


def test_a_renewal_keeps_since_when_it_is_held() -> None:
    mine = Record("9", ME, 15.0, "2026-03-01T11:00:00.000000Z", 3)
    spec = taken(mine, ME, 15, NOW)
    assert (spec["acquireTime"], spec["leaseTransitions"]) == (mine.acquired, 3)


def test_what_was_given_back_is_free() -> None:
    assert decide(read({"metadata": {"resourceVersion": "8"}, "spec": released(NOW)}), ME, 0.0, 0.0) is Next.TAKE


def test_a_lease_without_a_spec_is_free() -> None:
    assert read({"metadata": {"resourceVersion": "8"}}) == Record("8")

"""What a process is asked by its probes."""

from __future__ import annotations

from datetime import timedelta

from orchestrator.health import Health
from orchestrator.testing import FakeClock

SECOND = timedelta(seconds=1)


def test_a_beat_that_is_missing_is_named_with_how_long() -> None:
    clock = FakeClock()
    health = Health(clock)
    health.expect("store", 30 * SECOND)
    health.beat("store")
    clock.advance(31)
    assert health.silent() == ["store: nothing for 31 s"]
    health.beat("store")
    assert health.silent() == []


def test_who_has_not_heard_of_something_yet_is_not_ready_and_needs_no_restart() -> None:
    health = Health(FakeClock())
    health.expect("watch", 30 * SECOND, restart=True)
    assert health.silent() == ["watch: nothing yet"]
    assert health.silent(restart=True) == []


def test_only_what_a_restart_mends_is_a_reason_to_restart() -> None:
    clock = FakeClock()
    health = Health(clock)
    health.expect("store", SECOND)
    health.expect("watch", SECOND, restart=True)
    clock.advance(2)
    assert health.silent(restart=True) == ["watch: nothing for 2 s"]


def test_what_ended_as_it_should_is_not_missed() -> None:
    clock = FakeClock()
    health = Health(clock)
    health.expect("claims", SECOND)
    health.forget("claims")
    clock.advance(2)
    assert health.silent() == []

"""How soon a rollout is looked at again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from orchestrator_operator.rollout.pace import next_look
from orchestrator_operator.specs.rollout_status import Phase

from tests.support.rollouts import PRESETS, World, cells, spec


def world(first_age: str) -> World:
    found = World(spec(analysis={"ages": [first_age, "24h"]}))
    assert found.spec is not None
    found.cohorts = {(preset, age): cells() for preset in PRESETS for age in found.spec.analysis.ages}
    return found


def test_a_rollback_that_was_just_decided_is_watched_every_second() -> None:
    one = world("1h").running()
    before = one.gathered()
    planned = one.says("orchestrator.dev/abort", "mails twice")
    assert (before.status.phase, planned.status.phase) == (Phase.PROGRESSING, Phase.ROLLING_BACK)
    assert next_look(before, planned, one.now) <= 1.0


@pytest.mark.parametrize(("first_age", "seconds"), [("2s", 1.0), ("12s", 3.0), ("10m", 5.0)])
def test_a_rollout_that_waits_for_its_first_counters_is_looked_at_soon(first_age: str, seconds: float) -> None:
    one = world(first_age)
    one.cohorts = {}
    planned = one.step()
    assert planned.status.phase is Phase.PENDING
    assert next_look(one.gathered(), planned, one.now) == seconds


@pytest.mark.parametrize(("first_age", "seconds"), [("2s", 1.0), ("12s", 3.0), ("10m", 15.0)])
def test_a_stage_that_runs_is_looked_at_four_times_in_its_first_age(first_age: str, seconds: float) -> None:
    one = world(first_age).running()
    planned = one.step()
    assert planned.status.phase is Phase.PROGRESSING
    assert next_look(one.gathered(), planned, one.now) == seconds


def test_a_rollout_that_was_just_armed_anew_is_looked_at_as_one_that_begins() -> None:
    one = world("12s").running()
    one.says("orchestrator.dev/abort", "mails twice")
    one.settle()
    assert one.spec is not None
    one.spec = one.spec.model_copy(update={"attempt": 2})
    one.now += timedelta(hours=3)
    before = one.gathered()
    planned = one.step()
    assert (before.status.phase, planned.status.phase) == (Phase.ROLLED_BACK, Phase.PENDING)
    assert next_look(before, planned, one.now) == 3.0

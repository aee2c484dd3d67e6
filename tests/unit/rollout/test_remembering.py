"""What is kept of V1 and of a user's own counters, and when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from orchestrator_operator.rollout.model import (
    Bin,
    ClearFlag,
    RememberBins,
    RememberTotals,
    SetFlag,
    TakeBaselines,
    Unreadable,
)
from orchestrator_operator.specs.rollout_status import Phase

from tests.support.rollouts import AGES, FAILING, GOOD, START, World, cohorts

CLOSED = RememberBins("own", 3, (Bin(1.0, 30.0, 0.0, 2.0, START),))
NO_HISTORY = Unreadable("NoBaseline", "no workflow had 100 executions on V1")


def of(planned: Any, kind: type) -> list[Any]:
    return [action for action in planned.actions if isinstance(action, kind)]


def test_v1_is_measured_before_the_flag_is_raised_for_the_first_time() -> None:
    world = World()
    world.extra = {"baselined": False}
    planned = world.step()
    kinds = [type(action) for action in planned.actions]
    assert planned.status.phase is Phase.PROGRESSING
    assert kinds.index(TakeBaselines) < kinds.index(SetFlag)
    assert of(planned, TakeBaselines) == [TakeBaselines(START)]


def test_it_is_measured_up_to_the_start_however_late_that_is_done() -> None:
    world = World().running()
    world.extra = {"baselined": False}
    assert of(world.step(timedelta(minutes=5)), TakeBaselines) == [TakeBaselines(START)]


def test_what_was_measured_is_not_measured_again() -> None:
    assert of(World().running().step(timedelta(minutes=5)), TakeBaselines) == []


def test_before_the_start_there_is_nothing_to_measure_up_to() -> None:
    world = World()
    world.extra = {"baselined": False}
    world.cohorts = cohorts(Unreadable("NoSeries", "not there yet"))
    planned = world.step()
    assert planned.status.phase is Phase.PENDING
    assert of(planned, TakeBaselines) == []


def test_closed_bins_are_kept_while_a_stage_runs() -> None:
    world = World().running()
    world.extra = {"closed": (CLOSED,)}
    assert of(world.step(), RememberBins) == [CLOSED]


def test_bins_of_an_attempt_that_is_over_are_not_kept() -> None:
    world = World().running()
    world.extra = {"closed": (CLOSED,)}
    world.cohorts = cohorts(FAILING)
    planned = world.step()
    assert of(planned, ClearFlag)
    assert of(planned, RememberBins) == []


@pytest.mark.parametrize("slower", [NO_HISTORY, Unreadable("Stale", "181 s old")])
def test_a_workflow_without_history_does_not_keep_the_evidence_from_starting_afresh(slower: Unreadable) -> None:
    world = World().running()
    world.cohorts = {**cohorts(GOOD), **{("slower-than-baseline", age): slower for age in AGES}}
    kept = of(world.step(timedelta(days=1)), RememberTotals)
    assert len(kept) == slower.nothing_to_compare

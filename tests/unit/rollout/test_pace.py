"""How soon a rollout is looked at again follows from where it is now, not from where it was."""

from __future__ import annotations

from datetime import timedelta

from orchestrator_operator.rollout import pace
from orchestrator_operator.rollout.planning.situation import ABORT
from orchestrator_operator.specs.rollout_status import Phase

from tests.support.rollouts import World, spec


def until_next(world: World) -> float:
    """Seconds from a step to the next look."""
    gathered, planned = world.gathered(), world.step()
    return pace.next_look(gathered, planned, world.now)


def rolled_back() -> World:
    world = World().running()
    world.says(ABORT)
    world.settle()
    assert world.status.phase is Phase.ROLLED_BACK
    return world


def test_at_rest_nobody_hurries() -> None:
    assert until_next(rolled_back()) == 30


def test_a_rollout_that_was_armed_anew_is_looked_at_as_one_that_runs() -> None:
    world = rolled_back()
    world.now += timedelta(hours=3)
    world.spec = spec(attempt=2)
    assert until_next(world) == 15
    assert world.status.phase is Phase.PENDING


def test_a_rollback_is_watched_every_second() -> None:
    world = World().running()
    world.extra["in_flight"] = 1
    world.extra["annotations"] = {ABORT: "true"}
    assert until_next(world) == 1
    assert world.status.phase is Phase.ROLLING_BACK

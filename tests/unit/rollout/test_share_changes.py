"""Every change of V2's share is remembered by its moment: bins of a user's own counters are cut there."""

from __future__ import annotations

from datetime import timedelta

from orchestrator_operator.rollout.planning.situation import ABORT, PROMOTE

from orchestrator.flag import FlagValues
from tests.support.rollouts import DOCUMENT, HOUR, START, World, spec

MINUTE = timedelta(minutes=1)


def lowered(percent: int) -> list[dict[str, object]]:
    return [{**DOCUMENT["stages"][0], "percent": percent}, *DOCUMENT["stages"][1:]]


def test_the_start_is_one() -> None:
    assert World().running().status.share_changed_at == (START,)


def test_a_promotion_is_one() -> None:
    world = World().running()
    world.now += MINUTE
    world.says(PROMOTE, "force")
    assert world.status.stage == "two"
    assert world.status.share_changed_at == (START, START + MINUTE)


def test_an_edited_share_of_the_running_stage_is_one() -> None:
    world = World().running()
    for percent in (2, 4):  # downward, and up again
        world.spec = spec(stages=lowered(percent))
        world.settle(MINUTE)
    assert world.status.percent == "4"
    assert world.status.share_changed_at == (START, START + MINUTE, START + 2 * MINUTE)


def test_keys_that_somebody_changed_are_one_when_they_are_set_back() -> None:
    world = World().running()
    world.write(FlagValues("true", "60", world.flag.values.expires))
    world.settle(MINUTE)
    assert world.status.share_changed_at == (START, START + MINUTE)


def test_an_expiry_is_one_and_so_is_its_end() -> None:
    world = World().running()
    world.settle(3 * HOUR)
    assert world.status.share_changed_at == (START, START + HOUR, START + 3 * HOUR)


def test_looks_at_which_nothing_changes_are_none() -> None:
    world = World().running()
    for _ in range(5):
        world.settle(MINUTE)
    assert world.status.share_changed_at == (START,)


def test_another_attempt_has_its_own() -> None:
    world = World().running()
    world.says(ABORT)
    world.settle()
    world.spec = spec(attempt=2)
    world.settle(3 * HOUR)
    assert world.status.share_changed_at == (START + 3 * HOUR,)

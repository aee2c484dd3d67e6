"""What comes and goes is decided and recorded each time; people are told once, and again when it had stayed away."""

from __future__ import annotations

from datetime import timedelta

from orchestrator_operator.rollout.acting import letters
from orchestrator_operator.rollout.model import Alarm, Tell
from orchestrator_operator.specs.rollout_status import RolloutStatus

from orchestrator.testing import MemoryStore
from tests.support.rollout_cluster import GOOD, Cluster
from tests.support.rollouts import World

MINUTE = timedelta(minutes=1)
UNFAIR = (Alarm("SampleRatioMismatch", "V2 got 9 of 10 starts"),)
SLOW = (Alarm("SharedDegradation", "V1 is worse than before"),)


def alarmed(world: World, alarms: tuple[Alarm, ...], after: timedelta = MINUTE) -> list[tuple[str, bool]]:
    """What a step with these alarms decided, and whether nobody is told of it."""
    world.found = {"alarms": alarms}
    told = [action.decision for action in world.step(after).actions if isinstance(action, Tell)]
    return [(decision.reason, bool(decision.repeated)) for decision in told]


def test_an_alarm_is_told_and_so_is_its_end() -> None:
    world = World().running()
    assert alarmed(world, UNFAIR) == [("SampleRatioMismatch", False)]
    assert alarmed(world, ()) == [("StageRunning", False)]


def test_one_that_comes_and_goes_is_decided_each_time_and_told_no_more() -> None:
    world = World().running()
    alarmed(world, UNFAIR)
    alarmed(world, ())
    for _ in range(15):
        assert alarmed(world, UNFAIR) == [("SampleRatioMismatch", True)]
        assert alarmed(world, ()) == [("StageRunning", True)]


def test_how_long_it_had_stayed_away_counts_from_its_end() -> None:
    world = World().running()
    alarmed(world, UNFAIR)
    alarmed(world, UNFAIR, 50 * MINUTE)
    alarmed(world, ())
    assert ("SampleRatioMismatch", True) in alarmed(world, UNFAIR, 59 * MINUTE)


def test_one_that_had_stayed_away_is_news_again() -> None:
    world = World().running()
    alarmed(world, UNFAIR)
    alarmed(world, ())
    for _ in range(2):
        alarmed(world, UNFAIR)
        alarmed(world, ())
    assert ("SampleRatioMismatch", False) in alarmed(world, UNFAIR, 61 * MINUTE)


def test_another_alarm_is_news() -> None:
    world = World().running()
    alarmed(world, UNFAIR)
    alarmed(world, ())
    assert alarmed(world, SLOW) == [("SharedDegradation", False)]


def test_the_webhook_hears_of_it_once() -> None:
    world = World().running()
    for _ in range(3):
        alarmed(world, UNFAIR)
        alarmed(world, ())
    found = letters.due("shop/v2", world.status, RolloutStatus())
    assert [letter.about for letter in found if "Hold" in letter.about] == ["shop/v2 Hold SampleRatioMismatch"]


async def test_an_event_is_posted_once_and_the_log_has_them_all() -> None:
    cluster = Cluster(MemoryStore())
    await cluster.apply()
    await cluster.look(times=3)
    for _ in range(3):
        cluster.prometheus.down = True
        await cluster.look(60)
        cluster.prometheus.down = False
        cluster.prometheus.counters = GOOD
        await cluster.look(60)
    assert len(cluster.kubernetes.told("Blind")) == 1
    rows = await cluster.store.decisions(cluster.body()["metadata"]["uid"])
    assert [row.reason for row in rows if row.action == "Hold"] == ["Blind"] * 3
    await cluster.controller.aclose()


async def test_a_tool_that_keeps_writing_the_flag_is_told_of_once_and_pushes_nothing_out() -> None:
    cluster = Cluster(MemoryStore())
    await cluster.apply()
    await cluster.look(times=3)
    before = [decision["reason"] for decision in cluster.status()["decisions"]]
    for _ in range(25):
        await cluster.write_flag(_PERCENT="50")
        await cluster.look(60, times=2)
        assert cluster.flag["USE_ORCHESTRATOR_V2_PERCENT"] == "5"
    assert len(cluster.kubernetes.told("FlagEdited")) == 1
    assert [decision["reason"] for decision in cluster.status()["decisions"]] == [*before, *["FlagEdited"] * 2]
    assert cluster.status()["decisions"][-1]["at"] > cluster.status()["decisions"][-2]["at"]
    rows = await cluster.store.decisions(cluster.body()["metadata"]["uid"])
    assert [row.reason for row in rows].count("FlagEdited") == 25
    await cluster.controller.aclose()


async def test_what_comes_and_goes_pushes_nothing_out() -> None:
    cluster = Cluster(MemoryStore())
    await cluster.apply()
    await cluster.look(times=3)
    before = [decision["reason"] for decision in cluster.status()["decisions"]]
    for _ in range(12):
        cluster.prometheus.down = True
        await cluster.look(10)
        cluster.prometheus.down = False
        await cluster.look(10)
    assert [item["reason"] for item in cluster.status()["decisions"]] == [*before, *["Blind", "StageRunning"] * 2]
    await cluster.controller.aclose()


def test_what_the_log_does_not_have_yet_stays() -> None:
    """A decision that is in the status alone would be lost with it."""
    world = World().running()
    for _ in range(4):
        alarmed(world, UNFAIR)
        alarmed(world, ())
    assert [decision.number for decision in world.status.decisions] == [None] * 9

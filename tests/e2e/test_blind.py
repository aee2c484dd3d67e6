"""Prometheus goes away in mid-rollout: the rollout holds, and goes on when it is back."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.flag_tape import FlagTape, State, undone, unexplained
from tests.support.rollout_documents import rollout
from tests.support.site import EXPIRES, execution, orders
from tests.support.stream import Eyes, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator_operator.demo.facts import Sighting

    from tests.support.live import ControlPlane
    from tests.support.site import Site

pytestmark = pytest.mark.e2e

RATE = 6.0
STAGE = 8.0  # seconds
ABORT = "orchestrator.dev/abort=enough"


@dataclass
class Story:
    """What was seen."""

    site: Site
    seen: list[Sighting] = field(default_factory=list)
    held: dict[str, Any] = field(default_factory=dict)  # the status while Prometheus was away
    overdue: dict[str, Any] = field(default_factory=dict)  # the same after the stage's end had passed
    flag: dict[str, str] = field(default_factory=dict)  # then
    engines: set[str] = field(default_factory=set)  # of executions that were created then
    sighted: dict[str, Any] = field(default_factory=dict)  # the condition `Blind` when it was over
    states: list[State] = field(default_factory=list)  # of the flag, all of them
    aborted_at: int = 0  # how many of them there were when a person aborted another one while Prometheus was away
    aborted: dict[str, Any] = field(default_factory=dict)  # the status after that


@pytest.fixture(scope="module")
def story(control_plane: ControlPlane) -> Iterator[Story]:
    with control_plane.site("blind") as site:
        site.start()
        site.apply(orders(site.shop, steps=1))
        site.until_condition("Workflow", "orders", "Valid", "True")
        story = Story(site)
        stream = Stream(site, lambda n: execution(f"order-{n}", "orders", {"order": f"order-{n}"}), RATE)
        with Eyes(site) as eyes, FlagTape(site) as tape, stream:
            site.apply(rollout("v2", (50, f"{STAGE:g}s"), (100, "5s"), deadman="10s", blind={"budget": "5m"}))
            eyes.until(lambda s: s.phase == "Progressing" and s.flag_percent == "50", "the first stage")
            control_plane.cluster.stop("prometheus", grace=0)
            try:
                blindness(story, site, eyes, stream)
            finally:
                control_plane.cluster.start("prometheus")
            eyes.until(lambda s: s.phase == "Completed", "Completed", within=90)
            story.seen = eyes.of("v2")
            story.sighted = site.until_condition("EngineRollout", "v2", "Blind", "False")
            site.kubectl("delete", "enginerollout", "v2", "--timeout=60s")
            abort_in_the_dark(story, site, eyes, tape)
            story.states = tape.states
        yield story


def abort_in_the_dark(story: Story, site: Site, eyes: Eyes, tape: FlagTape) -> None:
    cluster = site.plane.cluster
    site.apply(rollout("again", (50, "1h"), (100, "1h")))
    eyes.until(lambda s: s.rollout == "again" and s.phase == "Progressing" and s.flag_percent == "50", "a stage")
    cluster.stop("prometheus", grace=0)
    try:
        eyes.until(lambda s: s.rollout == "again" and s.phase == "Held", "Held")
        story.aborted_at = len(tape.states)
        site.kubectl("annotate", "enginerollout", "again", ABORT)
        tape.until_clear("a flag that is clear while Prometheus is away")
        story.aborted = site.until_status("EngineRollout", "again", lambda s: s["phase"] == "RolledBack", "RolledBack")
    finally:
        cluster.start("prometheus")


def blindness(story: Story, site: Site, eyes: Eyes, stream: Stream) -> None:
    eyes.until(lambda s: s.phase == "Held", "Held")
    story.held = site.status("EngineRollout", "v2")
    names = set(stream.names)
    eyes.until(lambda s: spent(s.status) > 1.5 * STAGE, "blindness beyond the stage's end")
    story.overdue, story.flag = site.status("EngineRollout", "v2"), site.flag()
    rows = site.query("SELECT name, engine FROM workflow_executions WHERE assignment = 'execution'")
    story.engines = {row["engine"] for row in rows if row["name"] not in names}


def spent(status: Any) -> float:
    """Seconds since the stage began, by the clock that it is judged by."""
    began = status.get("stageStartedAt")
    return (datetime.now().astimezone() - datetime.fromisoformat(began)).total_seconds() if began else 0.0


def test_it_is_held_with_the_reason_blind(story: Story) -> None:
    assert (story.held["phase"], story.held["reason"]) == ("Held", "Blind")
    assert story.held["verdict"] == "Blind"


def test_the_status_says_what_could_not_be_read(story: Story) -> None:
    assert "Prometheus does not answer" in story.held["message"]
    assert story.site.plane.cluster.prometheus_url in story.held["message"]


def test_it_is_not_rolled_back(story: Story) -> None:
    assert not {s.phase for s in story.seen} & {"RollingBack", "RolledBack"}
    flags = [s.flag for s in story.seen if s.phase in ("Progressing", "Held")]
    written = next(place for place, flag in enumerate(flags) if flag)  # the status says so first, then the flag
    assert all(flags[written:])


def test_it_is_not_promoted_while_it_is_blind(story: Story) -> None:
    assert (story.overdue["phase"], story.overdue["stage"], story.overdue["percent"]) == ("Held", "week-1", "50")


def test_meanwhile_new_executions_are_routed_as_before(story: Story) -> None:
    assert story.flag["USE_ORCHESTRATOR_V2_PERCENT"] == "50"
    assert story.engines == {"v1", "v2"}


def test_the_expiry_is_renewed_while_a_stage_lasts(story: Story) -> None:
    """A deadman of ten seconds, a stage that lasted longer: a controller that slept would have lost the flag."""
    expiries = [s.flag[EXPIRES] for s in story.seen if s.flag and s.flag_percent == "50" and EXPIRES in s.flag]
    assert expiries == sorted(expiries)
    assert len(set(expiries)) >= 3


def test_the_time_of_blindness_is_told(story: Story) -> None:
    assert story.overdue["blindSince"]
    assert story.overdue["blind"].endswith("of 5m")
    assert any(one["action"] == "Hold" and one["reason"] == "Blind" for one in story.overdue["decisions"])


def test_it_goes_on_when_prometheus_is_back(story: Story) -> None:
    phases = [s.phase for s in story.seen]
    held = len(phases) - 1 - phases[::-1].index("Held")
    assert "Progressing" in phases[held:]
    assert phases[-1] == "Completed"


def test_the_condition_blind_came_and_went(story: Story) -> None:
    assert next(c for c in story.overdue["conditions"] if c["type"] == "Blind")["status"] == "True"
    assert story.sighted["status"] == "False"


def test_an_abort_while_prometheus_is_away_ends_in_a_cleared_flag(story: Story) -> None:
    assert story.aborted["reason"] == "Aborted"
    after = story.states[story.aborted_at :]
    assert after[-1].clear
    assert max(state.percent for state in after) <= 50.0


def test_in_all_of_it_no_rise_is_without_a_recorded_reason_and_no_rollback_is_undone(story: Story) -> None:
    assert {state.percent for state in story.states} == {0.0, 50.0, 100.0}
    assert unexplained(story.site, story.states) == []
    assert undone(story.site) == []

"""A rollout in bad weather: two operators at once, a killed leader, an API server that restarts, hands on everything.

What must hold whatever happens: the percent never rises without a recorded reason, an abort ends in a cleared flag, and
a rollback is never undone by itself.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.adapters.kubernetes import KubernetesError

from tests.support.polling import eventually
from tests.support.rollout_documents import rollout
from tests.support.site import ENABLED, PERCENT, execution, orders, workflow
from tests.support.stream import Eyes, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orchestrator_operator.demo.facts import Sighting

    from tests.support.live import ControlPlane
    from tests.support.postgres import LocalPostgres
    from tests.support.site import Site

pytestmark = pytest.mark.e2e

RATE = 5.0  # executions a second
ECHO = workflow("echo", {"id": "a", "type": "transform"})
RAISING = ("Start", "Promote", "Complete")  # decisions that may raise what V2 gets


def unexplained(seen: Sequence[Sighting]) -> list[float]:
    """The percents that the flag rose to more often than a decision says that it should."""
    told = [_percent(s) for s in seen if s.flag is not None]
    rises = Counter(now for before, now in itertools.pairwise(told) if now > before)
    words = [one["message"] for one in seen[-1].decisions if one["action"] in RAISING]
    allowed = {percent: sum(f"{percent:g} % of new executions" in message for message in words) for percent in rises}
    allowed[100.0] = allowed.get(100.0, 0) + sum("everything runs on V2" in message for message in words)
    return [percent for percent, often in rises.items() if often > allowed[percent]]


def _percent(sighting: Sighting) -> float:
    flag: Mapping[str, str] = sighting.flag or {}
    return float(flag.get(PERCENT, "100")) if flag.get(ENABLED) == "true" else 0.0


# -- two operators


@dataclass
class Pair:
    """What was seen of a rollout that two operators steered, one of them killed on the way."""

    site: Site
    good: list[Sighting] = field(default_factory=list)
    bad: list[Sighting] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def pair(control_plane: ControlPlane, postgres: LocalPostgres) -> Iterator[Pair]:
    # Without an election: what is claimed here holds by preconditions and idempotence alone.
    alone = {"ORCHESTRATOR_LEADER_ELECTION": "off"}
    with control_plane.site("two-operators", database=postgres.create_database(), operator=alone) as site:
        site.start()
        site.start_second_operator()
        site.apply(orders(site.shop, steps=1))
        site.until_condition("Workflow", "orders", "Valid", "True")
        story = Pair(site)
        stream = Stream(site, lambda n: execution(f"order-{n}", "orders", {"order": f"order-{n}"}), RATE)
        with Eyes(site) as eyes, stream:
            site.apply(rollout("good", (25, "4s"), (50, "4s"), (100, "3s")))
            eyes.until(lambda s: s.rollout == "good" and s.flag_percent == "50", "the second stage", within=90)
            site.kill("operator")
            eyes.until(lambda s: s.rollout == "good" and s.phase == "Completed", "Completed", within=90)
            site.start("operator")
            story.good = eyes.of("good")
            site.kubectl("delete", "enginerollout", "good", "--timeout=60s")
            site.apply(rollout("bad", (50, "1h"), (100, "1h")))
            eyes.until(lambda s: s.rollout == "bad" and s.flag_percent == "50", "half of the traffic on V2", within=90)
            site.kubectl("annotate", "enginerollout", "bad", "orchestrator.dev/abort=enough")
            eyes.until(lambda s: s.rollout == "bad" and s.phase == "RolledBack" and s.flag == {}, "RolledBack")
            sent = len(stream.names)
            eventually(lambda: len(stream.names) > sent + 2 * RATE, "two seconds of traffic after the rollback")
            story.bad = eyes.of("bad")
        story.names = list(stream.names)
        eventually(lambda: len(site.query("SELECT 1 AS one FROM workflow_executions")) >= len(story.names), "all")
        yield story


def test_two_operators_take_a_rollout_to_its_end_in_order(pair: Pair) -> None:
    percents = [s.flag_percent for s in pair.good if s.phase == "Progressing" and s.flag_percent]
    assert [value for value, _ in itertools.groupby(percents)] == ["25", "50", "100"]
    assert unexplained(pair.good) == []


def test_two_operators_decide_each_promotion_once(pair: Pair) -> None:
    decided = Counter((one["action"], one["message"]) for one in pair.good[-1].decisions if one["action"] in RAISING)
    assert set(decided.values()) == {1}


def test_two_operators_submit_each_execution_once(pair: Pair) -> None:
    rows = pair.site.query("SELECT name FROM workflow_executions")
    assert sorted(row["name"] for row in rows) == sorted(pair.names)


def test_after_an_abort_neither_of_them_sets_the_flag_again(pair: Pair) -> None:
    back = next(index for index, s in enumerate(pair.bad) if s.phase == "RolledBack")
    assert [s.flag for s in pair.bad[back:]] == [{}] * len(pair.bad[back:])
    assert pair.site.flag() == {}


# -- hands, tools and restarts, one after the other on one rollout


@dataclass
class Storm:
    """What was seen of a rollout to which everything happens."""

    site: Site
    restarted: dict[str, Any] = field(default_factory=dict)  # the status after the API server was away
    before: dict[str, Any] = field(default_factory=dict)  # … and before
    shortened: list[Sighting] = field(default_factory=list)  # while the running stage's percent was lowered
    fought: list[Sighting] = field(default_factory=list)  # while a tool applied its own percent again and again
    gone: dict[str, Any] = field(default_factory=dict)  # the status after the Secret was deleted
    after: dict[str, str] = field(default_factory=dict)  # the flag, once the tool had put it back
    engines: set[str] = field(default_factory=set)  # of executions that were created then
    seen: list[Sighting] = field(default_factory=list)


@pytest.fixture(scope="module")
def storm(control_plane: ControlPlane) -> Iterator[Storm]:
    with control_plane.site("storm") as site:
        site.start("operator", "worker")
        site.apply(ECHO)
        site.until_condition("Workflow", "echo", "Valid", "True")
        story = Storm(site)
        with Eyes(site) as eyes:
            site.apply(rollout("v2", (20, "1h"), (100, "1h")))
            eyes.until(lambda s: s.phase == "Progressing" and s.flag_percent == "20", "the first stage")
            _restart_the_api_server(story, control_plane)
            _lower_the_stage(story, eyes)
            _fight(story, eyes)
            _delete_the_secret(story, eyes)
            story.seen = eyes.of("v2")
        yield story


def _restart_the_api_server(story: Storm, plane: ControlPlane) -> None:
    story.before = story.site.status("EngineRollout", "v2")
    plane.cluster.stop("kube-apiserver", grace=0)
    plane.cluster.start("kube-apiserver")

    def goes_on() -> bool:
        try:
            return bool(story.site.flag())
        except KubernetesError:
            return False

    eventually(goes_on, "an API server that answers")
    story.site.create(execution("after-the-restart", "echo"))
    story.site.until_phase("after-the-restart", "Success")
    story.restarted = story.site.status("EngineRollout", "v2")


def _lower_the_stage(story: Storm, eyes: Eyes) -> None:
    begun = len(eyes.of("v2"))
    stages = [{"name": "week-1", "percent": 10, "duration": "1h"}, {"name": "week-2", "percent": 100, "duration": "1h"}]
    story.site.kubectl("patch", "enginerollout", "v2", "--type=merge", "-p", json.dumps({"spec": {"stages": stages}}))
    eyes.until(lambda s: s.flag_percent == "10", "the lower percent")
    story.shortened = eyes.of("v2")[begun - 1 :]


def _fight(story: Storm, eyes: Eyes) -> None:
    """A GitOps tool applies its manifest of the flag, five times a second, for as long as its thread runs."""
    begun = len(eyes.of("v2"))
    over = threading.Event()

    def apply() -> None:
        while not over.wait(0.2):
            story.site.set_flag({ENABLED: "true", PERCENT: "60"}, manager="argocd")

    tool = threading.Thread(target=apply)
    tool.start()
    try:
        eyes.until(lambda s: any(one["reason"] == "FlagEdited" for one in s.decisions), "the edit in the decisions")
        eyes.until(lambda s: s.flag_percent == "60", "the tool's percent")
        eyes.until(lambda s: s.flag_percent == "10", "our own percent again")
    finally:
        over.set()
        tool.join()
    eyes.until(lambda s: s.flag_percent == "10", "the last word")
    story.fought = eyes.of("v2")[begun - 1 :]


def _delete_the_secret(story: Storm, eyes: Eyes) -> None:
    site = story.site
    site.kubectl("delete", "secret", "orchestrator-flags")
    story.gone = site.until_status(
        "EngineRollout", "v2", lambda s: s["phase"] in ("RollingBack", "RolledBack"), "a rollback"
    )
    site.kubectl("create", "secret", "generic", "orchestrator-flags", f"--from-literal={ENABLED}=true")
    eyes.until(lambda s: s.phase == "RolledBack", "RolledBack")
    site.until_condition("EngineRollout", "v2", "FlagConflict", "True")
    names = [f"late-{number}" for number in range(20)]
    site.create(*(execution(name, "echo") for name in names))
    site.until_over(names)
    story.after = site.flag()
    wanted = ", ".join(f"'{name}'" for name in names)
    story.engines = {
        row["engine"] for row in site.query(f"SELECT engine FROM workflow_executions WHERE name IN ({wanted})")
    }


def test_a_restart_of_the_api_server_moves_nothing(storm: Storm) -> None:
    kept = ("phase", "stage", "percent", "attemptId", "startedAt", "stageStartedAt")
    assert {name: storm.restarted.get(name) for name in kept} == {name: storm.before.get(name) for name in kept}


def test_a_lower_percent_of_the_running_stage_lowers_the_flag(storm: Storm) -> None:
    percents = [s.flag_percent for s in storm.shortened if s.flag_percent]
    assert [value for value, _ in itertools.groupby(percents)] == ["20", "10"]


def test_a_tool_that_applies_another_percent_is_set_right_and_named(storm: Storm) -> None:
    edits = [one for one in storm.fought[-1].decisions if one["reason"] == "FlagEdited"]
    assert edits
    assert all("argocd" in one["message"] and "set back to 10 %" in one["message"] for one in edits)
    assert {s.phase for s in storm.fought} == {"Progressing"}


def test_a_secret_that_is_deleted_rolls_back(storm: Storm) -> None:
    assert storm.gone["reason"] == "FlagClearedByHand"


def test_a_flag_that_comes_back_with_the_secret_routes_nothing_to_v2(storm: Storm) -> None:
    assert storm.after.get(ENABLED) == "true"
    assert storm.engines == {"v1"}


def test_in_all_of_it_no_rise_is_without_a_reason(storm: Storm) -> None:
    before = itertools.takewhile(lambda s: s.phase not in ("RollingBack", "RolledBack"), storm.seen)
    ours = [s for s in before if s.flag_percent != "60"]
    assert unexplained(ours) == []

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
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.adapters.kubernetes import KubernetesError

from tests.support.crooked_prometheus import WAYS, CrookedPrometheus
from tests.support.faketime import faketime, turning
from tests.support.flag_tape import FlagTape, State, undone, unexplained
from tests.support.polling import eventually
from tests.support.rollout_documents import rollout
from tests.support.site import ENABLED, EXPIRES, PERCENT, execution, orders, workflow
from tests.support.stream import Eyes, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from orchestrator_operator.demo.facts import Sighting

    from tests.support.live import ControlPlane
    from tests.support.postgres import LocalPostgres
    from tests.support.site import Site

pytestmark = pytest.mark.e2e

__all__ = ["faketime"]  # a fixture

RATE = 5.0  # executions a second
ECHO = workflow("echo", {"id": "a", "type": "transform"})
ABORT = "orchestrator.dev/abort=enough"
RAISING = ("Start", "Promote", "Complete")  # decisions that may raise what V2 gets


# -- two operators


@dataclass
class Pair:
    """What was seen of a rollout that two operators steered, one of them killed on the way."""

    site: Site
    good: list[Sighting] = field(default_factory=list)
    bad: list[Sighting] = field(default_factory=list)
    states: list[State] = field(default_factory=list)  # of the flag, all of them
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
        with Eyes(site) as eyes, FlagTape(site) as tape, stream:
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
            story.bad, story.states = eyes.of("bad"), tape.states
        story.names = list(stream.names)
        eventually(lambda: len(site.query("SELECT 1 AS one FROM workflow_executions")) >= len(story.names), "all")
        yield story


def test_two_operators_take_a_rollout_to_its_end_in_order(pair: Pair) -> None:
    percents = [s.flag_percent for s in pair.good if s.phase == "Progressing" and s.flag_percent]
    assert [value for value, _ in itertools.groupby(percents)] == ["25", "50", "100"]


def test_of_two_operators_neither_raises_the_percent_without_a_recorded_reason(pair: Pair) -> None:
    assert unexplained(pair.site, pair.states) == []
    assert undone(pair.site) == []


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
    blind: dict[str, dict[str, Any]] = field(default_factory=dict)  # the status, by what was wrong with Prometheus
    seeing: str = ""  # the percent when its answers were straight again
    raised: list[Mapping[str, Any]] = field(default_factory=list)  # decisions once the running stage's was raised
    shortened: list[Sighting] = field(default_factory=list)  # while the running stage's percent was lowered
    fought: list[Sighting] = field(default_factory=list)  # while a tool applied its own percent again and again
    gone: dict[str, Any] = field(default_factory=dict)  # the status after the Secret was deleted
    after: dict[str, str] = field(default_factory=dict)  # the flag, once the tool had put it back
    engines: set[str] = field(default_factory=set)  # of executions that were created then
    deleted: dict[str, str] = field(default_factory=dict)  # the flag, after a rollout was deleted in mid-ramp
    aborts: dict[str, slice] = field(default_factory=dict)  # the states from the person's word on, by what went on
    attempts: int = 1
    during: set[str] = field(default_factory=set)  # the engines of executions while the tool fought on after an abort
    states: list[State] = field(default_factory=list)  # of the flag, all of them


@pytest.fixture(scope="module")
def storm(control_plane: ControlPlane) -> Iterator[Storm]:
    with (
        CrookedPrometheus(control_plane.cluster.prometheus_url) as prometheus,
        control_plane.site("storm", operator={"ORCHESTRATOR_PROMETHEUS": prometheus.url}) as site,
    ):
        site.start("operator", "worker")
        site.apply(ECHO)
        site.until_condition("Workflow", "echo", "Valid", "True")
        story = Storm(site)
        with Eyes(site) as eyes, FlagTape(site) as tape:
            patient = {"inFlight": "Drain", "cooldown": "0s"}
            site.apply(rollout("v2", (20, "1h"), (100, "1h"), rollback=patient))
            eyes.until(lambda s: s.phase == "Progressing" and s.flag_percent == "20", "the first stage")
            _restart_the_api_server(story, control_plane)
            _spoil_the_answers(story, prometheus, eyes)
            _abort_while_nothing_can_be_read(story, prometheus, eyes, tape)
            _lower_the_stage(story, eyes)
            _raise_the_stage(story, eyes)
            _abort_in_the_same_breath_as_an_edit(story, eyes, tape)
            _fight(story, eyes, tape)
            _abort_while_the_api_server_is_away(story, control_plane, eyes, tape)
            _delete_the_secret(story, eyes)
            _delete_in_mid_ramp(story, eyes)
            story.states = tape.states
        yield story


# Aborts, each in the middle of something. After it the next attempt begins, by a person.


def _abort_while_nothing_can_be_read(story: Storm, prometheus: CrookedPrometheus, eyes: Eyes, tape: FlagTape) -> None:
    prometheus.turn("cut")
    eyes.until(lambda s: s.phase == "Held", "blindness")
    begun = len(tape.states)
    story.site.kubectl("annotate", "enginerollout", "v2", ABORT)
    _aborted(story, "nothing can be read", begun, eyes, tape)
    prometheus.turn("")
    _arm_again(story, "20", eyes)


def _abort_in_the_same_breath_as_an_edit(story: Storm, eyes: Eyes, tape: FlagTape) -> None:
    """Of a stage that would raise the percent."""
    begun = len(tape.states)
    name, value = ABORT.split("=")
    edit = {"metadata": {"annotations": {name: value}}, "spec": {"stages": _stages(40, "1h")}}
    story.site.kubectl("patch", "enginerollout", "v2", "--type=merge", "-p", json.dumps(edit))
    _aborted(story, "an edit", begun, eyes, tape)
    _arm_again(story, "40", eyes)


def _abort_while_the_api_server_is_away(story: Storm, plane: ControlPlane, eyes: Eyes, tape: FlagTape) -> None:
    """The operator stands still until the server is gone: it cannot have cleared the flag before."""
    site = story.site
    site.freeze("operator")
    begun = len(tape.states)
    site.kubectl("annotate", "enginerollout", "v2", ABORT)
    plane.cluster.stop("kube-apiserver", grace=0)
    site.thaw("operator")
    plane.cluster.start("kube-apiserver")
    _aborted(story, "a restart of the API server", begun, eyes, tape)
    _arm_again(story, "40", eyes)


def _aborted(story: Storm, name: str, begun: int, eyes: Eyes, tape: FlagTape) -> None:
    tape.until_clear(f"a flag that is clear in spite of {name}")
    eyes.until(lambda s: s.phase == "RolledBack" and s.flag == {}, "RolledBack")
    story.aborts[name] = slice(begun, len(tape.states))


def _arm_again(story: Storm, percent: str, eyes: Eyes) -> None:
    story.attempts += 1
    again = json.dumps({"spec": {"attempt": story.attempts}})
    story.site.kubectl("patch", "enginerollout", "v2", "--type=merge", "-p", again)
    eyes.until(lambda s: s.phase == "Progressing" and s.flag_percent == percent, "the first stage again")


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


def _spoil_the_answers(story: Storm, prometheus: CrookedPrometheus, eyes: Eyes) -> None:
    """One way after the other, while the time of the stage is over: nothing but blindness holds it."""
    for number, (way, word) in enumerate(WAYS.items()):
        prometheus.turn(way)

        def told(seen: Sighting, word: str = word) -> bool:
            return seen.phase == "Held" and any(word in one.get("sentence", "") for one in seen.status["criteria"])

        story.blind[way] = dict(eyes.until(told, f"what a rollout says when the answers are {way}").status)
        if not number:
            _edit(story, (20, "1s"))
    _edit(story, (20, "1h"))
    prometheus.turn("")
    story.seeing = eyes.until(lambda s: s.phase == "Progressing", "sight again").flag_percent


def _edit(story: Storm, first: tuple[int, str]) -> None:
    """Another first stage; returns when the controller has seen it."""
    edit = json.dumps({"spec": {"stages": _stages(*first)}})
    story.site.kubectl("patch", "enginerollout", "v2", "--type=merge", "-p", edit)
    generation = story.site.get("EngineRollout", "v2")["metadata"]["generation"]
    story.site.until_status(
        "EngineRollout", "v2", lambda s: s["observedGeneration"] == generation, "a look at the edit"
    )


def _stages(percent: int, duration: str) -> list[dict[str, Any]]:
    return [
        {"name": "week-1", "percent": percent, "duration": duration},
        {"name": "week-2", "percent": 100, "duration": "1h"},
    ]


def _lower_the_stage(story: Storm, eyes: Eyes) -> None:
    begun = len(eyes.of("v2"))
    _edit(story, (10, "1h"))
    eyes.until(lambda s: s.flag_percent == "10", "the lower percent")
    story.shortened = eyes.of("v2")[begun - 1 :]


def _raise_the_stage(story: Storm, eyes: Eyes) -> None:
    _edit(story, (30, "1h"))
    story.raised = eyes.until(lambda s: s.flag_percent == "30", "the higher percent").decisions


def _fight(story: Storm, eyes: Eyes, tape: FlagTape) -> None:
    """A GitOps tool applies its manifest of the flag, five times a second; a person aborts, and it goes on."""
    site, begun = story.site, len(eyes.of("v2"))
    over = threading.Event()

    def apply() -> None:
        while not over.wait(0.2):
            site.set_flag({ENABLED: "true", PERCENT: "60"}, manager="argocd")

    tool = threading.Thread(target=apply)
    tool.start()
    try:
        eyes.until(lambda s: any(one["reason"] == "FlagEdited" for one in s.decisions), "the edit in the decisions")
        eyes.until(lambda s: s.flag_percent == "60", "the tool's percent")
        eyes.until(lambda s: s.flag_percent == "40", "our own percent again")
        story.fought = eyes.of("v2")[begun - 1 :]
        told = len(tape.states)
        site.kubectl("annotate", "enginerollout", "v2", ABORT)
        eyes.until(lambda s: s.phase == "RolledBack", "RolledBack against the tool")
        story.during = _engines(site, "during")
        story.aborts["a GitOps loop"] = slice(told, len(tape.states))
    finally:
        over.set()
        tool.join()
    site.set_flag({ENABLED: None, PERCENT: None})
    _arm_again(story, "40", eyes)


def _engines(site: Site, word: str) -> set[str]:
    """Of twenty executions that are created now."""
    names = [f"{word}-{number}" for number in range(20)]
    site.create(*(execution(name, "echo") for name in names))
    site.until_over(names)
    wanted = ", ".join(f"'{name}'" for name in names)
    rows = site.query(f"SELECT engine FROM workflow_executions WHERE name IN ({wanted})")
    return {row["engine"] for row in rows}


def _delete_the_secret(story: Storm, eyes: Eyes) -> None:
    site = story.site
    site.kubectl("delete", "secret", "orchestrator-flags")
    story.gone = site.until_status(
        "EngineRollout", "v2", lambda s: s["phase"] in ("RollingBack", "RolledBack"), "a rollback"
    )
    site.kubectl("create", "secret", "generic", "orchestrator-flags", f"--from-literal={ENABLED}=true")
    eyes.until(lambda s: s.phase == "RolledBack", "RolledBack")
    site.until_condition("EngineRollout", "v2", "FlagConflict", "True")
    story.engines = _engines(site, "late")
    story.after = site.flag()


def _delete_in_mid_ramp(story: Storm, eyes: Eyes) -> None:
    site = story.site
    site.kubectl("delete", "enginerollout", "v2", "--timeout=60s")
    site.set_flag({ENABLED: None})
    site.apply(rollout("brief", (20, "1h"), (100, "1h")))
    eyes.until(lambda s: s.rollout == "brief" and s.flag_percent == "20", "the first stage of another one")
    site.kubectl("delete", "enginerollout", "brief", "--timeout=60s")
    story.deleted = site.flag()


def test_a_restart_of_the_api_server_moves_nothing(storm: Storm) -> None:
    kept = ("phase", "stage", "percent", "attemptId", "startedAt", "stageStartedAt")
    assert {name: storm.restarted.get(name) for name in kept} == {name: storm.before.get(name) for name in kept}


@pytest.mark.parametrize("way", WAYS)
def test_whatever_is_wrong_with_prometheus_holds_and_is_no_evidence(storm: Storm, way: str) -> None:
    status = storm.blind[way]
    assert (status["phase"], status["reason"], status["verdict"]) == ("Held", "Blind", "Blind")
    assert (status["stage"], status["percent"]) == ("week-1", "20")


def test_when_its_answers_are_straight_again_the_rollout_goes_on_where_it_stood(storm: Storm) -> None:
    assert storm.seeing == "20"


def test_a_lower_percent_of_the_running_stage_lowers_the_flag(storm: Storm) -> None:
    percents = [s.flag_percent for s in storm.shortened if s.flag_percent]
    assert [value for value, _ in itertools.groupby(percents)] == ["20", "10"]


def test_a_tool_that_applies_another_percent_is_set_right_and_named(storm: Storm) -> None:
    edits = [one for one in storm.fought[-1].decisions if one["reason"] == "FlagEdited"]
    assert edits
    assert all("argocd" in one["message"] and "set back to 40 %" in one["message"] for one in edits)
    assert {s.phase for s in storm.fought} == {"Progressing"}


def test_a_secret_that_is_deleted_rolls_back(storm: Storm) -> None:
    assert storm.gone["reason"] == "FlagClearedByHand"


def test_a_flag_that_comes_back_with_the_secret_routes_nothing_to_v2(storm: Storm) -> None:
    assert storm.after.get(ENABLED) == "true"
    assert storm.engines == {"v1"}


def test_a_higher_percent_of_the_running_stage_is_a_decision_of_its_own(storm: Storm) -> None:
    edits = [one for one in storm.raised if one["reason"] == "SpecEdited"]
    assert edits[-1]["action"] == "SetPercent"
    assert "from 10 % to 30 %" in edits[-1]["message"]


def test_a_rollout_that_is_deleted_in_mid_ramp_leaves_a_clear_flag(storm: Storm) -> None:
    assert not storm.site.exists("EngineRollout", "brief")
    assert storm.deleted == {}


CLEAR = ("nothing can be read", "an edit", "a restart of the API server")


@pytest.mark.parametrize("name", CLEAR)
def test_whatever_goes_on_an_abort_ends_in_a_cleared_flag(storm: Storm, name: str) -> None:
    seen = storm.states[storm.aborts[name]]
    assert seen[-1].clear


@pytest.mark.parametrize("name", [*CLEAR, "a GitOps loop"])
def test_after_the_word_to_abort_the_operator_raises_nothing(storm: Storm, name: str) -> None:
    """Until a person arms it anew; what it had decided before may still be written at most once."""
    part = storm.aborts[name]
    ours = [state.percent for state in storm.states[part] if state.manager == "orchestrator-operator"]
    assert ours == sorted(ours, reverse=True)
    cleared = next(index for index, state in enumerate(storm.states[part]) if state.clear)
    assert {state.manager for state in storm.states[part][cleared:]} <= {"", "argocd"}


def test_a_tool_that_goes_on_after_an_abort_sends_nothing_to_v2(storm: Storm) -> None:
    """The flag is not clear for longer than until its next turn; but no rollout stands behind what it says."""
    assert storm.during == {"v1"}


def test_in_all_of_it_no_rise_is_without_a_reason_and_no_rollback_is_undone(storm: Storm) -> None:
    ours = {state.percent for state in storm.states if state.manager == "orchestrator-operator"}
    assert ours == {10.0, 20.0, 30.0, 40.0}
    assert unexplained(storm.site, storm.states) == []
    assert undone(storm.site) == []


# -- another time of day


@dataclass
class Turned:
    """What was seen of a rollout whose operator's clock was turned back by four minutes, and later forward again."""

    site: Site
    before: dict[str, Any] = field(default_factory=dict)  # the status before that
    back: dict[str, Any] = field(default_factory=dict)  # … when the flag was renewed by that clock
    states: list[State] = field(default_factory=list)  # of the flag
    uid: str = ""  # the rollout's
    aborted_at: int = 0  # how many of them there were when a person aborted it
    after: dict[str, Any] = field(default_factory=dict)  # the status when the clock was right again


@pytest.fixture(scope="module")
def turned(storm: Storm, faketime: Path) -> Turned:
    """On the storm's site, when that is over."""
    site, offset = storm.site, storm.site.folder / "clock"
    offset.write_text("+0", encoding="ascii")
    site.kill("operator")
    site.start_instead("operator", environ=turning(faketime, offset))
    story = Turned(site)
    with Eyes(site) as eyes, FlagTape(site) as tape:
        site.apply(rollout("clock", (20, "1h"), (100, "1h")))
        eyes.until(lambda s: s.rollout == "clock" and s.phase == "Progressing" and s.flag_percent == "20", "a stage")
        story.before = site.status("EngineRollout", "clock")
        story.uid = site.get("EngineRollout", "clock")["metadata"]["uid"]
        offset.write_text("-240", encoding="ascii")
        eyes.until(
            lambda s: (s.flag or {}).get(EXPIRES, "9") < utc(-120), "an expiry by the clock that was turned back"
        )
        story.back = site.status("EngineRollout", "clock")
        story.aborted_at = len(tape.states)
        site.kubectl("annotate", "enginerollout", "clock", "orchestrator.dev/abort=enough")
        eyes.until(lambda s: s.phase == "RolledBack" and s.flag == {}, "RolledBack")
        offset.write_text("+0", encoding="ascii")
        words = itertools.count()  # something to answer, until it is answered by the right clock

        def right() -> bool:
            site.kubectl("annotate", "--overwrite", "enginerollout", "clock", f"orchestrator.dev/pause={next(words)}")
            heard = site.status("EngineRollout", "clock").get("heard") or ()
            return any(one["at"] > utc(-120) for one in heard)

        eventually(right, "a look by the right clock", every=1.0)
        story.after, story.states = site.status("EngineRollout", "clock"), tape.states
    return story


def utc(seconds: float) -> str:
    """So many seconds from now, as the flag and the status spell it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_clock_that_is_turned_back_moves_nothing(turned: Turned) -> None:
    kept = ("stage", "percent", "attemptId", "startedAt", "stageStartedAt")
    # Held: at that time of day Prometheus knew nothing yet of what is counted now, and missing data is no evidence.
    assert turned.back["phase"] in ("Progressing", "Held")
    assert {name: turned.back[name] for name in kept} == {name: turned.before[name] for name in kept}
    assert {state.percent for state in turned.states[: turned.aborted_at]} <= {0.0, 20.0}


def test_under_a_clock_that_was_turned_back_an_abort_clears_the_flag_for_good(turned: Turned) -> None:
    assert turned.states[-1].clear
    assert max(state.percent for state in turned.states[turned.aborted_at :]) <= 20.0
    assert turned.after["phase"] == "RolledBack"
    assert unexplained(turned.site, turned.states, turned.uid) == []
    assert undone(turned.site) == []

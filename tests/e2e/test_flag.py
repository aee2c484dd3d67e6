"""Hands on the flag: a person's clearing wins for good, what comes back after a rollback routes nothing to V2."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.polling import eventually
from tests.support.rollout_documents import rollout
from tests.support.site import ENABLED, EXPIRES, PERCENT, execution, workflow
from tests.support.stream import Eyes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator_operator.demo.facts import Sighting

    from tests.support.live import ControlPlane
    from tests.support.site import Site

pytestmark = pytest.mark.e2e

ECHO = workflow("echo", {"id": "a", "type": "transform"})
_LINE = r"Usando Orchestrator (?P<engine>V[12]) execution=[^/]+/(?P<name>\S+) .*reason=(?P<reason>\S+)"
WITHIN = timedelta(seconds=5)  # of the contract


def routed(site: Site, prefix: str, count: int = 12) -> list[tuple[str, str]]:
    """Engine and reason of that many new executions, from the log that existing queries read."""
    names = [f"{prefix}-{number}" for number in range(count)]
    site.create(*(execution(name, "echo") for name in names))

    def look() -> list[tuple[str, str]]:
        rows = site.query(
            "SELECT event_message AS line FROM edge_logs WHERE event_message LIKE '%Usando Orchestrator%'"
        )
        found = [re.match(_LINE, row["line"]) for row in rows]
        return [(line["engine"], line["reason"]) for line in found if line and line["name"] in names]

    return eventually(lambda: found if len(found := look()) == count else [], f"{count} routed executions", every=0.3)


def until_routed(site: Site, wanted: tuple[str, str], prefix: str) -> None:
    """Return when a new execution is routed so: the operator has seen the flag as it is now."""
    tries = iter(range(100))
    eventually(lambda: routed(site, f"{prefix}-{next(tries)}", 1) == [wanted], f"executions routed as {wanted}")


@dataclass
class Cleared:
    """A rollout whose flag a person cleared, and then a tool put back."""

    site: Site
    cleared_at: datetime
    status: dict[str, Any]  # of the rollout, as soon as it rolled back
    seen: list[Sighting] = field(default_factory=list)  # from then on, through several reconciles and a restart
    after: list[tuple[str, str]] = field(default_factory=list)  # how new executions were routed then


@pytest.fixture(scope="module")
def cleared(control_plane: ControlPlane) -> Iterator[Cleared]:
    with control_plane.site("by-hand") as site:
        site.start("operator", "worker")
        site.apply(ECHO)
        site.until_condition("Workflow", "echo", "Valid", "True")
        with Eyes(site) as eyes:
            site.apply(rollout("v2", (50, "1h"), (100, "1h")))
            eyes.until(lambda s: s.phase == "Progressing" and s.flag_percent == "50", "the first stage")
            until_routed(site, ("V2", "Percent"), "before")
            site.set_flag({ENABLED: None})
            cleared_at = datetime.now(UTC)
            status = site.until_status(
                "EngineRollout", "v2", lambda s: s["phase"] in ("RollingBack", "RolledBack"), "a rollback"
            )
            story = Cleared(site, cleared_at, status)
            eyes.until(lambda s: s.phase == "RolledBack" and s.flag == {}, "RolledBack")
            begun = len(eyes.of("v2"))
            for paused in (True, False, True):
                reconciled(site, {"paused": paused})
            site.kill("operator")
            site.start("operator")
            reconciled(site, {"paused": False})
            story.after = routed(site, "after")
            story.seen = eyes.of("v2")[begun - 1 :]
        yield story


def reconciled(site: Site, change: dict[str, Any]) -> None:
    """Change the rollout's spec, and return when the controller has acted on it."""
    site.kubectl("patch", "enginerollout", "v2", "--type=merge", "-p", json.dumps({"spec": change}))
    generation = site.get("EngineRollout", "v2")["metadata"]["generation"]
    site.until_status("EngineRollout", "v2", lambda s: s.get("observedGeneration") == generation, "a reconcile")


def test_a_flag_that_is_cleared_by_hand_rolls_back_within_five_seconds(cleared: Cleared) -> None:
    assert cleared.status["reason"] == "FlagClearedByHand"
    (decided,) = [one for one in cleared.status["decisions"] if one["reason"] == "FlagClearedByHand"][:1]
    assert decided["action"] == "RollBack"
    assert datetime.fromisoformat(decided["at"]) - cleared.cleared_at < WITHIN


def test_the_keys_that_the_person_left_are_removed_too(cleared: Cleared) -> None:
    assert cleared.seen[0].flag == {}


def test_the_controller_never_sets_it_again(cleared: Cleared) -> None:
    assert {tuple(s.flag or {}) for s in cleared.seen} == {()}
    assert {s.phase for s in cleared.seen} == {"RolledBack"}
    assert cleared.site.flag() == {}


def test_then_everything_new_runs_on_v1(cleared: Cleared) -> None:
    assert {engine for engine, _ in cleared.after} == {"V1"}


@pytest.mark.parametrize(
    "values",
    [{ENABLED: "true"}, {ENABLED: "true", PERCENT: "50"}],
    ids=["true", "true-with-percent"],
)
def test_a_key_that_comes_back_after_a_rollback_routes_nothing_to_v2(
    cleared: Cleared, request: pytest.FixtureRequest, values: dict[str, str]
) -> None:
    site, prefix = cleared.site, f"back-{request.node.callspec.id}"
    try:
        site.set_flag(values, manager="argocd-controller")
        said = site.until_condition("EngineRollout", "v2", "FlagConflict", "True")
        assert "argocd-controller" in said["message"]
        assert ENABLED in said["message"]
        until_routed(site, ("V1", "FlagConflict"), prefix)
        assert set(routed(site, f"{prefix}-all")) == {("V1", "FlagConflict")}
        assert site.status("EngineRollout", "v2")["phase"] == "RolledBack"
        assert site.flag() == values  # it is somebody else's: left alone
    finally:
        site.set_flag({ENABLED: None, PERCENT: None})
    site.until_condition("EngineRollout", "v2", "FlagConflict", "False")


def test_a_second_rollout_of_the_same_flag_says_conflict_and_touches_nothing(cleared: Cleared) -> None:
    site = cleared.site
    site.apply(rollout("younger", (50, "1h"), (100, "1h")))
    said = site.until_condition("EngineRollout", "younger", "Valid", "False")
    assert said["reason"] == "Conflict"
    assert "by-hand/v2" in said["message"]
    assert site.status("EngineRollout", "younger")["phase"] == "Pending"
    assert site.flag() == {}
    site.kubectl("delete", "enginerollout", "younger", "--timeout=60s")


# -- without a rollout


@pytest.fixture
def flagged(shared_site: Site) -> Iterator[Site]:
    """A site where the flag sends everything to V2 by a person's word."""
    assert not shared_site.all("EngineRollout")
    shared_site.apply(ECHO)
    shared_site.until_condition("Workflow", "echo", "Valid", "True")
    shared_site.set_flag({ENABLED: "true"})
    yield shared_site
    shared_site.set_flag({ENABLED: None, PERCENT: None, EXPIRES: None})


@pytest.mark.parametrize(
    ("key", "value"),
    [(PERCENT, "banana"), (PERCENT, "12.345"), (PERCENT, "101"), (PERCENT, ""), (EXPIRES, "tomorrow")],
    ids=["word", "three-places", "too-much", "empty", "expiry"],
)
def test_a_malformed_flag_means_v1(flagged: Site, request: pytest.FixtureRequest, key: str, value: str) -> None:
    prefix = f"malformed-{request.node.callspec.id}"
    until_routed(flagged, ("V2", "FlagOn"), f"{prefix}-on")
    flagged.set_flag({key: value})
    until_routed(flagged, ("V1", "InvalidFlag"), prefix)
    assert set(routed(flagged, f"{prefix}-all", 5)) == {("V1", "InvalidFlag")}


def test_the_command_that_clears_the_flag_does(flagged: Site) -> None:
    until_routed(flagged, ("V2", "FlagOn"), "command-on")
    command = [sys.executable, "-m", "orchestrator.cli.main", "flag", "unset", "--namespace", flagged.namespace]
    environ = os.environ | {"KUBECONFIG": str(flagged.plane.cluster.kubeconfig)}
    subprocess.run(command, env=environ, check=True, timeout=60)
    assert flagged.flag() == {}
    until_routed(flagged, ("V1", "FlagOff"), "command-off")


def test_a_flag_whose_time_is_over_means_v1(flagged: Site) -> None:
    until_routed(flagged, ("V2", "FlagOn"), "expired-on")
    flagged.set_flag({EXPIRES: "2020-01-01T00:00:00Z"})
    until_routed(flagged, ("V1", "Expired"), "expired")

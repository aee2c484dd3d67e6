"""Bad weather between the operator and the API server, one kind after the other, while executions and a rollout run.

Comparisons with the store are an hour apart, so whatever is found in spite of the weather is found by the watch; in the
last story they are what finds it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.demo.services import SERVICE_ACCOUNT

from tests.support.api_proxy import WAYS, ApiProxy
from tests.support.flag_tape import FlagTape, State, undone, unexplained
from tests.support.polling import eventually
from tests.support.rollout_documents import rollout
from tests.support.site import execution, orders

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.live import ControlPlane
    from tests.support.site import Site

pytestmark = pytest.mark.e2e

EACH = 3  # executions in each weather
SILENCE = "2s"
ABORTS = "500 for every other request"
SILENT = "watches that fall silent"
BEHIND = "orchestrator_watch_behind_objects"


@dataclass
class Weather:
    """What was seen."""

    site: Site
    proxy: ApiProxy
    names: list[str] = field(default_factory=list)
    ended: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)  # statuses, by the weather
    pid: int = 0  # of the operator, from the first weather to the last
    states: list[State] = field(default_factory=list)  # of the flag
    health: dict[str, Any] = field(default_factory=dict)  # what /healthz said while the watch was silent
    live: int = 0  # and /livez
    behind: float = 0.0  # and the metric
    behind_after: float = -1.0  # when it was heard again

    def create(self, word: str) -> list[str]:
        """New executions, on V2 whatever the flag says."""
        names = [f"{word}-{number}" for number in range(EACH)]
        self.site.create(*(execution(name, "orders", {"order": name}, engine="v2") for name in names))
        self.names += names
        return names


@pytest.fixture(scope="module")
def weather(control_plane: ControlPlane) -> Iterator[Weather]:
    account = control_plane.cluster.service_account_kubeconfig("weather", SERVICE_ACCOUNT)
    with ApiProxy(control_plane.background, account, control_plane.folder / "weather-proxy") as proxy:
        settings = {
            "KUBECONFIG": str(proxy.kubeconfig),
            "ORCHESTRATOR_WATCH_SILENCE": SILENCE,
            "ORCHESTRATOR_RESYNC_INTERVAL": "1h",
        }
        with control_plane.site("weather", operator=settings) as site:
            site.start()
            site.apply(orders(site.shop, steps=1))
            site.until_condition("Workflow", "orders", "Valid", "True")
            story = Weather(site, proxy, pid=site.process("operator").pid)
            with FlagTape(site) as tape:
                site.apply(rollout("v2", (20, "1h"), (100, "1h")))
                for number, way in enumerate(WAYS):
                    one_kind(story, f"weather-{number}", way)
                    if way == ABORTS:
                        site.until_status("EngineRollout", "v2", lambda s: s.get("phase") == "Progressing", "a stage")
                        site.kubectl("annotate", "enginerollout", "v2", "orchestrator.dev/abort=enough")
                        site.until_status("EngineRollout", "v2", lambda s: s["phase"] == "RolledBack", "RolledBack")
                story.states = tape.states
            only_comparisons(story)
            yield story


def one_kind(story: Weather, word: str, way: str) -> None:
    """Executions are created in it, and end in it: but for those of which a silent watch cannot know."""
    story.proxy.turn(way)
    names = story.create(word)
    eventually(lambda: story.proxy.spoiled, f"the weather: {way}")
    if way == SILENT:
        story.proxy.turn("")
    try:
        story.ended[way] = story.site.until_over(names)
    except AssertionError as error:
        raise AssertionError(f"{way}: {error}") from None


def only_comparisons(story: Weather) -> None:
    """An operator that compares every second, and a watch that tells nothing."""
    site, proxy = story.site, story.proxy
    assert site.process("operator").pid == story.pid
    site.stop("operator")
    site.start_instead("operator", environ={"ORCHESTRATOR_RESYNC_INTERVAL": "1s"})
    proxy.turn(SILENT)
    story.ended["only comparisons"] = site.until_over(story.create("compared"))
    eventually(lambda: site.page("operator", "/livez").status_code == 503, "a watch that is missed")
    story.health, story.live = site.page("operator", "/healthz").json(), site.page("operator", "/livez").status_code
    story.behind = sample(site, BEHIND)
    proxy.turn("")
    eventually(lambda: site.page("operator", "/healthz").is_success, "a watch that is heard again")
    story.behind_after = sample(site, BEHIND)


def sample(site: Site, name: str) -> float:
    line = next(line for line in site.metrics("operator").splitlines() if line.startswith(f"{name} "))
    return float(line.rpartition(" ")[2])


@pytest.mark.parametrize("way", [*WAYS, "only comparisons"])
def test_what_is_created_in_bad_weather_is_run_and_its_status_catches_up(weather: Weather, way: str) -> None:
    assert [status["phase"] for status in weather.ended[way].values()] == ["Success"] * EACH


def test_no_weather_ends_the_operator(weather: Weather) -> None:
    log = (weather.site.logs / "operator.log").read_text()
    assert log.count("everything begins anew") == 1  # after what kopf takes for the end of all watching


def test_nothing_is_submitted_or_done_twice(weather: Weather) -> None:
    rows = weather.site.query("SELECT id, name FROM workflow_executions")
    assert sorted(row["name"] for row in rows) == sorted(weather.names)
    asked = weather.site.ledger_query("SELECT key FROM requests")
    assert sorted(row["key"] for row in asked) == sorted(f"{row['id']}/step0" for row in rows)


def test_an_abort_in_bad_weather_ends_in_a_clear_flag_and_each_decision_is_one(weather: Weather) -> None:
    assert weather.states[-1].clear
    assert {state.percent for state in weather.states} == {0.0, 20.0}
    assert unexplained(weather.site, weather.states) == []
    assert undone(weather.site) == []
    decided = [one["action"] for one in weather.site.status("EngineRollout", "v2")["decisions"]]
    assert (decided.count("Start"), decided.count("RolledBack")) == (1, 1)


def test_a_watch_that_tells_nothing_is_told_by_the_probes_and_by_a_metric(weather: Weather) -> None:
    assert any(name.startswith("watch:") for name in weather.health["silent"]), json.dumps(weather.health)
    assert weather.live == 503
    assert weather.behind >= EACH
    assert weather.behind_after == 0.0

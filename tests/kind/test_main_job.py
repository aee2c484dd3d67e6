"""The main job inside Pods: Workflow, Executions, a rollout whose leader is deleted in the middle of it, a worker that
is deleted with work in its hands, a V2 that fails and is rolled back, a drained node, and the end of it all.

One story, told once for the module; each test is one claim about it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import yaml
from orchestrator_operator.demo.traffic import order
from psycopg.rows import dict_row

from tests.support.live import SAMPLES
from tests.support.polling import eventually
from tests.support.rollout_documents import rollout
from tests.support.stream import Eyes, Stream

if TYPE_CHECKING:
    from orchestrator_operator.demo.facts import Sighting

    from tests.support.kind_cluster import Cluster

pytestmark = [pytest.mark.kind, pytest.mark.timeout(1500, func_only=True)]

RATE = 4.0  # executions a second
CRITERIA = [{"name": "failures", "type": "comparison", "preset": "failures"}]
ENDED = {"Success", "Failed", "Cancelled"}


@dataclass
class Story:
    """What was seen."""

    cluster: Cluster
    names: list[str] = field(default_factory=list)
    first_leader: str = ""
    second_leader: str = ""
    percent_at_death: str = ""
    held_by_the_dead_worker: list[str] = field(default_factory=list)
    good: list[Sighting] = field(default_factory=list)
    bad: list[Sighting] = field(default_factory=list)
    flag_after: dict[str, str] | None = None
    ledger: dict[str, Any] = field(default_factory=dict)

    def stored(self, where: str = "true") -> list[dict[str, Any]]:
        with psycopg.connect(self.cluster.database, row_factory=dict_row) as connection:
            return connection.execute(
                f"SELECT id, name, engine, status, owner FROM workflow_executions WHERE {where}".encode()
            ).fetchall()

    def ledger_now(self) -> Any:
        """The shop's books, through the API server."""
        service = f"/api/v1/namespaces/{self.cluster.namespace}/services/shop:8080"
        return json.loads(self.cluster.kubectl("get", "--raw", f"{service}/proxy/ledger"))

    def set_faults(self, share: float) -> None:
        """The shop takes that order from its own Pod alone."""
        body = json.dumps({"engine": "v2", "share": share, "status": 422})
        ask = f"import urllib.request as u; u.urlopen('http://127.0.0.1:8080/admin/faults', {body!r}.encode())"
        self.cluster.kubectl("exec", "deployment/shop", "--", "python3", "-c", ask)


@pytest.fixture(scope="module")
def story(ha: Cluster) -> Story:
    story = Story(ha)
    documents = list(yaml.safe_load_all((Path(__file__).parent / "shop.yaml").read_text(encoding="utf-8")))
    documents[1]["spec"]["template"]["spec"]["containers"][0]["image"] = ha.image
    ha.apply(*documents)
    ha.kubectl("apply", "-f", str(SAMPLES / "order-fulfilment.yaml"), "-f", str(SAMPLES / "fan-out.yaml"))
    ha.until_rolled_out("shop")
    ha.kubectl("wait", "--for=condition=Valid", "workflows.orchestrator.dev", "--all", "--timeout=60s")
    shop = f"http://shop.{ha.namespace}.svc.cluster.local:8080"
    stream = Stream(ha, lambda number: order("kind", number, shop, ha.namespace), RATE)
    with Eyes(ha) as eyes, stream:
        rolled_out(story, eyes)
        a_worker_dies(story)
        rolled_back(story, eyes)
    story.names = list(stream.names)
    eventually(lambda: not story.stored("finished_at IS NULL"), "the end of every execution", within=120)
    story.ledger = story.ledger_now()
    return story


def rolled_out(story: Story, eyes: Eyes) -> None:
    cluster = story.cluster
    story.first_leader = eventually(cluster.leader, "a leader")
    eventually(lambda: story.stored("status = 'success'"), "the first execution that succeeds", within=90)
    cluster.apply(rollout("good", (5, "10s"), (25, "10s"), (50, "10s"), (100, "10s"), criteria=CRITERIA))
    seen = eyes.until(lambda s: s.rollout == "good" and s.flag_percent == "25", "a quarter on V2", within=120)
    story.percent_at_death = seen.flag_percent
    cluster.kubectl("delete", "pod", story.first_leader, "--wait=false")
    story.second_leader = eventually(
        lambda: name if (name := cluster.leader()) != story.first_leader else "", "another leader", within=120
    )
    eyes.until(lambda s: s.rollout == "good" and s.phase == "Completed", "Completed", within=180)
    story.good = eyes.of("good")


def a_worker_dies(story: Story) -> None:
    """By force, at the moment at which it holds something: nothing drains, nothing is given back."""
    cluster = story.cluster

    def busy() -> tuple[str, list[str]] | None:
        held = story.stored("owner IS NOT NULL AND engine = 'v2' AND finished_at IS NULL")
        for pod in cluster.pods("worker"):
            name = pod["metadata"]["name"]
            if its := [row["id"] for row in held if row["owner"].startswith(name)]:
                return name, its
        return None

    name, story.held_by_the_dead_worker = eventually(busy, "a worker with work in its hands", every=0.02)
    cluster.kubectl("delete", "pod", name, "--grace-period=0", "--force", "--wait=false")
    cluster.until_rolled_out("orchestrator-worker")


def rolled_back(story: Story, eyes: Eyes) -> None:
    cluster = story.cluster
    cluster.kubectl("delete", "enginerollout", "good", "--timeout=60s")
    story.set_faults(0.7)
    cluster.apply(rollout("failing", (25, "40s"), (50, "40s"), (100, "40s"), criteria=CRITERIA))
    eyes.until(lambda s: s.rollout == "failing" and s.phase == "RolledBack", "RolledBack", within=180)
    story.bad = eyes.of("failing")
    story.flag_after = eyes.latest.flag


def test_the_rollout_is_completed_by_the_operator_that_took_over(story: Story) -> None:
    assert story.second_leader not in ("", story.first_leader)
    assert story.percent_at_death == "25"
    assert story.good[-1].phase == "Completed"


def test_no_stage_is_left_out_or_repeated_when_the_leader_dies(story: Story) -> None:
    percents = [sighting.flag_percent for sighting in story.good if sighting.flag_percent]
    seen = [percent for index, percent in enumerate(percents) if index == 0 or percents[index - 1] != percent]
    assert seen == ["5", "25", "50", "100"]


def test_what_the_dead_worker_held_came_to_its_end(story: Story) -> None:
    ids = ", ".join(f"'{id_}'" for id_ in story.held_by_the_dead_worker)
    assert ids
    assert {row["status"] for row in story.stored(f"id IN ({ids})")} <= {"success", "failed"}


def test_every_execution_that_was_accepted_has_ended(story: Story) -> None:
    assert len(story.names) > 100
    assert {row["name"] for row in story.stored("finished_at IS NOT NULL")} >= set(story.names)


def test_the_shop_saw_no_effect_twice(story: Story) -> None:
    assert story.ledger["effects"] > 100
    assert story.ledger["keys_with_many_effects"] == 0


def test_the_resources_say_what_the_store_says(story: Story) -> None:
    def told() -> bool:
        found = json.loads(story.cluster.kubectl("get", "executions.orchestrator.dev", "--output=json"))["items"]
        phases = {item["metadata"]["name"]: (item.get("status") or {}).get("phase") for item in found}
        return all(phases.get(name) in ENDED for name in story.names)

    eventually(told, "a status of every execution", within=60, every=1)


def test_a_v2_that_fails_is_rolled_back_and_its_flag_is_gone(story: Story) -> None:
    assert "RollingBack" in {sighting.phase for sighting in story.bad}
    assert story.flag_after == {}


def test_both_kinds_of_pod_are_ready_and_run_without_rights_on_the_machine(story: Story) -> None:
    for component in ("operator", "worker"):
        pods = story.cluster.pods(component)
        assert len(pods) == 2
        for pod in pods:
            said = story.cluster.ask(
                "exec", pod["metadata"]["name"], "--", "sh", "-c", "id -u; touch /x; cat /proc/self/status"
            )
            assert said.out.startswith("65532")
            assert "Read-only file system" in said.error
            assert "CapEff:\t0000000000000000" in said.out


def test_every_call_of_the_doors_service_reaches_the_operator_that_has_it_open(story: Story) -> None:
    """Of two operators that are ready."""
    cluster = story.cluster
    eventually(lambda: _knocked(cluster, 1) == ["401"], "an answer to a caller without a token")
    assert _knocked(cluster, 30) == ["401"] * 30


def _knocked(cluster: Cluster, times: int) -> list[str]:
    """What the door answers to so many callers in a Pod, each by a connection of its own."""
    ask = (
        "import http.client as c\n"
        f"for _ in range({times}):\n"
        "    one = c.HTTPConnection('orchestrator-door', timeout=10)\n"
        "    one.request('POST', '/functions/v1/execute-workflow', '{}')\n"
        "    print(one.getresponse().status)\n"
    )
    return cluster.ask("exec", "deployment/shop", "--", "python3", "-c", ask).out.split()


def test_a_drained_node_keeps_one_of_each_until_there_is_another_place(story: Story) -> None:
    cluster = story.cluster
    cluster.until_rolled_out("orchestrator-operator", "orchestrator-worker")
    node = cluster.kubectl("get", "nodes", "--output=name").strip()
    chosen = "--pod-selector=app.kubernetes.io/part-of=orchestrator"
    try:
        said = cluster.ask("drain", node, chosen, "--delete-emptydir-data", "--timeout=45s", within=120)
        assert said.code != 0
        assert "violate the pod's disruption budget" in said.error
        ready = {component: _ready(cluster, component) for component in ("operator", "worker")}
        assert ready == {"operator": 1, "worker": 1}
        assert eventually(cluster.leader, "a leader among those that are left")
    finally:
        cluster.kubectl("uncordon", node)
    cluster.until_rolled_out("orchestrator-operator", "orchestrator-worker")


def _ready(cluster: Cluster, component: str) -> int:
    return sum(
        any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))
        for pod in cluster.pods(component)
    )


def test_the_documented_uninstall_leaves_nothing_behind(story: Story) -> None:
    """Word for word, in the middle of a rollout, whose finalizer must be heard before the operator goes."""
    cluster = story.cluster
    cluster.kubectl("delete", "enginerollout", "failing", "--ignore-not-found", "--timeout=60s")  # the flag was its own
    cluster.apply(rollout("going-on", (5, "1h"), (100, "1h"), criteria=CRITERIA))
    cluster.kubectl("wait", "enginerollout/going-on", "--for=jsonpath={.status.phase}=Progressing", "--timeout=60s")
    guide = (Path(__file__).parents[2] / "docs" / "install.md").read_text(encoding="utf-8")
    command = next(line for line in guide.splitlines() if line.startswith("kubectl delete enginerollouts"))
    for part in command.split(" && "):
        words = part.replace("deploy/overlays/ha", cluster.overlay("ha")).split()
        said = cluster.typed(*words[1:], within=240)
        assert said.code == 0, said.error
    assert cluster.ask("get", "namespace", cluster.namespace).error.count("NotFound") == 1
    assert "orchestrator.dev" not in cluster.kubectl("get", "customresourcedefinitions", "--output=name")

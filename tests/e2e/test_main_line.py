"""The main job, shortened: both samples, a stream, V2 rolled out, taken away again, and rolled back when it fails.

One story, told once for the whole module and written down as it goes; then each test is one claim about it.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.demo.traffic import order
from typer.testing import CliRunner

from dashboards.alerts import OPERATOR, alerts
from orchestrator.cli.main import app
from orchestrator.router import bucket
from tests.support import boards, runbook
from tests.support.live import SAMPLES
from tests.support.pages import blocks, typed_by
from tests.support.polling import eventually
from tests.support.rollout_documents import rollout
from tests.support.site import ENABLED, EXPIRES, PERCENT, execution, workflow
from tests.support.stream import Eyes, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestrator_operator.demo.facts import Sighting
    from orchestrator_operator.demo.ledger import Summary

    from tests.support.live import ControlPlane
    from tests.support.site import Site

pytestmark = pytest.mark.e2e

RATE = 12.0  # executions a second
WEEKS = ((5, "7s"), (25, "6s"), (50, "6s"), (100, "5s"))
FAULTS = 0.6  # the share of V2's requests that the shop refuses in the second half
COLUMNS = ["NAME", "WORKFLOW", "ENGINE", "PHASE", "NODE", "PROGRESS", "DURATION", "AGE"]

NEVER = datetime.max.replace(tzinfo=UTC)


# The demo's criteria, and one guardrail of each kind.
CRITERIA = [
    {"name": "failures", "type": "comparison", "preset": "failures"},
    {"name": "first-attempts", "type": "comparison", "preset": "first-attempt-failures"},
    {"name": "slow-checkpoint", "type": "guardrail", "preset": "slow-checkpoints", "max": 1},
    {"name": "long", "type": "guardrail", "query": 'orchestrator_executions_long_running{engine="$engine"}', "max": 0},
]


@dataclass
class Story:
    """What was seen."""

    site: Site
    good: list[Sighting] = field(default_factory=list)
    bad: list[Sighting] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    listing: str = ""  # `kubectl get executions` in the middle of it
    rollouts: str = ""  # `kubectl get ero` at the end of the first one
    flag_completed: dict[str, str] = field(default_factory=dict)
    flag_deleted: dict[str, str] = field(default_factory=dict)
    completed_at: datetime = NEVER
    deleted_at: datetime = NEVER
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    ledger: Summary | None = None
    metrics: dict[str, str] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def final(self) -> dict[str, Any]:
        """The second rollout's last status."""
        return self.site.status("EngineRollout", "failing")

    def stored(self, where: str = "true") -> list[dict[str, Any]]:
        """The executions of the stream in the store; times as text that sorts."""
        columns = "id, name, workflow_id, engine, status, assignment, percent, created_at, finished_at"
        return self.site.query(f"SELECT {columns} FROM workflow_executions WHERE {where}")


@pytest.fixture(scope="module")
def story(control_plane: ControlPlane) -> Iterator[Story]:
    with control_plane.site("main-line") as site:
        control_plane.cluster.set_rules(boards.RULES.read_text(encoding="utf-8"))
        site.start()
        story = Story(site)
        site.kubectl("apply", "-f", str(SAMPLES / "order-fulfilment.yaml"), "-f", str(SAMPLES / "fan-out.yaml"))
        site.apply(slow := workflow("slow", {"id": "woken", "type": "signal"}))
        for name in ("order-fulfilment", "fan-out", slow["metadata"]["name"]):
            site.until_condition("Workflow", name, "Valid", "True")
        stream = Stream(site, lambda number: order("main", number, site.shop, site.namespace), RATE)
        with Eyes(site) as eyes, stream:
            rolled_out(story, site, eyes, stream)
            rolled_back(story, site, eyes, stream)
        story.names = list(stream.names)
        at_rest(story, site)
        yield story


def rolled_out(story: Story, site: Site, eyes: Eyes, stream: Stream) -> None:
    eventually(lambda: len(stream.names) > RATE, "the first second of the stream")
    site.apply(rollout("good", *WEEKS, criteria=CRITERIA))
    eyes.until(lambda s: s.rollout == "good" and s.flag_percent == "50", "half of the traffic on V2", within=90)
    story.listing = eventually(
        lambda: text if at_work(cells(text := site.kubectl("get", "executions"))) else "",
        "one of V2 at work",
    )
    eyes.until(lambda s: s.rollout == "good" and s.phase == "Completed", "Completed", within=90)
    story.completed_at = datetime.now(UTC)
    story.flag_completed = eventually(
        lambda: flag if PERCENT not in (flag := site.flag()) else {}, "the flag without a percent"
    )
    story.rollouts = site.kubectl("get", "ero")
    sent = len(stream.names)
    eventually(lambda: len(stream.names) > sent + 2 * RATE, "two seconds of traffic with V2 alone")
    story.good = eyes.of("good")
    story.deleted_at = datetime.now(UTC)
    site.kubectl("delete", "enginerollout", "good", "--timeout=60s")
    story.flag_deleted = site.flag()


def cells(listing: str) -> list[list[str]]:
    """The rows of `kubectl get executions`, without the newest, which have no status yet."""
    return [cells for row in listing.splitlines()[1:] if len(cells := row.split()) > 4]


def at_work(rows: list[list[str]]) -> list[list[str]]:
    """Those of V2 that are told with a node and how far they are."""
    found = [row for row in rows if row[2] == "v2" and row[3] in ("Running", "Waiting")]
    return [row for row in found if re.fullmatch(r"[a-z]\w*", row[4]) and re.fullmatch(r"\d/\d", row[5])]


def rolled_back(story: Story, site: Site, eyes: Eyes, stream: Stream) -> None:
    eventually(lambda: not story.stored("engine = 'v2' AND finished_at IS NULL"), "the first rollout's V2 at rest")
    site.set_faults(FAULTS)
    site.apply(rollout("failing", (25, "20s"), (50, "20s"), (100, "20s"), criteria=CRITERIA))
    eyes.until(lambda s: s.rollout == "failing" and s.flag_percent == "25", "a quarter of the traffic on V2")
    sticky = next(key for number in itertools.count() if bucket(key := f"customer-{number}") < 2500)
    site.apply(execution("in-flight", "slow", routingKey=sticky))
    site.until_phase("in-flight", "Waiting")
    eyes.until(lambda s: s.rollout == "failing" and s.phase == "RollingBack", "the rollback", within=60)
    site.until_status(
        "EngineRollout", "failing", lambda status: status.get("flagClearedAt"), "the flag read back clear"
    )
    wake(site, "in-flight")
    eyes.until(lambda s: s.rollout == "failing" and s.phase == "RolledBack", "RolledBack", within=90)
    sent = len(stream.names)
    eventually(lambda: len(stream.names) > sent + 2 * RATE, "two seconds of traffic after the rollback")
    story.bad = eyes.of("failing")


def wake(site: Site, name: str) -> None:
    """Send the signal that an execution of the workflow `slow` waits for."""
    words = ["executions", "signal", site.get("Execution", name)["metadata"]["uid"], "woken"]
    done = CliRunner().invoke(app, [*words, "--database", site.database])
    assert done.exit_code == 0, done.output


def at_rest(story: Story, site: Site) -> None:
    site.until_over([*story.names, "in-flight"], within=120)
    story.ledger = site.ledger()
    story.metrics = {name: site.metrics(name) for name in ("operator", "worker")}
    story.events = json.loads(site.kubectl("get", "events", "-o", "json"))["items"]


def instant(value: Any) -> datetime:
    """A moment of the store or of a status."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def runs(values: list[str]) -> list[str]:
    return [value for value, _ in itertools.groupby(values)]


# -- the stream


def test_every_execution_of_the_stream_was_run_once(story: Story) -> None:
    stored = story.stored("name <> 'in-flight'")
    assert sorted(row["name"] for row in stored) == sorted(story.names)


def test_kubectl_shows_what_runs_in_seven_columns(story: Story) -> None:
    heading, rows = story.listing.splitlines()[0], cells(story.listing)
    assert heading.split() == COLUMNS
    assert {row[1] for row in rows} == {"order-fulfilment", "fan-out"}
    assert {"v1", "v2"} <= {row[2] for row in rows}
    assert {"Success"} <= {row[3] for row in rows}
    complete = [row for row in rows if row[3] == "Success" and re.fullmatch(r"\d/\d", row[4])]
    assert complete
    assert all(re.fullmatch(r"\d+\.\d+s", row[5]) for row in complete)
    assert at_work(rows)


def test_v2_fails_nothing_but_what_the_shop_refuses(story: Story) -> None:
    failed = [
        body["status"]["message"]
        for body in story.site.all("Execution")
        if body["status"]["phase"] == "Failed"
        and body["status"]["engine"] == "v2"
        and instant(body["metadata"]["creationTimestamp"]) < story.deleted_at
    ]
    assert not [message for message in failed if " is refused" not in message]


# -- V2 rolled out


def test_the_rollout_takes_v2_through_every_stage(story: Story) -> None:
    percents = [s.flag_percent for s in story.good if s.phase == "Progressing" and s.flag_percent]
    assert runs(percents) == ["5", "25", "50", "100"]


def test_while_it_runs_the_flag_has_an_expiry(story: Story) -> None:
    flags = [s.flag for s in story.good if s.phase == "Progressing" and s.flag and PERCENT in s.flag]
    assert flags
    assert all(set(flag) == {ENABLED, PERCENT, EXPIRES} and flag[ENABLED] == "true" for flag in flags)


def test_each_execution_was_routed_with_the_percent_of_its_time(story: Story) -> None:
    rows = story.stored("assignment = 'execution'")
    by_percent = {
        percent: Counter(r["engine"] for r in rows if r["percent"] == percent) for percent in ("0", "50", "100")
    }
    assert set(by_percent["0"]) == {"v1"}
    assert set(by_percent["50"]) == {"v1", "v2"}
    assert set(by_percent["100"]) == {"v2"}


def test_completed_leaves_the_flag_true_alone(story: Story) -> None:
    assert story.flag_completed == {ENABLED: "true"}


def test_after_completed_everything_new_runs_on_v2(story: Story) -> None:
    between = [
        row["engine"]
        for row in story.stored("assignment = 'execution'")
        if story.completed_at < instant(row["created_at"]) < story.deleted_at
    ]
    assert len(between) > RATE / 2
    assert set(between) == {"v2"}


def test_each_promotion_says_why(story: Story) -> None:
    decisions = story.good[-1].decisions
    promotions = [one for one in decisions if one["action"] in ("Promote", "Complete")]
    assert len(promotions) == len(WEEKS)
    underpowered = [one for one in promotions if one["reason"] == "Underpowered"]
    assert underpowered
    assert all(one["message"] for one in promotions)


def test_kubectl_shows_the_rollouts_columns(story: Story) -> None:
    heading, row = story.rollouts.splitlines()
    assert heading.split() == ["NAME", "PHASE", "STAGE", "PERCENT", "VERDICT", "EVIDENCE", "BLIND", "NEXT", "AGE"]
    assert row.split()[:4] == ["good", "Completed", "week-4", "100"]


def test_deleting_the_rollout_clears_the_flag(story: Story) -> None:
    assert story.flag_deleted == {}


# -- V2 rolled back


def test_it_rolls_back_by_itself(story: Story) -> None:
    phases = runs([s.phase for s in story.bad if s.phase])
    assert phases[-2:] == ["RollingBack", "RolledBack"]
    assert set(phases[:-2]) <= {"Pending", "Progressing"}


def test_the_status_names_the_failed_criterion_with_counts_and_evidence(story: Story) -> None:
    failed = story.final["failed"]
    assert failed["criterion"] in ("failures", "first-attempts")
    bad, whole = re.search(r"V2 (\d+) of (\d+)", failed["counts"]).groups()  # type: ignore[union-attr] # None fails, too
    assert 0 < int(bad) <= int(whole)
    evidence, threshold = re.fullmatch(r"(\S+), needed (\S+)", failed["evidence"]).groups()  # type: ignore[union-attr] # as above
    assert float(evidence) >= float(threshold) > 1
    assert failed["sentence"]


def test_all_three_keys_are_gone_and_stay_gone(story: Story) -> None:
    back = next(index for index, s in enumerate(story.bad) if s.phase == "RolledBack")
    assert [s.flag for s in story.bad[back:]] == [{}] * len(story.bad[back:])
    assert story.site.flag() == {}


def test_after_the_rollback_new_executions_start_on_v1(story: Story) -> None:
    cleared = instant(story.final["flagClearedAt"])
    after = [row["engine"] for row in story.stored() if instant(row["created_at"]) > cleared + timedelta(seconds=1)]
    assert len(after) > RATE
    assert set(after) == {"v1"}


def test_what_was_in_flight_on_v2_drains_before_rolled_back(story: Story) -> None:
    (row,) = story.stored("name = 'in-flight'")
    assert (row["engine"], row["status"], row["assignment"]) == ("v2", "success", "key")
    cleared, over = instant(story.final["flagClearedAt"]), instant(story.final["rolledBackAt"])
    ends = [instant(row["finished_at"]) for row in story.stored("engine = 'v2'")]
    assert [end for end in ends if cleared < end]
    assert max(ends) <= over
    assert not story.stored("engine = 'v2' AND status NOT IN ('success', 'failed')")


def test_the_rollback_is_told_as_kubernetes_events(story: Story) -> None:
    told = {(e["reason"], e["type"]) for e in story.events if e["involvedObject"]["name"] == "failing"}
    assert ("CriterionFailed", "Warning") in told


def test_its_log_of_decisions_is_whole_and_every_verdict_is_derived_again(story: Story) -> None:
    """Out of the store, by the command line, against the status and every Event that was posted."""
    command = [sys.executable, "-m", "orchestrator.cli.main", "rollout", "verify", "failing", "--output", "json"]
    site = story.site
    command += ["--namespace", site.namespace, "--database", site.database]
    environment = os.environ | {"KUBECONFIG": str(site.plane.cluster.kubeconfig)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["difference"], found["withoutInputs"]) == (None, [])
    assert found["derivedAgain"] == found["rows"] > len(story.final["decisions"])  # what was observed counts, too
    assert found["comparedWith"][0] == "the status"
    assert len(found["comparedWith"]) > len({d["action"] for d in story.final["decisions"]})


def test_each_decision_stands_in_the_log_once(story: Story) -> None:
    rows = story.site.query("SELECT number, action, reason FROM rollout_decisions WHERE name LIKE '%/failing'")
    logged = {row["number"]: (row["action"], row["reason"]) for row in rows if row["action"] != "Observed"}
    assert logged == {d["number"]: (d["action"], d["reason"]) for d in story.final["decisions"]}


# -- the books


def test_every_completed_step_has_exactly_one_event(story: Story) -> None:
    twice = story.site.query(
        "SELECT execution_id, node_id FROM workflow_events WHERE type = 'StepCompleted' "
        "GROUP BY execution_id, node_id HAVING count(*) > 1"
    )
    assert twice == []


def test_the_ledger_has_one_effect_for_each_step_of_v2(story: Story) -> None:
    done = story.site.query(
        "SELECT execution_id, node_id FROM workflow_events WHERE type = 'StepCompleted' AND node_type = 'http'"
    )
    effects = story.site.ledger_query("SELECT key FROM effects WHERE engine = 'v2'")
    assert len(done) > RATE
    assert {f"{row['execution_id']}/{row['node_id']}" for row in done} == {row["key"] for row in effects}
    assert story.ledger is not None
    assert story.ledger.doubled["v2"] == 0


def test_nothing_leaks_from_one_execution_of_v2_to_another(story: Story) -> None:
    assert story.ledger is not None
    assert story.ledger.mixed_up["v2"] == 0


def test_each_routing_decision_logged_its_line(story: Story) -> None:
    rows = story.site.query(
        "SELECT l.event_message AS line FROM edge_logs l JOIN edge_functions f ON f.id = l.function_id "
        "WHERE f.name = 'execute-workflow' AND l.event_message LIKE '%Usando Orchestrator%'"
    )
    said = Counter((re.search(r"Usando Orchestrator (V[12])", row["line"]) or [""])[1] for row in rows)
    engines = Counter(row["engine"].upper() for row in story.stored())
    assert said == engines
    log = (story.site.logs / "operator.log").read_text()
    assert log.count("Usando Orchestrator V2") == engines["V2"]


# -- the metrics of the contract

WORKERS = {
    "orchestrator_executions_started_total": {"engine"},
    "orchestrator_executions_finished_total": {"engine", "status"},
    "orchestrator_execution_duration_seconds_bucket": {"engine", "le"},
    "orchestrator_steps_total": {"engine", "node_type", "status"},
    "orchestrator_step_duration_seconds_bucket": {"engine", "node_type", "le"},
    "orchestrator_checkpoint_duration_seconds_bucket": {"node_type", "le"},
    "orchestrator_fenced_writes_total": set(),
}
OPERATORS = {
    "orchestrator_executions_running": {"engine"},
    "orchestrator_executions_long_running": {"engine"},
    "orchestrator_executions_stalled": {"engine"},
    "orchestrator_cohort_outcomes_total": {
        *("engine", "criterion", "outcome", "assignment"),
        *("percent", "age", "attempt"),
    },
    "orchestrator_router_decisions_total": {"engine", "reason"},
    "orchestrator_queue_oldest_seconds": set(),
    "orchestrator_status_writes_total": {"result"},
    "orchestrator_rollout_percent": {"rollout"},
    "orchestrator_rollout_stage": {"rollout"},
    "orchestrator_rollout_evidence": {"rollout", "criterion"},
    "orchestrator_rollout_blind_seconds": {"rollout"},
    "orchestrator_rollout_phase": {"rollout", "phase"},
    "orchestrator_rollout_decisions_pending": {"rollout"},
}


@pytest.mark.parametrize(
    ("process", "name", "labels"),
    [("worker", *item) for item in WORKERS.items()] + [("operator", *item) for item in OPERATORS.items()],
)
def test_a_metric_of_the_contract_is_exported_with_its_labels(
    story: Story, process: str, name: str, labels: set[str]
) -> None:
    lines = re.findall(rf"^{name}(?:{{(.*)}})? ", story.metrics[process], re.MULTILINE)
    assert lines, f"{process} does not export {name}"
    assert {frozenset(re.findall(r'(\w+)="', line)) for line in lines} == {frozenset(labels)}


def test_the_resources_are_written_a_few_times_each_and_not_for_every_step(story: Story) -> None:
    """Creation, start, end, and at most one in five seconds: the orders have seven steps and take three seconds."""
    written = re.findall(
        r'^orchestrator_status_writes_total{result="written"} (\S+)', story.metrics["operator"], re.MULTILINE
    )
    steps = len(story.site.query("SELECT 1 AS one FROM workflow_step_executions"))
    assert len(story.names) < float(written[0]) < 4 * len(story.names)
    assert steps > 4 * len(story.stored("engine = 'v2'"))


def test_checkpoints_have_a_bucket_edge_at_a_tenth_of_a_second(story: Story) -> None:
    assert 'orchestrator_checkpoint_duration_seconds_bucket{le="0.1"' in story.metrics["worker"]


def test_the_metrics_of_the_engines_count_what_the_store_holds(story: Story) -> None:
    finished = Counter(row["engine"] for row in story.stored())
    for engine, count in finished.items():
        series = re.compile(rf'^orchestrator_executions_finished_total{{engine="{engine}",.*}} (\S+)', re.MULTILINE)
        found = series.findall(story.metrics["worker"])
        assert sum(float(value) for value in found) == count


# -- dashboards and alerts


@pytest.fixture(scope="module")
def asked(story: Story) -> boards.Asked:
    url = story.site.plane.cluster.prometheus_url
    return boards.Asked(url, story.site.namespace, story.began, datetime.now(UTC))


@pytest.mark.parametrize("query", boards.panel_queries(), ids=str)
def test_a_panels_query_has_an_answer(asked: boards.Asked, query: boards.Query) -> None:
    assert asked.answers(query)


@pytest.mark.parametrize("signal", boards.alert_signals(), ids=str)
def test_an_alert_looks_at_something(asked: boards.Asked, signal: boards.Query) -> None:
    assert asked.answers(signal)


@pytest.mark.parametrize("query", boards.alert_expressions(), ids=str)
def test_prometheus_understands_an_alert(asked: boards.Asked, query: boards.Query) -> None:
    assert asked.answers(query) >= 0


def test_prometheus_evaluates_every_alert_and_tells_of_the_rollback(asked: boards.Asked) -> None:
    names = {query.place for query in boards.alert_expressions()}
    eventually(lambda: asked.rules() == dict.fromkeys(names, "ok"), "every alert evaluated")
    eventually(lambda: "OrchestratorRolledBack" in asked.firing(), "the alert of the rollback")


def test_nothing_is_wrong_with_the_operator_itself(asked: boards.Asked) -> None:
    """Of errors and stalled executions the story has its share; of these it must have none."""
    own = {alert.name for alert in alerts() if alert.board == OPERATOR}
    assert own
    assert asked.firing().isdisjoint(own)


def test_the_dashboards_variables_offer_what_there_is(asked: boards.Asked) -> None:
    ours = '{__name__=~"orchestrator_operator_leader|orchestrator_fenced_writes_total",namespace="main-line"}'
    assert asked.values_of("job", ours) == {"operator", "worker"}
    rollouts = asked.values_of("rollout", 'orchestrator_rollout_percent{namespace="main-line"}')
    assert rollouts == {"main-line/good", "main-line/failing"}


# -- the runbook, by a person on call


LOOKS, ACTS = ([block for block, _ in typed_by(__name__, blocks(runbook.PAGE), mark)] for mark in ("", "acts"))


@pytest.fixture(scope="module")
def on_call(story: Story) -> dict[str, str]:
    """What the runbook asks to set."""
    site = story.site
    found = {
        "KUBECONFIG": str(site.plane.cluster.kubeconfig),
        "ORCHESTRATOR_NAMESPACE": site.namespace,
        "ORCHESTRATOR_DATABASE": site.database,
        "PROMETHEUS": site.plane.cluster.prometheus_url,
        "ROLLOUT": "failing",
    }
    assert found.keys() == runbook.settings()
    return found


def test_what_the_runbook_looks_at_is_there(
    story: Story, on_call: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    typed = dict.fromkeys(line for block in LOOKS for line in block.text.splitlines())  # each one once
    for line in typed:
        runbook.run(line, story.site.plane.cluster.kubectl, on_call)
    assert len(typed) > 20


def test_what_the_runbook_does_is_done(story: Story, on_call: dict[str, str]) -> None:
    site = story.site
    site.kubectl("delete", "enginerollout", "failing", "--timeout=60s")
    site.apply(rollout("v2", (5, "10m"), (100, "10m"), criteria=CRITERIA))
    site.until_status("EngineRollout", "v2", lambda status: status.get("phase") == "Progressing", "v2 that goes on")
    by_verb = {line.split('"')[0].strip(): line for block in ACTS for line in block.text.splitlines()}
    cancel = "orchestrator executions cancel --engine v1 --status running --stalled --yes"
    in_turn = [*(f"orchestrator rollout {verb}" for verb in ("promote", "abort", "rearm")), cancel]
    assert by_verb.keys() == {*in_turn, "orchestrator flag unset"}
    for verb in in_turn:
        runbook.run(by_verb[verb], site.plane.cluster.kubectl, on_call | {"ROLLOUT": "v2"})
    runbook.run(by_verb["orchestrator flag unset"], site.plane.cluster.kubectl, on_call)
    assert site.status("EngineRollout", "v2")["phase"] in ("RollingBack", "RolledBack")
    assert site.get("EngineRollout", "v2")["spec"]["attempt"] == 2
    assert site.flag() == {}

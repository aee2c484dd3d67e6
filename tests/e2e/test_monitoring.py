"""The alerts and some panels by promtool, and what deploy/monitoring would install. No control plane is started."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from orchestrator_operator.local import Toolbox

from dashboards.__main__ import files
from dashboards.alerts import alerts
from dashboards.board import DOCS
from tests.support import boards

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
CASES = sorted((Path(__file__).parent / "alerts").glob("*.yaml"))
APPLIED = 256 * 1024  # bytes that kubectl's annotation with the last applied object may have


@pytest.fixture(scope="module")
def tools() -> Mapping[str, Path]:
    return {name: found.path for name, found in Toolbox().get().items()}


@pytest.fixture(scope="module")
def installed(tools: Mapping[str, Path]) -> list[dict[str, Any]]:
    """What `kubectl apply -k deploy/monitoring` would apply."""
    return list(yaml.safe_load_all(run(tools["kubectl"], "kustomize", ROOT / "deploy" / "monitoring")))


def run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_alerts_fire_when_they_must_and_are_silent_when_they_must_not(tools: Mapping[str, Path], file: Path) -> None:
    run(tools["promtool"], "test", "rules", file)


@pytest.mark.parametrize("name", [alert.name for alert in alerts()])
def test_an_alert_is_shown_to_fire_and_to_be_silent(name: str) -> None:
    cases = [case for file in CASES for case in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]]
    mine = [case for case in cases if case["name"].split()[0] == name]
    looked = [test for case in mine for test in case["promql_expr_test"]]
    assert all(f'alertname="{name}"' in test["expr"] for test in looked)
    assert any(test["exp_samples"] for test in looked)  # it fires
    assert not all(test["exp_samples"] for test in looked)  # it is silent


def test_promtool_finds_nothing_wrong_with_the_rules(tools: Mapping[str, Path]) -> None:
    run(tools["promtool"], "check", "rules", "--lint-fatal", boards.RULES)


def test_the_sidecar_finds_every_dashboard_by_its_label(installed: list[dict[str, Any]]) -> None:
    found = [one for one in installed if one["kind"] == "ConfigMap"]
    assert all(one["metadata"]["labels"]["grafana_dashboard"] == "1" for one in found)
    texts = [text for one in found for text in one["data"].values()]
    committed = [path.read_text(encoding="utf-8") for path in boards.GENERATED.glob("*.json")]
    assert sorted(texts) == sorted(committed)


def test_one_address_in_deploy_monitoring_is_what_every_link_to_the_docs_begins_with(
    tools: Mapping[str, Path], tmp_path: Path
) -> None:
    for folder in ("deploy/monitoring", "dashboards"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    ours = tmp_path / "deploy" / "monitoring" / "kustomization.yaml"
    text = ours.read_text(encoding="utf-8")
    assert text.count(DOCS) == 1
    ours.write_text(text.replace(DOCS, "https://git.acme.test/docs"), encoding="utf-8")
    made = list(yaml.safe_load_all(run(tools["kubectl"], "kustomize", ours.parent)))
    wanted = files(docs="https://git.acme.test/docs")
    for name, text in (item for one in made if one["kind"] == "ConfigMap" for item in one["data"].items()):
        assert text == wanted.pop(name)
    (rules,) = (one for one in made if one["kind"] == "PrometheusRule")
    assert rules["spec"] == yaml.safe_load(wanted.pop("prometheusrule.yaml"))["spec"]
    assert list(wanted) == ["alerts.yaml"]


def test_kubectl_can_apply_every_object(installed: list[dict[str, Any]]) -> None:
    assert max(len(yaml.safe_dump(one)) for one in installed) < APPLIED


def test_everything_goes_to_one_namespace(installed: list[dict[str, Any]]) -> None:
    assert {one["metadata"]["namespace"] for one in installed} == {"orchestrator"}
    assert {one["kind"] for one in installed} == {"ConfigMap", "PodMonitor", "PrometheusRule"}


# -- the variable Namespace at All, with two installations

TWO = {
    # Each installation has two operators that export the same, and `shop` is the larger and the worse one.
    'orchestrator_executions_running{namespace="shop",pod="a",engine="v2"}': "7x20",
    'orchestrator_executions_running{namespace="shop",pod="b",engine="v2"}': "7x20",
    'orchestrator_executions_running{namespace="other",pod="a",engine="v2"}': "2x20",
    'orchestrator_executions_long_running{namespace="shop",pod="a",engine="v2"}': "4x20",
    'orchestrator_executions_long_running{namespace="other",pod="a",engine="v2"}': "1x20",
    'orchestrator_executions_stalled{namespace="shop",pod="a",engine="v1"}': "3x20",
    'orchestrator_executions_stalled{namespace="other",pod="a",engine="v1"}': "1x20",
    'orchestrator_queue_oldest_seconds{namespace="shop",pod="a"}': "90x20",
    'orchestrator_queue_oldest_seconds{namespace="other",pod="a"}': "1x20",
    # Ten minutes in: `shop` was stuck after 60 s, and its other operator waits and never did anything.
    'orchestrator_resync_timestamp_seconds{namespace="shop",pod="a"}': "60x20",
    'orchestrator_resync_timestamp_seconds{namespace="shop",pod="b"}': "0x20",
    'orchestrator_resync_timestamp_seconds{namespace="other",pod="a"}': "0+60x20",
    'orchestrator_watch_heard_timestamp_seconds{namespace="shop",pod="a",resource="executions"}': "120x20",
    'orchestrator_watch_heard_timestamp_seconds{namespace="shop",pod="a",resource="workflows"}': "60x20",
    'orchestrator_watch_heard_timestamp_seconds{namespace="other",pod="a",resource="executions"}': "0+60x20",
    'orchestrator_operator_leader{namespace="shop",pod="a"}': "0x20",
    'orchestrator_operator_leader{namespace="other",pod="a"}': "1x20",
    'orchestrator_flag_percent{namespace="shop",pod="a"}': "5x20",
    'orchestrator_flag_percent{namespace="other",pod="a"}': "100x20",
    'orchestrator_rollout_percent{namespace="shop",pod="a",rollout="shop/v2"}': "5x20",
    'orchestrator_rollout_percent{namespace="other",pod="a",rollout="other/v2"}': "100x20",
    'orchestrator_rollout_phase{namespace="shop",pod="a",rollout="shop/v2",phase="Held"}': "1x20",
    'orchestrator_rollout_stage{namespace="shop",pod="a",rollout="shop/v2"}': "2x20",
    'orchestrator_rollout_stage{namespace="shop",pod="b",rollout="shop/v2"}': "2x20",
    'orchestrator_rollout_stage{namespace="other",pod="a",rollout="other/v2"}': "4x20",
    'orchestrator_rollout_stage_info{namespace="shop",pod="a",rollout="shop/v2",stage="week-2"}': "1x20",
    'orchestrator_rollout_stage_info{namespace="shop",pod="b",rollout="shop/v2",stage="week-2"}': "1x20",
    'orchestrator_rollout_stage_info{namespace="other",pod="a",rollout="other/v2",stage="all"}': "1x20",
}
SHOWN = [
    ("Running", "A", {'{engine="v2"}': 9}),
    ("Over 10 minutes", "A", {'{engine="v2"}': 5}),
    ("Stalled", "A", {'{engine="v1"}': 4}),
    ("Long-running and stalled", "A", {'{engine="v2"}': 5}),
    ("Long-running and stalled", "B", {'{engine="v1"}': 4}),
    ("Running, by engine", "A", {'{engine="v2"}': 9}),
    ("Oldest in the queue", "A", {"{}": 90}),
    ("Last resync", "A", {"{}": 540}),
    ("Watch last heard", "A", {"{}": 480}),
    ("Watch and resync age", "A", {'{resource="executions"}': 480, '{resource="workflows"}': 540}),
    ("Watch and resync age", "B", {"{}": 540}),
    ("Leaders", "A", {"{}": 0}),
    ("V2 gets", "A", {'{rollout="shop/v2"}': 5, '{rollout="other/v2"}': 100}),
    ("V2 gets", "B", {'{namespace="shop"}': 5, '{namespace="other"}': 100}),
    ("Share of V2", "B", {'{namespace="shop"}': 5, '{namespace="other"}': 100}),
    ("Phase and stage", "A", {'{rollout="shop/v2",phase="Held"}': 1}),
    (
        *("Phase and stage", "B"),
        {'{rollout="shop/v2",place="2",stage="week-2"}': 1, '{rollout="other/v2",place="4",stage="all"}': 1},
    ),
]


def test_panels_tell_the_sum_or_the_worst_of_several_installations(tools: Mapping[str, Path], tmp_path: Path) -> None:
    told(tools, tmp_path, TWO, [(boards.expression(title, letter), wanted) for title, letter, wanted in SHOWN])


def test_the_share_seen_on_v2_counts_what_grew_across_a_failover(tools: Mapping[str, Path], tmp_path: Path) -> None:
    """One operator ends and another goes on with what stands in the store: all that V2 got falls in between."""
    labels = 'namespace="shop",criterion="starts",assignment="execution"'
    counted = "orchestrator_cohort_outcomes_total"
    series = {
        f'{counted}{{{labels},engine="v1",pod="a"}}': "100+10x5 stale",
        f'{counted}{{{labels},engine="v1",pod="b"}}': "_x6 160+10x20",
        f'{counted}{{{labels},engine="v2",pod="a"}}': "100x5 stale",
        f'{counted}{{{labels},engine="v2",pod="b"}}': "_x6 160x20",  # 60 more, all while nobody exported
    }
    # In four minutes V1 got 40 and V2 got 60.
    asked = boards.interpolated(boards.expression("Share of V2", "C"), ".*", window="4m")
    told(tools, tmp_path, series, [(f"round({asked})", {"{}": 60})], at="7m")


def told(
    tools: Mapping[str, Path],
    folder: Path,
    series: Mapping[str, str],
    asked: list[tuple[str, dict[str, int]]],
    at: str = "10m",
) -> None:
    """AssertionError with promtool's words if a query's answer is another one than that."""
    looks = [
        {
            "expr": boards.interpolated(expression, ".*"),
            "eval_time": at,
            "exp_samples": [{"labels": labels, "value": value} for labels, value in wanted.items()],
        }
        for expression, wanted in asked
    ]
    loaded = [{"series": name.replace("{", '{job="operator",', 1), "values": values} for name, values in series.items()]
    case = {"interval": "1m", "input_series": loaded, "promql_expr_test": looks}
    (folder / "case.yaml").write_text(yaml.safe_dump({"tests": [case]}))
    run(tools["promtool"], "test", "rules", folder / "case.yaml")

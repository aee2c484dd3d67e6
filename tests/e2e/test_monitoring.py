"""The alerts by promtool, and what deploy/monitoring would install. No control plane is started for these."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from orchestrator_operator.local import Toolbox

from dashboards.alerts import alerts
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


def test_kubectl_can_apply_every_object(installed: list[dict[str, Any]]) -> None:
    assert max(len(yaml.safe_dump(one)) for one in installed) < APPLIED


def test_everything_goes_to_one_namespace(installed: list[dict[str, Any]]) -> None:
    assert {one["metadata"]["namespace"] for one in installed} == {"orchestrator"}
    assert {one["kind"] for one in installed} == {"ConfigMap", "PodMonitor", "PrometheusRule"}

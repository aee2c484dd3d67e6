"""Recorded history of a real Prometheus is judged as the same counts from a file are."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from orchestrator_operator.local import Toolbox

from tests.support.polling import eventually
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e

START = datetime(2026, 3, 1, tzinfo=UTC)
HOURS, SCRAPE = 6, timedelta(minutes=2)
AWAY = (timedelta(hours=2, minutes=50), timedelta(hours=4, minutes=1))  # Prometheus scraped nothing
FAILOVER = timedelta(hours=4, minutes=30)  # another pod exports from then on
HOURLY = {("v1", "bad"): 9, ("v1", "good"): 941, ("v2", "bad"): 2, ("v2", "good"): 48}
SPEC = """\
apiVersion: orchestrator.dev/v1alpha1
kind: EngineRollout
metadata: {name: v2}
spec:
  stages:
    - {name: one, percent: 5, duration: 4h}
    - {name: two, percent: 100, duration: 1h}
  analysis: {ages: [10m], restart: 2h, underpowered: Hold, extend: 1h}
  criteria:
    - {name: failures, type: comparison, preset: failures}
"""


def openmetrics() -> str:
    """The counters as they were scraped: each grows evenly through each hour."""
    lines = ["# TYPE orchestrator_cohort_outcomes counter"]
    for pod, since, until in (("a", timedelta(0), FAILOVER), ("b", FAILOVER, timedelta(hours=HOURS, minutes=1))):
        for (engine, outcome), hourly in HOURLY.items():
            labels = {"engine": engine, "outcome": outcome, "criterion": "failures", "age": "10m", "percent": "5"}
            labels |= {"attempt": "0000-1", "assignment": "execution", "pod": pod, "instance": f"{pod}:8080"}
            text = ",".join(f'{name}="{value}"' for name, value in labels.items())
            at = since
            while at < until:
                if not AWAY[0] <= at < AWAY[1]:
                    count = int(hourly * (at / timedelta(hours=1)))
                    lines.append(f"orchestrator_cohort_outcomes_total{{{text}}} {count} {(START + at).timestamp()}")
                at += SCRAPE
    return "\n".join([*lines, "# EOF", ""])


@contextmanager
def prometheus(folder: Path) -> Iterator[str]:
    """A real one that finds this history in its own files."""
    found = Toolbox().get()
    history, data, config = folder / "history.txt", folder / "data", folder / "prometheus.yml"
    history.write_text(openmetrics(), encoding="utf-8")
    config.write_text("{}", encoding="utf-8")
    blocks = [str(found["promtool"].path), "tsdb", "create-blocks-from", "openmetrics", str(history), str(data)]
    subprocess.run(blocks, check=True, capture_output=True)
    url = f"http://127.0.0.1:{free_port()}"
    options = {
        "config.file": config,
        "storage.tsdb.path": data,
        "storage.tsdb.retention.time": "50y",
        "web.listen-address": url.removeprefix("http://"),
    }
    command = [str(found["prometheus"].path), *(f"--{name}={value}" for name, value in options.items())]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            eventually(lambda: ready(url), "Prometheus is ready")
            yield url
        finally:
            process.terminate()


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).is_success
    except httpx.TransportError:
        return False


def simulate(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    (folder / "rollout.yaml").write_text(SPEC, encoding="utf-8")
    command = [sys.executable, "-m", "orchestrator.cli.main", "rollout", "simulate", str(folder / "rollout.yaml")]
    done = subprocess.run(
        [*command, *arguments, "--output", "json"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return rows


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("history")
    until = (START + timedelta(hours=HOURS)).isoformat()
    with prometheus(folder) as url:
        return simulate(folder, "--prometheus", url, "--since", START.isoformat(), "--until", until)


def test_each_hour_is_a_row_with_what_was_counted_in_it(recorded: list[dict[str, Any]]) -> None:
    grown = [row["observed"]["n2"] for row in recorded]
    assert grown == [50, 50, None, None, 150, 50]  # what could not be read comes with the hour after it


def test_an_hour_at_whose_end_prometheus_was_away_is_blind(recorded: list[dict[str, Any]]) -> None:
    assert [row["verdict"] for row in recorded if row["observed"]["n2"] is None] == ["Blind", "Blind"]


def test_the_figures_are_those_of_the_same_counts_from_a_file(recorded: list[dict[str, Any]], tmp_path: Path) -> None:
    lines = ["start,criterion,age,percent,n1,k1,n2,k2"]
    for row in recorded:
        counts = (row["observed"][name] for name in ("n1", "k1", "n2", "k2"))
        shown = ",".join("" if count is None else str(count) for count in counts)
        lines.append(f"{row['start']},{row['criterion']},{row['age']},{row['observed']['percent']:g},{shown}")
    (tmp_path / "totals.csv").write_text("\n".join(lines), encoding="utf-8")
    again = simulate(tmp_path, "--data", str(tmp_path / "totals.csv"))
    assert [row | {"line": 0} for row in again] == recorded


def test_a_failover_counts_nothing_twice(recorded: list[dict[str, Any]]) -> None:
    assert recorded[-1]["totals"] == [{"percent": 5.0, "n1": 950 * HOURS, "k1": 9 * HOURS, "n2": 300, "k2": 2 * HOURS}]

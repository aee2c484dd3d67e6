"""docs/rollout-evidence.md keeps its word: its own code, which needs nothing of ours, finds our figures."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parents[4] / "docs"
TOTALS = DOCS / "samples" / "totals.csv"


@pytest.fixture(scope="module")
def ours() -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "orchestrator.cli.main", "rollout", "simulate"]
    command += [str(DOCS / "samples" / "rollout.yaml"), "--data", str(TOTALS), "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return rows


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """What the page's code prints, run without any package."""
    page = (DOCS / "rollout-evidence.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    script = tmp_path_factory.mktemp("page") / "check.py"
    script.write_text(code, encoding="utf-8")
    command = [sys.executable, "-I", "-S", str(script), str(TOTALS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def test_it_speaks_of_the_same_rows(ours: list[dict[str, Any]], theirs: list[list[str]]) -> None:
    assert [[row["start"], row["criterion"], row["age"]] for row in ours] == [line[:3] for line in theirs]


@pytest.mark.parametrize(
    ("field", "column"),
    [("logEvidenceBadNoRestarts", 3), ("logEvidenceBad", 4), ("logEvidence", 5), ("logEvidenceJudged", 6)],
)
def test_it_finds_the_same_evidence(
    ours: list[dict[str, Any]], theirs: list[list[str]], field: str, column: int
) -> None:
    assert [row[field] for row in ours] == pytest.approx([float(line[column]) for line in theirs], rel=1e-9, abs=1e-9)


def test_the_sample_ends_in_a_rollback(ours: list[dict[str, Any]]) -> None:
    assert "RollBack" in [row["action"] for row in ours]
    assert ours[-1]["phase"] == "RolledBack"

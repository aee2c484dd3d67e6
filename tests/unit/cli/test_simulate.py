"""`orchestrator rollout simulate`: what it prints, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Answer, Shell

SPEC = """\
apiVersion: orchestrator.dev/v1alpha1
kind: EngineRollout
metadata: {name: v2}
spec:
  stages:
    - {name: one, percent: 5, duration: 1d}
    - {name: two, percent: 100, duration: 1d}
  analysis: {ages: [1m, 10m]}
  criteria:
    - {name: failures, type: comparison, preset: failures}
    - {name: stalled, type: guardrail, query: 'up', max: 0}
"""
TOTALS = """\
start,criterion,age,percent,n1,k1,n2,k2
2026-03-01T00:00:00Z,failures,10m,5,950,9,50,1
2026-03-01T01:00:00Z,failures,10m,5,950,9,50,45
2026-03-01T02:00:00Z,failures,10m,5,950,8,50,1
"""


@pytest.fixture
def spec(shell: Shell) -> Path:
    return shell.write("rollout.yaml", SPEC)


@pytest.fixture
def told(shell: Shell, spec: Path) -> Answer:
    answer = shell("rollout", "simulate", spec, "--data", shell.write("totals.csv", TOTALS), "--output", "json")
    assert answer.code == 0, answer.err
    return answer


def column(told: Answer, name: str) -> list[Any]:
    return [row[name] for row in told.json()["rows"]]


def test_each_row_has_its_verdict_its_percent_and_its_action(told: Answer) -> None:
    assert column(told, "verdict") == ["Inconclusive", "Fail", "Fail"]
    assert column(told, "percent") == [5.0, 0.0, 0.0]
    assert column(told, "action") == ["Start", "RollBack", "None"]


def test_each_row_has_the_evidence_as_numbers(told: Answer) -> None:
    for name in ("logEvidenceBadNoRestarts", "logEvidenceBad", "logEvidence", "logEvidenceJudged", "logThreshold"):
        assert all(isinstance(number, float) for number in column(told, name))
    assert column(told, "logEvidenceJudged")[1] > column(told, "logThreshold")[1]


def test_the_end_is_told(told: Answer) -> None:
    assert told.json()["end"]["phase"] == "RolledBack"


def test_what_the_data_say_nothing_of_is_noted_on_standard_error(told: Answer) -> None:
    assert "no row of failures at 1m" in told.err
    assert "the guardrails, which are left out: stalled" in told.err


def test_the_table_has_a_line_for_each_row_and_a_sentence_for_each_decision(shell: Shell, spec: Path) -> None:
    answer = shell("rollout", "simulate", spec, "--data", shell.write("totals.csv", TOTALS))
    lines = answer.out.splitlines()
    assert sum(line.startswith("2026-03-01T0") and "failures" in line and "/950" in line for line in lines) == 3
    assert any("RollBack (CriterionFailed): failures: V2 is worse than V1" in line for line in lines)


def test_a_bad_row_is_told_with_its_line_and_its_field(shell: Shell, spec: Path) -> None:
    data = shell.write("totals.csv", TOTALS.replace("50,45", "50,51"))
    answer = shell("rollout", "simulate", spec, "--data", data)
    assert (answer.code, answer.out) == (2, "")
    assert f"error: {data}:3: k2: 51 bad executions of 50 (n2)" in answer.err


def test_a_file_that_is_not_there_is_told(shell: Shell, spec: Path) -> None:
    answer = shell("rollout", "simulate", spec, "--data", "nowhere.csv")
    assert (answer.code, "cannot read nowhere.csv: No such file" in answer.err) == (2, True)


def test_a_resource_of_another_kind_is_told(shell: Shell) -> None:
    workflow = shell.write("workflow.yaml", SPEC.replace("EngineRollout", "Workflow"))
    answer = shell("rollout", "simulate", workflow, "--worlds")
    assert (answer.code, "kind: must be EngineRollout, not 'Workflow'" in answer.err) == (2, True)


def test_a_spec_that_cannot_be_acted_on_is_told_with_its_field(shell: Shell) -> None:
    wrong = shell.write("wrong.yaml", SPEC.replace("percent: 100", "percent: 4"))
    answer = shell("rollout", "simulate", wrong, "--worlds")
    assert answer.code == 2
    assert "spec.stages[1].percent" in answer.err


@pytest.mark.parametrize("given", [(), ("--worlds", "--prometheus", "http://127.0.0.1:9")])
def test_exactly_one_source_is_needed(shell: Shell, spec: Path, given: tuple[str, ...]) -> None:
    answer = shell("rollout", "simulate", spec, *given)
    assert (answer.code, "say one of --data FILE" in answer.err) == (2, True)


def test_a_prometheus_that_does_not_answer_is_told(shell: Shell, spec: Path) -> None:
    answer = shell("rollout", "simulate", spec, "--prometheus", "http://127.0.0.1:9", "--since", "2h")
    assert (answer.code, "does not answer" in answer.err) == (1, True)


@pytest.mark.parametrize("since", ["tomorrow", "2026-03-01T00:00:00", "2099-01-01T00:00:00Z"])
def test_a_moment_that_cannot_be_meant_is_told(shell: Shell, spec: Path, since: str) -> None:
    answer = shell("rollout", "simulate", spec, "--prometheus", "http://127.0.0.1:9", "--since", since)
    assert (answer.code, "--since" in answer.err) == (2, True)


def test_worlds_predict_the_spec_s_own_schedule(shell: Shell, spec: Path) -> None:
    arguments = ("--worlds", "--runs", "20", "--load", "2000", "--base-rate", "0.02", "--output", "json")
    told = shell("rollout", "simulate", spec, *arguments).json()
    assert told["falseRollbacks"]["runs"] == 20
    assert {"falseHolds", "hoursToAll", "healthy"} <= set(told)
    assert [row["times"] for row in told["harmful"]] == [2.0, 5.0]
    assert told["harmful"][1]["hoursToRollBack"]["median"] < 12


def test_worlds_say_it_in_sentences_and_their_progress_on_standard_error(shell: Shell, spec: Path) -> None:
    answer = shell("rollout", "simulate", spec, "--worlds", "--runs", "5")
    assert "a healthy V2 is rolled back in" in answer.out
    assert "a V2 that fails x5 is rolled back in" in answer.out
    assert "a V2 that fails x2: simulated 5 times" in answer.err


def test_v1_is_compared_with_itself_in_its_own_history(shell: Shell, spec: Path) -> None:
    hours = [f"2026-03-{1 + hour // 24:02}T{hour % 24:02}:00:00Z" for hour in range(48)]
    rows = [f"{start},failures,10m,0,2000,{60 if start.endswith('T05:00:00Z') else 20},0,0" for start in hours]
    data = shell.write("v1.csv", "\n".join(["start,criterion,age,percent,n1,k1,n2,k2", *rows]))
    given = ("--data", data, "--v1-against-v1", "--runs", "20", "--output", "json")
    told = shell("rollout", "simulate", spec, *given).json()
    assert told["load"] == 2000
    assert told["falseRollbacks"]["runs"] == 20
    assert told["harmful"][1]["rolledBack"]["count"] == 20


def test_v1_against_v1_needs_a_history(shell: Shell, spec: Path) -> None:
    answer = shell("rollout", "simulate", spec, "--worlds", "--v1-against-v1")
    assert (answer.code, "--v1-against-v1: needs a history" in answer.err) == (2, True)

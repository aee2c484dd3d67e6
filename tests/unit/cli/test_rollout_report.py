"""`orchestrator rollout report`: from a file, from a simulation, out of the store; and what it says when it cannot."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.cli import rollout_report
from orchestrator_operator.rollout.log import export

from tests.support.recorded_rollout import recorded
from tests.support.reports import SIMULATED

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.store import Store
    from tests.unit.cli.conftest import Shell


def log(shell: Shell) -> Path:
    """An export of the first week."""
    return shell.write("log.jsonl", "\n".join(export.lines(recorded()[:50])) + "\n")


def fill(shell: Shell) -> dict[str, Any]:
    """The store with a few rows, and the resource that they are about."""

    async def append(store: Store) -> None:
        for row in recorded()[:5]:
            await store.append_decision(row)

    shell.ask(append)
    return {"metadata": {"namespace": "shop", "name": "v2", "uid": recorded()[0].rollout}}


def test_an_exported_log_becomes_a_page(shell: Shell) -> None:
    answer = shell("rollout", "report", "--file", log(shell), "-o", shell.folder / "r.html")
    assert answer.code == 0, answer.err
    assert "shop/v2, Progressing; 4 decisions, 50 looks" in answer.out
    assert (shell.folder / "r.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert {path.name for path in shell.folder.iterdir()} == {"log.jsonl", "r.html"}


def test_a_simulation_becomes_a_page_on_standard_output(shell: Shell) -> None:
    answer = shell(
        "rollout", "report", "--simulation", shell.write("s.json", json.dumps({"rows": SIMULATED})), "-o", "-"
    )
    assert answer.code == 0, answer.err
    assert answer.out.startswith("<!DOCTYPE html>")
    assert answer.out.endswith("</html>\n")


def test_what_simulate_prints_can_be_drawn(shell: Shell) -> None:
    spec = {
        "stages": [{"name": "one", "percent": 5, "duration": "1d"}, {"name": "all", "percent": 100, "duration": "1d"}],
        "analysis": {"ages": ["10m", "1h"]},
        "criteria": [{"name": "failures", "type": "comparison", "preset": "failures"}],
    }
    resource = {"apiVersion": "orchestrator.dev/v1alpha1", "kind": "EngineRollout", "metadata": {"name": "v2"}}
    counts = ("950,10,50,2", "950,9,50,0", ",,,", "950,8,50,40")
    lines = (
        f"2026-03-01T0{hour}:00:00Z,failures,{age},5,{counted}"
        for hour, counted in enumerate(counts)
        for age in ("10m", "1h")
    )
    data = shell.write("totals.csv", "\n".join(["start,criterion,age,percent,n1,k1,n2,k2", *lines, ""]))
    document = shell.write("v2.json", json.dumps(resource | {"spec": spec}))
    printed = shell("rollout", "simulate", document, "--data", data, "--output", "json")
    assert printed.code == 0, printed.err
    answer = shell(
        "rollout", "report", "--simulation", shell.write("s.json", printed.out), "-o", shell.folder / "r.html"
    )
    assert answer.code == 0, answer.err
    drawn = (shell.folder / "r.html").read_text(encoding="utf-8")
    assert "Rolled back" in drawn
    assert 'class="blind"' in drawn


def test_a_rollout_that_is_gone_is_drawn_out_of_the_store(shell: Shell) -> None:
    fill(shell)
    where = ("--uid", recorded()[0].rollout, "--database", shell.database)
    answer = shell("rollout", "report", "v2", *where, "-o", shell.folder / "r.html")
    assert answer.code == 0, answer.err
    assert "5 looks" in answer.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name one of"),
        (("v2", "--file", "x"), "name one of"),
        (("--file", "nowhere.jsonl"), "nowhere.jsonl: cannot be read: No such file"),
        (("--simulation", "{broken}"), "not JSON"),
        (("--file", "{broken}"), "not a line that"),
        (("--file", "{log}", "--attempt", "7"), "no row of attempt 7"),
        (("--file", "{log}", "-o", "no/such/folder/r.html"), "cannot be written"),
    ],
)
def test_what_is_wrong_is_said(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    files = {"broken": shell.write("broken", "{"), "log": log(shell)}
    answer = shell("rollout", "report", *(text.format(**files) for text in arguments))
    assert answer.code == 2
    assert said in answer.err


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", "▲"), ("ascii", "^")])
def test_the_status_has_a_chart_that_the_terminal_can_write(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, encoding: str, mark: str
) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        patch.setenv("COLUMNS", "60")
        rollout_report.print_chart(fill(shell), str(shell.database))
    terminal.seek(0)
    lines = terminal.read().splitlines()
    assert mark in lines[6]
    assert "\x1b" not in "".join(lines)  # no colours on a pipe
    assert max(map(len, lines)) <= 60


def test_a_status_without_a_database_has_no_chart(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    rollout_report.print_chart(fill(shell), None)
    assert capsys.readouterr() == ("", "")


def test_a_chart_that_cannot_be_drawn_is_no_error(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    body = {"metadata": {"namespace": "shop", "name": "v2", "uid": "unknown"}}
    rollout_report.print_chart(body, str(shell.database))
    assert "no chart: " in capsys.readouterr().err

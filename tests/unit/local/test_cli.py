from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from orchestrator_operator.cli.local import app
from orchestrator_operator.local import catalogue
from typer.testing import CliRunner

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_CACHE", str(tmp_path))
    for variable in (catalogue.KUBERNETES_ASSETS, catalogue.PROMETHEUS_ASSETS):
        monkeypatch.delenv(variable, raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_status_of_nothing_is_down(tmp_path: Path) -> None:
    result = run("status")
    assert (result.exit_code, "orchestrator local up" in result.stdout) == (3, True)
    assert not list(tmp_path.iterdir())


def test_status_is_json_for_programs() -> None:
    assert json.loads(run("status", "--output", "json").stdout) == {"name": "default", "up": False, "parts": []}


def test_down_of_nothing_is_done(tmp_path: Path) -> None:
    result = run("down")
    assert (result.exit_code, "was not up" in result.stdout) == (0, True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", "--scrape", "nonsense"], "JOB=HOST:PORT"),
        (["up", "--interval", "0s"], "no interval"),
        (["up", "--interval", "soon"], "not a duration"),
        (["up", "--name", "../elsewhere"], "lower-case"),
    ],
)
def test_bad_options_are_refused_before_anything_starts(arguments: list[str], said: str, tmp_path: Path) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert not list(tmp_path.iterdir())


def test_a_tool_that_cannot_be_had_is_an_error_in_words() -> None:
    result = run("tools", "--from", "cache")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: etcd ")


@pytest.mark.parametrize("command", ["up", "down", "status", "tools"])
def test_help_has_examples(command: str) -> None:
    assert f"orchestrator local {command}\n" in run(command, "--help").stdout

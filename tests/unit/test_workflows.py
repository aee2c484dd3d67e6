"""The workflows of .github: what they rely on in this repository, since nothing here runs them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS: dict[str, dict[Any, Any]] = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
}


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in WORKFLOWS[name]["jobs"].values() for step in job["steps"]]


def commands(name: str) -> list[str]:
    return [line.strip() for step in steps(name) for line in step.get("run", "").splitlines()]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_what_it_makes_can_be_made(name: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    made = [line.split()[1] for line in commands(name) if line.startswith("make ")]
    assert made
    assert set(made) <= set(targets)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_it_may_do_nothing_that_it_does_not_name(name: str) -> None:
    assert WORKFLOWS[name]["permissions"] in ({}, {"contents": "read"})


def test_a_release_is_tested_and_audited_before_anything_of_it_is_published() -> None:
    told = commands("release")
    published = next(n for n, line in enumerate(told) if line.startswith("docker push"))
    assert {"make test", "make kind-test", "make audit"} <= set(told[:published])


def test_a_release_is_tested_on_a_clone_that_has_the_release_before() -> None:
    """tests/machine/test_previous_release.py and tests/unit/test_crd_changes.py are skipped on a shallow one."""
    (checkout,) = [step for step in steps("release") if step.get("uses", "").startswith("actions/checkout@")]
    assert checkout["with"]["fetch-depth"] == 0


def test_the_locked_packages_are_audited_each_week_and_when_they_change() -> None:
    on = WORKFLOWS["audit"][True]  # YAML takes the word `on` for a boolean
    assert on["schedule"]
    assert "uv.lock" in on["push"]["paths"]
    assert "uv.lock" in on["pull_request"]["paths"]
    assert "make audit" in commands("audit")

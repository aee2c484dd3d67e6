"""The published tables say what was scored."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from orchestrator_operator.rollout.simulation.score import factor_of

from tests.benchmarks.rollout import our_scores, our_tables, our_worlds
from tests.benchmarks.rollout.our_worlds import Setting


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    """Two worlds of the benchmark, few runs and coarse looks."""
    spec = our_worlds.spec()
    null, harm = next(our_worlds.healthy()), next(s for s in our_worlds.harmful() if s.world.name == "1,000/h x5")
    rows = [our_scores.one(spec, replace(item, step=timedelta(hours=6)), 10, 1) for item in (null, harm)]
    handful = [{"percent": 5, "median": 3, "p99": 5}]
    return {"seed": 1, "machine": {"commit": "abc"}, "rows": rows, "handful": handful}


def test_every_world_that_is_checked_is_scored() -> None:
    names = {setting.world.name for setting in (*our_worlds.healthy(), *our_worlds.harmful())}
    assert set(our_scores.CHECKED) <= names


def test_no_two_worlds_have_one_name() -> None:
    names = [setting.world.name for setting in (*our_worlds.healthy(), *our_worlds.harmful())]
    assert len(names) == len(set(names))


def test_a_healthy_world_is_a_healthy_one() -> None:
    assert all(setting.world.harm is None and setting.group == "null" for setting in our_worlds.healthy())


def test_the_limit_stands_beside_the_delay(result: dict[str, Any]) -> None:
    row = result["rows"][1]
    assert row["ratio"] == pytest.approx(row["hoursToRollBack"]["median"] / row["limitHours"])
    assert factor_of(next(our_worlds.harmful()).world) == 1.5


def test_a_late_onset_is_measured_against_the_percent_of_its_week() -> None:
    first, late = (
        our_scores._limit(our_worlds.spec(), Setting(world, timedelta(hours=1), "onset"), 2.0, 1.0)["limitHours"]
        for world in (
            replace(our_worlds.NORMAL, harm=our_worlds.worse(2)),
            replace(our_worlds.NORMAL, harm=our_worlds.worse(2, timedelta(days=10))),
        )
    )
    assert first == pytest.approx(5 * late)


def test_every_world_has_a_line(result: dict[str, Any]) -> None:
    page = our_tables.scores(result)
    assert all(f"| {row['name']} |" in page for row in result["rows"])


def test_a_disagreement_is_not_hidden(result: dict[str, Any]) -> None:
    row = result["rows"][0] | {"differences": ["run 0 after 1 h: …"]}
    assert "**decided otherwise 1 times**" in our_tables.scores(result | {"rows": [row]})

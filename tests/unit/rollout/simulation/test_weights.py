"""The comparison of weights measures what it says, and shows all of it."""

from __future__ import annotations

from typing import Any

import pytest
from orchestrator_operator.rollout.statistics.mixture import DECIDING, EVEN

from tests.benchmarks.rollout import weights


def test_what_decides_is_among_what_was_tried_and_so_is_what_is_stated() -> None:
    tried = weights.tried()
    assert (next(iter(tried.values())), list(tried.values())[-1]) == (EVEN, DECIDING)


def test_to_weigh_all_pairs_alike_costs_delay_and_the_weights_that_decide_save_it() -> None:
    alike, decides = (weights._ratio(one, 5, 5.0, 200, 1) for one in (EVEN, DECIDING))
    assert 1 < decides < 0.9 * alike


def test_without_good_executions_a_total_outage_takes_longer() -> None:
    tried = weights.tried()
    alone, decides = (weights._outage(tried[name], 50, 400, 1) for name in ("no good executions", list(tried)[-1]))
    assert (decides["median"], decides["p99"]) <= (6, 9)
    assert alone["median"] > 9


def test_between_two_restarts_a_late_harm_is_seen_sooner_where_they_are_nearer() -> None:
    assert weights._late(DECIDING, 6, 252.0, 5.0, 40, 1) < 0.8 * weights._late(DECIDING, 24, 252.0, 5.0, 40, 1)


@pytest.fixture
def result() -> dict[str, Any]:
    row = {"name": "any", "ratios": [1.25] * 8, "outages": [{"percent": 5, "median": 3, "p99": 4}] * 4}
    late = [{"name": "24 h", "delays": [1.0, 2.0, 3.0, 4.5]}]
    return {"machine": {"commit": "abc"}, "seed": 1, "runs": 100, "coin": [1.1] * 8, "rows": [row], "late": late}


def test_every_figure_has_its_cell(result: dict[str, Any]) -> None:
    page = weights.as_table(result)
    assert page.count("1.25") == 8
    assert page.count("3 (4)") == 4
    assert "| 24 h | 1.0 | 2.0 | 3.0 | 4.5 |" in page

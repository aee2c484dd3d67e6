from __future__ import annotations

import math

import pytest

from tests.benchmarks import figures, pages


def _round(rate: float, unfinished: int = 0) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(figures.MEDIANS, rate)
    return row | {"workload": "trivial", "at_once": 1, "contender": "ours", "unfinished": unfinished}


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_the_nearest_rank(share: float, expected: int) -> None:
    assert figures.percentile(list(range(100, 0, -1)), share) == expected


def test_nothing_has_no_percentile() -> None:
    assert math.isnan(figures.percentile([], 0.5))


def test_a_summary_has_the_median_and_how_far_apart_the_rounds_lay() -> None:
    (row,) = figures.summary([_round(30.0), _round(10.0), _round(20.0)])
    rates = row["lowest_steps_per_second"], row["steps_per_second"], row["highest_steps_per_second"]
    assert rates == (10.0, 20.0, 30.0)


def test_a_round_that_failed_is_told_and_left_out() -> None:
    failed = {"workload": "trivial", "at_once": 1, "contender": "ours", "error": "no answer"}
    (row,) = figures.summary([_round(10.0), failed])
    assert (row["failed_rounds"], row["steps_per_second"]) == (1, 10.0)


def test_a_latency_of_unfinished_executions_is_a_lower_bound() -> None:
    (row,) = figures.summary([_round(10.0), _round(10.0, unfinished=1)])
    assert row["latency_is_lower_bound"]


def test_the_limit_is_the_best_number_of_clients() -> None:
    rows = [(1, 10.0), (16, 90.0), (16, 50.0), (64, 60.0), (64, 65.0)]
    best = figures.best_limit([{"clients": clients, "commits_per_second": rate} for clients, rate in rows])
    assert best == {"clients": 16, "commits_per_second": 70.0}


def test_the_published_tables_are_what_was_measured() -> None:
    page = pages.PAGE.read_text(encoding="utf-8")
    assert pages.rendered(page, pages.results()) == page, "run `make bench WHAT=page`"


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="must stand there once"):
        pages.rendered("# Benchmarks", {"size": {}})

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks import figures, pages

if TYPE_CHECKING:
    from pathlib import Path


def _round(rate: float, *, bound: bool = False) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(figures.MEDIANS, rate)
    row |= {"workload": "trivial", "at_once": 1, "contender": "ours"}
    return row | {"p50_is_lower_bound": False, "p99_is_lower_bound": bound}


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


def test_an_age_below_a_percentile_makes_it_a_lower_bound() -> None:
    assert figures.percentile_so_far([1, 2, 3], [2.5], 0.99) == (3, True)


def test_an_age_above_a_percentile_leaves_it_exact() -> None:
    assert figures.percentile_so_far([1, 2, 3], [9], 0.5) == (2, False)


def test_one_round_with_a_lower_bound_makes_the_summary_one() -> None:
    (row,) = figures.summary([_round(10.0), _round(10.0, bound=True)])
    assert (row["p50_is_lower_bound"], row["p99_is_lower_bound"]) == (False, True)


def test_the_limit_is_the_best_number_of_clients() -> None:
    rows = [(1, 10.0), (16, 90.0), (16, 50.0), (64, 60.0), (64, 65.0)]
    best = figures.best_limit([{"clients": clients, "commits_per_second": rate} for clients, rate in rows])
    assert best == {"clients": 16, "commits_per_second": 70.0}


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_the_published_tables_are_what_was_measured(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert pages.rendered(text, pages.results(page)) == text, "run `make bench WHAT=page`"


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="must stand there once"):
        pages.rendered("# Benchmarks", {"size": {}})

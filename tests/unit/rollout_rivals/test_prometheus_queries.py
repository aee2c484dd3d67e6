from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.rollout.rivals.prometheus import Answer, Measure, Queries
from tests.benchmarks.rollout.trace import DAY, FOUR_WEEKS, HOUR, Trace, coins, plan

ONE = np.zeros(1, dtype=np.intp)


def trace(n2: list[int], k2: list[int], dark: list[bool] | None = None, n1: int = 10, k1: int = 1) -> Trace:
    """One run with bins of a minute."""
    bins = len(n2)
    return Trace(
        "t",
        60.0,
        np.full(bins, 50.0),
        n1=np.full((1, bins), n1),
        k1=np.full((1, bins), k1),
        n2=np.array([n2]),
        k2=np.array([k2]),
        outage=None if dark is None else np.array([dark]),
    )


def ask(data: Trace, minutes: float, window: float = 2, measure: Measure = Measure.SUCCESS_SHARE) -> tuple[float, int]:
    values, ended = Queries(data, measure, window * 60).ask(ONE, np.array([minutes * 60]))
    return float(values[0]), int(ended[0])


def test_a_success_share_is_that_of_the_bins_in_the_window() -> None:
    assert ask(trace([10, 10, 30, 50], [10, 0, 3, 10]), minutes=3) == (pytest.approx(37 / 40), Answer.VALUE)


def test_a_bin_that_is_not_over_is_not_seen() -> None:
    assert ask(trace([10, 10, 30], [10, 0, 3]), minutes=2.9) == (pytest.approx(0.5), Answer.VALUE)


def test_the_risk_ratio_compares_the_shares_of_both() -> None:
    value, _ = ask(trace([20, 20], [6, 6]), minutes=2, measure=Measure.RISK_RATIO)
    assert value == pytest.approx(3.0)


def test_no_executions_are_not_a_number_but_a_value() -> None:
    value, ended = ask(trace([0, 0], [0, 0]), minutes=2)
    assert (np.isnan(value), ended) == (True, Answer.VALUE)


def test_failures_on_v2_alone_are_an_infinite_ratio() -> None:
    assert ask(trace([5, 5], [1, 0], k1=0), minutes=2, measure=Measure.RISK_RATIO) == (np.inf, Answer.VALUE)


def test_prometheus_does_not_answer_during_an_outage() -> None:
    _, ended = ask(trace([1, 1, 1], [0, 0, 0], dark=[False, True, False]), minutes=1.5)
    assert ended == Answer.UNREACHABLE


def test_an_outage_within_the_window_loses_nothing() -> None:
    dark = [False, False, True, False, False]
    assert ask(trace([10] * 5, [0, 0, 8, 0, 0], dark), minutes=5, window=4)[0] == pytest.approx(32 / 40)


def test_right_after_an_outage_the_window_is_empty() -> None:
    dark = [False, True, True, True, False, False]
    assert ask(trace([1] * 6, [0] * 6, dark), minutes=4.0, window=2)[1] == Answer.EMPTY


def test_an_outage_says_how_long_it_lasts_yet() -> None:
    dark = [False, True, True, False, True]
    queries = Queries(trace([1] * 5, [0] * 5, dark), Measure.SUCCESS_SHARE, 60)
    moments = np.array([30.0, 60.0, 90.0, 170.0, 180.0, 250.0])
    assert queries.away(np.zeros(6, dtype=np.intp), moments).tolist() == [0, 120, 90, 10, 0, 50]


def test_what_happened_before_the_first_scrape_in_the_window_is_lost() -> None:
    dark = [False, True, True, False, False]
    assert ask(trace([10] * 5, [0, 10, 10, 0, 5], dark), minutes=5, window=3)[0] == pytest.approx(0.5)


def test_a_window_shorter_than_a_bin_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter than a bin"):
        Queries(trace([1], [0]), Measure.SUCCESS_SHARE, 20)


# -- the traces themselves


def test_the_stages_are_read_off_the_percent() -> None:
    percent = plan(FOUR_WEEKS, HOUR)
    found = [(one.percent, one.start / DAY, one.end / DAY) for one in coins_of(percent).stages]
    assert found == [(5, 0, 7), (25, 7, 14), (50, 14, 21), (99, 21, 28)]


def coins_of(percent: np.ndarray, **changes: float) -> Trace:
    world = {"runs": 3, "per_hour": 100.0, "base": 0.01} | changes
    return coins(percent, HOUR, **world)


def test_a_stage_that_is_no_whole_number_of_bins_is_refused() -> None:
    with pytest.raises(ValueError, match="no whole number of bins"):
        plan(((5.0, 90.0),), 60.0)


def test_more_bad_executions_than_executions_are_refused() -> None:
    with pytest.raises(ValueError, match="k the bad ones"):
        trace([1], [2])


def test_the_plainest_world_has_the_shares_that_it_was_asked_for() -> None:
    world = coins(np.full(400, 25.0), HOUR, runs=50, per_hour=1000.0, base=0.02, effect=3.0, onset=200 * HOUR)
    before, after = slice(None, 200), slice(200, None)
    arms = ((world.k1, world.n1), (world.k2, world.n2))
    shares = [k[:, part].sum() / n[:, part].sum() for k, n in arms for part in (before, after)]
    assert shares == pytest.approx([0.02, 0.02, 0.02, 0.06], rel=0.02)
    assert world.n2.sum() / (world.n1.sum() + world.n2.sum()) == pytest.approx(0.25, rel=0.01)

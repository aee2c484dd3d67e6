"""From raw samples to closed bins: resets, births, gaps, changes of the percent."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_operator.rollout.model import Bin, Unreadable
from orchestrator_operator.rollout.reading.own_counters import UNITS, Raw, bins

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator_operator.rollout.reading.own_counters import Samples, Series

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SCRAPE = timedelta(seconds=15)
INTERVAL = timedelta(minutes=5)
LABELS = {"job": "shop", "instance": "10.0.0.7:8000"}


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def scraped(
    value: Callable[[float], float], first: float = -45, last: float = 3600, *, without: tuple[float, float] = (1, 0)
) -> Samples:
    """A sample every 15 s from `first` to `last` (seconds after START) of what `value` says, but for a gap."""
    moments = np.arange(first, last + 1, 15.0)
    gap = (moments > without[0]) & (moments < without[1])
    return [(START.timestamp() + moment, value(moment)) for moment in moments[~gap].tolist()]


def growing(an_hour: float, begin: float = 0.0) -> Callable[[float], float]:
    return lambda seconds: begin + an_hour * (seconds + 45) / 3600


def raw(bad: Samples | None = None, total: Samples | None = None, labels: Mapping[str, str] = LABELS) -> Raw:
    return Raw([(labels, bad)] if bad else [], [(labels, total)] if total else [])


def made(
    v1: Raw, v2: Raw, *, cuts: Sequence[datetime] = (START,), now: float = 3600, before: float = 0.0
) -> tuple[Bin, ...]:
    found = bins({"v1": v1, "v2": v2}, cuts, INTERVAL, at(now), SCRAPE, before)
    assert not isinstance(found, Unreadable), found
    return found


def unreadable(v1: Raw, v2: Raw, now: float = 3600) -> str:
    found = bins({"v1": v1, "v2": v2}, (START,), INTERVAL, at(now), SCRAPE)
    assert isinstance(found, Unreadable)
    return found.reason


SLOW = raw(scraped(growing(6)), scraped(growing(60)))  # a unit a minute: the interval closes its bins
BUSY = raw(scraped(growing(72)), scraped(growing(7200)))  # thirty units in a scrape


def total(found: Sequence[Bin]) -> tuple[float, ...]:
    return tuple(sum(getattr(item, name) for item in found) for name in ("k1", "n1", "k2", "n2"))


def test_a_quiet_counter_s_bins_close_after_the_interval() -> None:
    found = made(SLOW, SLOW)
    assert [item.end for item in found] == [at(300 * n) for n in range(1, 13)]
    assert found[0].n1 == pytest.approx(5)


def test_a_busy_counter_s_bins_close_at_thirty_units_over_both_arms() -> None:
    first = made(BUSY, SLOW)[0]
    assert first.end == at(15)
    assert first.n1 + first.n2 >= UNITS


def test_all_bins_together_are_all_that_was_counted() -> None:
    assert total(made(BUSY, SLOW)) == pytest.approx((72, 7200, 6, 60), rel=0.01)


def test_what_is_still_open_is_not_told() -> None:
    assert len(made(SLOW, SLOW, now=599)) == 1


def test_what_was_counted_before_the_first_cut_is_not_counted() -> None:
    old = raw(scraped(growing(6, begin=1e6)), scraped(growing(60, begin=1e9)))
    assert total(made(old, SLOW)) == pytest.approx((6, 60, 6, 60), rel=0.01)


def test_a_reset_counts_on_from_zero() -> None:
    after = scraped(lambda seconds: 1000 + seconds if seconds < 1800 else seconds - 1800)
    assert total(made(raw(total=after), SLOW))[1] == pytest.approx(3600, rel=0.02)


@given(st.integers(1, 200))
def test_a_counter_of_several_pods_is_the_sum_of_its_series(restart: int) -> None:
    """Two pods of 30 an hour, one of which starts again, are as good as one of 60."""
    again = scraped(lambda seconds: (seconds + 45) / 120 if seconds < restart * 15 else (seconds - restart * 15) / 120)
    pods: list[Series] = [(LABELS, scraped(growing(30))), ({**LABELS, "instance": "10.0.0.8:8000"}, again)]
    assert total(made(Raw([], pods), SLOW))[1] == pytest.approx(60, abs=0.6)


def test_a_series_born_on_a_scraped_target_counts_from_zero() -> None:
    """A counter with labels appears at its first event, and would lose it."""
    born = scraped(lambda _: 1.0, first=900)
    with_birth = Raw([({**LABELS, "reason": "fraud"}, born)], SLOW.total)
    assert total(made(with_birth, SLOW))[0] == 1


def test_a_new_target_counts_from_its_first_sample() -> None:
    """Nobody knows how old it is."""
    found = Raw([], [*SLOW.total, ({**LABELS, "instance": "10.0.0.9:8000"}, scraped(lambda _: 5e6, first=900))])
    assert total(made(found, SLOW))[1] == pytest.approx(60, rel=0.01)


def test_what_is_seen_first_because_reading_began_there_counts_from_its_first_sample() -> None:
    """Two series of one target need not be sampled together: a later first sample alone is no birth."""
    late = Raw([], [(LABELS, scraped(growing(60), first=-15)), ({**LABELS, "route": "b"}, scraped(lambda _: 5e6, 15))])
    assert total(made(late, raw(total=scraped(growing(60), first=-15))))[1] == pytest.approx(60, rel=0.01)


def test_a_change_of_the_percent_cuts_a_bin() -> None:
    found = made(SLOW, SLOW, cuts=(START, at(400)))
    assert [item.end for item in found][:3] == [at(300), at(400), at(700)]


def test_a_gap_makes_one_bin_longer_and_loses_nothing() -> None:
    gap = raw(scraped(growing(6), without=(610, 1790)), scraped(growing(60), without=(610, 1790)))
    found = made(gap, SLOW)
    assert max(item.n1 for item in found) == pytest.approx(20, abs=1)
    assert total(found) == pytest.approx((6, 60, 6, 60), rel=0.01)


def test_what_lies_across_a_gap_and_a_change_of_the_percent_is_left_out() -> None:
    gap = raw(scraped(growing(6), without=(610, 1790)), scraped(growing(60), without=(610, 1790)))
    found = made(gap, SLOW, cuts=(START, at(1200)))
    assert total(found)[1] == pytest.approx(40, abs=1)
    assert not [item for item in found if item.end and at(630) < item.end <= at(1800)]


def test_an_idle_interval_makes_an_empty_bin() -> None:
    idle = raw(total=scraped(lambda _: 7.0))
    assert made(idle, idle)[0] == Bin(0, 0, 0, 0, at(300))


def test_v2_without_a_series_had_no_traffic_yet() -> None:
    assert total(made(SLOW, raw()))[2:] == (0, 0)


def test_after_many_units_a_bin_holds_a_thousandth_of_them() -> None:
    first = made(BUSY, SLOW, before=100_000)[0]
    assert 100 <= first.n1 + first.n2 < 140


@given(st.integers(1, 11), st.sampled_from([60.0, 7200.0]))
def test_reading_on_from_a_closed_bin_gives_the_same_bins(kept: int, load: float) -> None:
    v1, v2 = raw(scraped(growing(load / 50)), scraped(growing(load))), SLOW
    whole = made(v1, v2)
    edge = whole[kept - 1].end
    assert edge is not None
    before = sum(item.n1 + item.n2 for item in whole[:kept])
    since = edge.timestamp() - 3 * SCRAPE.total_seconds()

    def later(found: Raw) -> Raw:
        cut = [
            [(labels, [sample for sample in samples if sample[0] >= since]) for labels, samples in counter]
            for counter in (found.bad, found.total)
        ]
        return Raw(*cut)

    again = made(later(v1), later(v2), cuts=(edge,), before=before)
    assert [item.end for item in again] == [item.end for item in whole[kept:]]
    assert total(again) == pytest.approx(total(whole[kept:]), abs=1e-6)


@pytest.mark.parametrize(
    ("v1", "v2", "reason"),
    [
        (raw(), SLOW, "NoSeries"),
        (raw(bad=SLOW.bad[0][1]), SLOW, "NoSeries"),
        (raw(total=scraped(lambda _: math.nan)), SLOW, "NotANumber"),
        (raw(total=scraped(lambda _: math.inf)), SLOW, "NotANumber"),
        (raw(total=scraped(lambda _: -1.0)), SLOW, "NotANumber"),
        (raw(total=scraped(growing(60), last=3555)), SLOW, "Stale"),
        (SLOW, raw(total=scraped(growing(60), last=3555)), "Stale"),
    ],
)
def test_what_cannot_be_understood_is_unreadable(v1: Raw, v2: Raw, reason: str) -> None:
    assert unreadable(v1, v2) == reason


def test_a_sample_two_scrapes_old_is_not_stale_yet() -> None:
    assert made(SLOW, raw(total=scraped(growing(60), last=3570)))

"""Detector B against numerical integration, and its error level where it is hardest to keep."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrator_operator.rollout.model import Bin
from orchestrator_operator.rollout.statistics import coins, evidence, normal_mixture
from orchestrator_operator.rollout.statistics.normal_mixture import Sums
from scipy import integrate, stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.05


@settings(max_examples=40)  # each integrates numerically
@given(st.floats(0, 60), st.floats(5, 500), st.sampled_from([0.05, 0.005, 0.0005]))
def test_the_evidence_is_the_mixture_over_half_normal_slopes(drift: float, variance: float, level: float) -> None:
    doubled = 2 * math.log(1 / (2 * level))
    width = math.sqrt((doubled + math.log(1 + doubled)) / 10)  # of λ: one over the square root of r
    integrand = lambda lam: math.exp(lam * drift - lam * lam * variance / 2) * 2 * stats.norm.pdf(lam, scale=width)  # noqa: E731 - a formula
    expected, _ = integrate.quad(integrand, 0, 30 * width, limit=400, points=[drift / variance])
    assert normal_mixture.log_evidence(drift, variance, level) == pytest.approx(math.log(expected), abs=1e-6)


def test_before_a_variance_of_five_events_there_is_no_evidence() -> None:
    assert normal_mixture.log_evidence([50, -50], [4.99, 4.99], LEVEL).tolist() == [0, 0]


def test_where_v2_is_better_the_evidence_against_it_is_below_one() -> None:
    assert normal_mixture.log_evidence(-20, 50, LEVEL) < 0


def run(
    rng: np.random.Generator, share: float, base: float, *, risk: float = 1.0, cluster: int = 1, runs: int = 200
) -> NDArray[np.float64]:
    """Bins of 30 units, (k₁, n₁, k₂, n₂); bad ones come in clusters of geometric size, and by a rate that goes by the
    hour of the day for both engines alike.
    """
    bins = 2000
    hour = base * np.exp(0.5 * np.sin(np.arange(bins) / 30)) / cluster
    n2 = rng.binomial(30, share, (runs, bins))
    clusters = (rng.binomial(30 - n2, hour), rng.binomial(n2, np.minimum(hour * risk, 1)))
    extra = [
        rng.negative_binomial(np.maximum(found, 1), 1 / cluster) * (found > 0) if cluster > 1 else 0
        for found in clusters
    ]
    return np.stack([clusters[0] + extra[0], 30 - n2, clusters[1] + extra[1], n2], axis=-1).astype(np.float64)


def against(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """The evidence against V2 after every bin."""
    return Sums.of(table, 1.0).log_evidence(LEVEL)


def in_favour(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """The evidence that V2 is better than 1.5 times V1, after every bin."""
    return Sums.of(table, 1.5).mirrored.log_evidence(LEVEL)


def ever(logs: NDArray[np.float64]) -> float:
    return float((logs.max(axis=-1) >= -math.log(LEVEL)).mean())


WORLDS = [(share, cluster) for share in (0.05, 0.5, 0.99) for cluster in (1, 5)]


@pytest.mark.parametrize(("share", "cluster"), WORLDS)
def test_a_healthy_v2_is_convicted_no_more_often_than_promised(share: float, cluster: int) -> None:
    table = run(np.random.default_rng(3), share, 0.1, cluster=cluster, runs=400)
    assert ever(against(table)) <= LEVEL


@pytest.mark.parametrize(("share", "cluster"), WORLDS)
def test_a_v2_at_the_margin_passes_no_more_often_than_promised(share: float, cluster: int) -> None:
    table = run(np.random.default_rng(4), share, 0.1, risk=1.5, cluster=cluster, runs=400)
    assert ever(in_favour(table)) <= LEVEL


def test_a_v2_twice_as_bad_is_convicted() -> None:
    table = run(np.random.default_rng(5), 0.05, 0.1, risk=2.0, runs=50)
    assert ever(Sums.of(table, 1.0).log_evidence(0.005)) == 1


def test_a_healthy_v2_passes() -> None:
    table = run(np.random.default_rng(6), 0.25, 0.1, runs=50)
    assert ever(in_favour(table)) == 1


@pytest.mark.parametrize("unit", [1e-3, 250.0])
def test_the_unit_of_a_counter_makes_no_difference(unit: float) -> None:
    table = run(np.random.default_rng(7), 0.25, 0.1, risk=1.5, runs=1)
    scaled = table * [unit, 1, unit, 1]
    found = against(scaled)
    assert found == pytest.approx(against(table), abs=1e-6)


def as_bins(table: NDArray[np.float64]) -> list[Bin]:
    return [Bin(*row) for row in table[0].tolist()]


def test_a_sequence_of_bins_is_the_same_evidence_as_the_end_of_its_path() -> None:
    table = run(np.random.default_rng(8), 0.25, 0.1, risk=1.5, runs=1)
    bins = as_bins(table)
    whole = math.exp(against(table)[0, -1])
    first = coins.restart_weight(0, 28)
    expected = 0.5 * whole * (1 + first) + 0.5 * (1 - first)
    assert normal_mixture.log_fail(bins, {}, 28, 1.0, LEVEL) == pytest.approx(math.log(expected))
    assert normal_mixture.log_pass(bins, 1.5, LEVEL) == pytest.approx(in_favour(table)[0, -1])


def test_a_bin_in_which_nothing_was_counted_changes_nothing() -> None:
    bins = as_bins(run(np.random.default_rng(9), 0.25, 0.1, risk=1.5, runs=1))
    idle = [*bins[:9], Bin(0, 0, 0, 0), *bins[9:]]
    assert normal_mixture.log_fail(idle, {1: 21}, 28, 1.0, LEVEL) == pytest.approx(
        normal_mixture.log_fail(bins, {1: 20}, 28, 1.0, LEVEL)
    )
    assert normal_mixture.log_pass(idle, 1.5, LEVEL) == normal_mixture.log_pass(bins, 1.5, LEVEL)


def test_a_late_regression_is_seen_through_a_long_healthy_past() -> None:
    rng = np.random.default_rng(10)
    bins = [*as_bins(run(rng, 0.25, 0.1, runs=1)), *as_bins(run(rng, 0.25, 0.1, risk=2.0, runs=1))[:150]]
    threshold = evidence.log_threshold(0.005)
    assert normal_mixture.log_fail(bins, {}, 28, 1.0, 0.005) < threshold
    assert normal_mixture.log_fail(bins, {20: 2000}, 28, 1.0, 0.005) > threshold


def test_with_restarts_a_healthy_v2_is_convicted_no_more_often_than_promised() -> None:
    """One every 72 bins, looked at as often: the mixture of paths that start afresh."""
    sums = Sums.of(run(np.random.default_rng(11), 0.5, 0.1, runs=400), 1.0)
    looks = np.arange(71, 2000, 72)
    mixed = np.exp(sums.log_evidence(LEVEL)[:, looks]) * (0.5 + 0.5 * coins.restart_weight(0, 28))
    for s in range(1, 28):
        fresh = np.ones_like(mixed)
        begun = looks >= 72 * s
        fresh[:, begun] = np.exp(sums.log_evidence(LEVEL, since=72 * s)[:, looks[begun] - 72 * s])
        mixed += 0.5 * coins.restart_weight(s, 28) * fresh
    mixed += 0.5 - 0.5 * sum(coins.restart_weight(s, 28) for s in range(28))
    assert (mixed.max(axis=-1) >= 1 / LEVEL).mean() <= LEVEL


@pytest.mark.parametrize("bins", [[], [Bin(0, 0, 0, 0)], [Bin(3, 30, 9, 30)], [Bin(0, 50, 0, 50)] * 9])
def test_what_shows_no_noise_yet_is_no_evidence(bins: list[Bin]) -> None:
    found = normal_mixture.log_fail(bins, {1: len(bins)}, 4, 1.0, LEVEL)
    assert (found, normal_mixture.log_pass(bins, 1.5, LEVEL)) == (pytest.approx(0), 0)

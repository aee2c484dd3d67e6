"""Detector B against numerical integration, and its error level where it is hardest to keep."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrator_operator.rollout import normal_mixture
from orchestrator_operator.rollout.model import Bin
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


def ever(logs: NDArray[np.float64]) -> float:
    return float((logs.max(axis=-1) >= -math.log(LEVEL)).mean())


WORLDS = [(share, cluster) for share in (0.05, 0.5, 0.99) for cluster in (1, 5)]


@pytest.mark.parametrize(("share", "cluster"), WORLDS)
def test_a_healthy_v2_is_convicted_no_more_often_than_promised(share: float, cluster: int) -> None:
    table = run(np.random.default_rng(3), share, 0.1, cluster=cluster)
    assert ever(normal_mixture.log_fail_paths(table, 1.0, LEVEL)) <= LEVEL + 3 * math.sqrt(LEVEL / len(table))


@pytest.mark.parametrize(("share", "cluster"), WORLDS)
def test_a_v2_at_the_margin_passes_no_more_often_than_promised(share: float, cluster: int) -> None:
    table = run(np.random.default_rng(4), share, 0.1, risk=1.5, cluster=cluster)
    assert ever(normal_mixture.log_pass_paths(table, 1.5, LEVEL)) <= LEVEL + 3 * math.sqrt(LEVEL / len(table))


def test_a_v2_twice_as_bad_is_convicted() -> None:
    table = run(np.random.default_rng(5), 0.05, 0.1, risk=2.0, runs=50)
    assert ever(normal_mixture.log_fail_paths(table, 1.0, 0.005)) == 1


def test_a_healthy_v2_passes() -> None:
    table = run(np.random.default_rng(6), 0.25, 0.1, runs=50)
    assert ever(normal_mixture.log_pass_paths(table, 1.5, LEVEL)) == 1


@pytest.mark.parametrize("unit", [1e-3, 250.0])
def test_the_unit_of_a_counter_makes_no_difference(unit: float) -> None:
    table = run(np.random.default_rng(7), 0.25, 0.1, risk=1.5, runs=1)
    scaled = table * [unit, 1, unit, 1]
    found = normal_mixture.log_fail_paths(scaled, 1.0, LEVEL)
    assert found == pytest.approx(normal_mixture.log_fail_paths(table, 1.0, LEVEL), abs=1e-6)


def test_a_sequence_of_bins_is_the_same_evidence_as_the_end_of_its_path() -> None:
    table = run(np.random.default_rng(8), 0.25, 0.1, risk=1.5, runs=1)
    bins = [Bin(*row) for row in table[0].tolist()]
    idle = [Bin(0, 0, 0, 0)]  # in which nothing was counted: it says nothing
    assert normal_mixture.log_fail([*bins[:9], *idle, *bins[9:]], 1.0, LEVEL) == pytest.approx(
        normal_mixture.log_fail_paths(table, 1.0, LEVEL)[0, -1]
    )
    assert normal_mixture.log_pass(bins, 1.5, LEVEL) == pytest.approx(
        normal_mixture.log_pass_paths(table, 1.5, LEVEL)[0, -1]
    )


@pytest.mark.parametrize("bins", [[], [Bin(0, 0, 0, 0)], [Bin(3, 30, 9, 30)], [Bin(0, 50, 0, 50)] * 9])
def test_what_shows_no_noise_yet_is_no_evidence(bins: list[Bin]) -> None:
    assert normal_mixture.log_fail(bins, 1.0, LEVEL) == normal_mixture.log_pass(bins, 1.5, LEVEL) == 0

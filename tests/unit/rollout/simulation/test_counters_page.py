"""The comparison of two variances measures what it says, and shows all of it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from orchestrator_operator.rollout.statistics.normal_mixture import Sums

from tests.benchmarks.rollout import counters


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_bad_units_come_at_the_rate_that_it_says_whether_in_clusters_or_not() -> None:
    for cluster in (1, 5):
        found = counters.bins(rng(), 20, 0.25, 0.05, 2.0, cluster)
        v1, v2 = found[..., 0].sum() / found[..., 1].sum(), found[..., 2].sum() / found[..., 3].sum()
        assert v2 / v1 == pytest.approx(2, rel=0.1)
        assert v1 == pytest.approx(0.05 * np.i0(0.5), rel=0.1)  # the mean of exp(½ sin)


def test_what_decides_is_the_evidence_of_the_controller() -> None:
    sums = Sums.of(counters.bins(rng(), 2, 0.25, 0.05), 1.0)
    assert np.array_equal(counters.logs(sums, 0.005)["as it is"], sums.log_evidence(0.005))


def test_the_plain_sum_convicts_a_healthy_v2_and_what_decides_does_not() -> None:
    found = counters.ever(counters.bins(rng(), 60, 0.99, 0.1, cluster=5), counters.LEVEL)
    assert found["sum of d^2"].mean() > 0.1
    assert not found["as it is"].any()


def test_every_figure_has_its_cell() -> None:
    result: dict[str, Any] = json.loads(json.dumps(counters.run(lambda _: None, runs=40)))
    page = counters.as_table(result)
    assert page.count("\n| ") == len(result["rows"]) + 2 == 9  # with the head and the rule below it
    assert "(promised: 0.5 %)" in page
    assert "(promised: 5 %)" in page

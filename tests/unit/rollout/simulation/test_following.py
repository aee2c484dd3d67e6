"""Other rules are given the same worlds, on the plan's own schedule."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from orchestrator_operator.rollout.simulation.following import Followed, follow
from orchestrator_operator.rollout.simulation.world import World, worse
from orchestrator_operator.specs.rollout import RolloutSpec, parse_rollout

HOUR = timedelta(hours=1)
CALM = World("calm", load=5000, base=0.02, incidents=0, tenant_incidents=0, batches=0, stalls=0, daily=0)
KEY = ("failures", timedelta(minutes=10))


def spec() -> RolloutSpec:
    stages = [
        {"name": "one", "percent": 10, "duration": "1d"},
        {"name": "two", "percent": 100, "holdback": 1, "duration": "1d"},
    ]
    return parse_rollout({"stages": stages})


def followed(world: World) -> Followed:
    return follow(world, spec(), KEY, runs=20, step=HOUR, seed=3, until=timedelta(days=2))


def test_the_percent_is_the_plan_s() -> None:
    assert followed(CALM).percent.tolist() == [10.0] * 24 + [99.0] * 24


def test_v2_gets_its_share_and_fails_as_v1_does() -> None:
    found = followed(CALM)
    first = slice(2, 24)
    assert found.n2[:, first].sum() / (found.n1 + found.n2)[:, first].sum() == pytest.approx(0.1, rel=0.02)
    rates = [k[:, first].sum() / n[:, first].sum() for k, n in ((found.k1, found.n1), (found.k2, found.n2))]
    assert rates == pytest.approx([0.02 * 0.85] * 2, rel=0.06)  # what fails within ten minutes


def test_a_harm_begins_at_its_onset() -> None:
    found = followed(replace(CALM, harm=worse(4, 12 * HOUR)))
    before, after = (found.k2[:, hours].sum() / found.n2[:, hours].sum() for hours in (slice(2, 12), slice(13, 24)))
    assert after / before == pytest.approx(4, rel=0.25)


def test_an_outage_of_prometheus_is_told() -> None:
    found = followed(replace(CALM, outages=84 * HOUR))
    assert 0.3 < found.blind.mean() < 0.7
    assert np.array_equal(followed(CALM).blind, np.zeros_like(found.blind))

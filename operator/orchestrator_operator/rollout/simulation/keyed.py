"""Executions that a routing key sends, in many copies of a world. Pure: all chance comes from the generator handed in.

A customer's key falls on one engine as long as the percent stands, and customers differ: a few bring most of the
traffic, and some fail more often. So no comparison judges these executions. What they still touch is what V1's last
hour looks like, since its customers change with the percent, and who has to be asked where they are many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from numpy.typing import NDArray

    from orchestrator_operator.rollout.simulation.traffic import Traffic

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


class Keyed:
    """The customers of every run, on which engine each is at every stage, and what they did so far."""

    def __init__(self, traffic: Traffic, percents: Sequence[Decimal], rng: np.random.Generator) -> None:
        world = traffic.world
        self._traffic, self._rng, self._share = traffic, rng, world.keyed
        shape = (traffic.runs, world.tenants)
        odds = np.exp(rng.normal(0.0, world.odds, shape))
        odds /= (odds * traffic.popularity).sum(axis=1, keepdims=True)
        buckets = rng.random(shape)
        stays = np.stack([buckets >= float(percent) / 100 for percent in percents], axis=1)  # (runs, stages, customers)
        self._on_v1: Floats = (stays * traffic.popularity).sum(axis=2)  # of their executions
        self._failing_on_v1: Floats = (stays * (odds * traffic.popularity)[:, None, :]).sum(axis=2)  # of their failures
        self.counts: Ints = np.zeros((traffic.runs, len(percents)), dtype=np.int64)  # on both engines, by stage

    def count(self, step: int, stage: Ints, failing: Floats) -> tuple[Ints, Ints]:
        """One interval more: V1's bad ones and all of V1's, (runs,) each; `failing` is V1's bad share in general."""
        rows = np.arange(len(stage))
        expected = self._traffic.expected(step) * self._share
        everything, bad = expected * self._on_v1[rows, stage], expected * self._failing_on_v1[rows, stage] * failing
        bad = np.minimum(bad, everything)
        bad_v1 = self._rng.poisson(bad).astype(np.int64)
        all_v1 = bad_v1 + self._rng.poisson(everything - bad).astype(np.int64)
        self.counts[rows, stage] += all_v1 + self._rng.poisson(expected - everything).astype(np.int64)
        return bad_v1, all_v1

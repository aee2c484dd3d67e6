"""What the judge is told of many rollouts: each kind of execution, seen at each age, counted by percent. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from orchestrator_operator.rollout.simulation.world import FAILING, Kind
from orchestrator_operator.rollout.statistics.evidence import Cell
from orchestrator_operator.specs.rollout_words import Preset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from orchestrator_operator.rollout.model import CohortKey
    from orchestrator_operator.rollout.statistics.evidence import Cells
    from orchestrator_operator.specs.rollout import RolloutSpec

    Ints = NDArray[np.int64]

V1, V2 = 0, 1
SEEN_AFTER = {  # how old an execution is when its kind shows; any other at the last age
    Kind.FAILS_AT_ONCE: timedelta(0),
    Kind.TRANSIENT: timedelta(0),
    Kind.FAILS_SOON: timedelta(minutes=5),
    Kind.SLOW: timedelta(minutes=5),
    Kind.STOPS: timedelta(minutes=5),  # its step's own timeout
    Kind.FAILS_LATE: timedelta(hours=2),
}


@dataclass(frozen=True, slots=True)
class Grown:
    """What was counted anew at one look, (runs, pairs) each, and at which stage's percent it was routed."""

    stage: Ints
    bad_v1: Ints
    good_v1: Ints
    bad_v2: Ints
    good_v2: Ints


class Counting:
    """Delays each interval's executions until they reach an age, and keeps the totals by stage.

    An interval's executions are counted when the last of them has the age, so never too early.
    """

    def __init__(self, spec: RolloutSpec, runs: int, step: timedelta) -> None:
        self.keys: tuple[CohortKey, ...] = tuple(
            (str(item.preset), age) for item in spec.comparisons if item.preset for age in spec.analysis.ages
        )
        self._percents = tuple(stage.share for stage in spec.stages)
        self._lags = np.array([math.ceil(age / step) for _, age in self.keys])
        self._bad = np.stack([_bad_kinds(engine, self.keys, spec.analysis.ages[-1]) for engine in (V1, V2)])
        length = int(self._lags.max()) + 1
        self._begun = np.zeros((length, runs, 2, len(Kind)), dtype=np.int64)
        self._stage = np.zeros((length, runs), dtype=np.int64)
        self.totals: Ints = np.zeros((runs, len(spec.stages), len(self.keys), 4), dtype=np.int64)  # b1, g1, b2, g2

    def count(self, step: int, stage: Ints, begun: Ints) -> Grown:
        """The executions that began in this interval go in, those that reach an age come out."""
        length, runs = len(self._begun), len(stage)
        self._begun[step % length], self._stage[step % length] = begun, stage
        shape = (runs, len(self.keys))
        at = np.zeros(shape, dtype=np.int64)
        found = np.zeros((4, *shape), dtype=np.int64)
        for lag in np.unique(self._lags):
            if step < lag:
                continue
            place, pairs = (step - lag) % length, np.flatnonzero(self._lags == lag)
            at[:, pairs] = self._stage[place][:, None]
            for engine in (V1, V2):
                kinds = self._begun[place][:, engine]
                bad = kinds @ self._bad[engine, pairs].T
                found[2 * engine, :, pairs] = bad.T
                found[2 * engine + 1, :, pairs] = (kinds.sum(axis=1)[:, None] - bad).T
        rows, columns = np.arange(runs)[:, None], np.arange(len(self.keys))[None, :]
        self.totals[rows, at, columns] += np.moveaxis(found, 0, -1)
        return Grown(at, *found)

    def cells(self, run: int) -> dict[CohortKey, Cells]:
        """The totals of one run as the controller would read them."""
        found: dict[CohortKey, Cells] = {}
        for pair, key in enumerate(self.keys):
            rows = zip(self._percents, self.totals[run, :, pair].tolist(), strict=True)
            found[key] = tuple(Cell(percent, *counts) for percent, counts in rows if any(counts))
        return found


def _bad_kinds(engine: int, keys: Sequence[CohortKey], last: timedelta) -> Ints:
    """(pairs, kinds): 1 where an execution of this kind is bad."""
    bad = np.zeros((len(keys), len(Kind)), dtype=np.int64)
    for pair, (preset, age) in enumerate(keys):
        for kind in _bad_of(preset, engine):
            bad[pair, kind] = age >= SEEN_AFTER.get(kind, last)
        if preset == Preset.SLOWER_THAN_BASELINE:  # what has not ended is late long before the last age
            bad[pair, Kind.ENDLESS] = age >= SEEN_AFTER[Kind.SLOW]
    return bad


def _bad_of(preset: str, engine: int) -> tuple[Kind, ...]:
    if preset == Preset.SLOWER_THAN_BASELINE:
        return (Kind.SLOW, Kind.LONG_SLOW, Kind.OVER_A_DAY, Kind.STOPS)
    if preset == Preset.FIRST_ATTEMPT_FAILURES:
        return (*(kind for kind in FAILING if kind is not Kind.ENDLESS), Kind.TRANSIENT)
    retried = engine == V2  # V1 does not retry: its transient failures are failures
    return (*FAILING, Kind.OVER_A_DAY, Kind.STOPS, *(() if retried else (Kind.TRANSIENT,)))

"""Recorded traffic as a world: who came and what failed on V1, interval by interval, split by coins once more. Pure.

So V1 is compared with V1, and with a V2 that would have failed more often, in whatever really happened: nights,
incidents, batches. Each run begins at a moment of its own in the recording, which goes round. What an interval of the
recording does not say is not made up: hours without counts are blind, an interval without executions has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from orchestrator.errors import InvalidInput, Problem
from orchestrator_operator.rollout.simulation.counting import SEEN_AFTER
from orchestrator_operator.rollout.simulation.history import interval
from orchestrator_operator.rollout.simulation.traffic import Traffic
from orchestrator_operator.rollout.simulation.world import FAILING, Kind, World
from orchestrator_operator.specs.rollout_words import Preset

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from numpy.typing import NDArray

    from orchestrator_operator.rollout.simulation.history import Row
    from orchestrator_operator.specs.rollout import RolloutSpec

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

_HOUR = 3600.0  # seconds
_MOST = 0.9  # of the executions fail in the worst of worlds, as traffic.py has it


class Recording:
    """What was counted, as rates: `arrived` executions an interval of both engines, `rates` of each kind on V1."""

    def __init__(self, rows: Sequence[Row], spec: RolloutSpec, *, length: timedelta) -> None:
        """`length` is a row's interval where the rows do not tell. Raises InvalidInput without failures of V1."""
        failures = [row for row in rows if row.criterion.preset is Preset.FAILURES]
        if not any(row.counts is not None and row.counts[0] for row in failures):
            message = "has no counts of V1's failures: V1 can be compared with itself only where it ran"
            raise InvalidInput([Problem("--data", message)])
        self.seconds = interval(rows, length).total_seconds()
        first, last = rows[0].start, rows[-1].start
        self.intervals = round((last - first).total_seconds() / self.seconds) + 1
        self._first, self._spec = first, spec
        ages = spec.analysis.ages
        told = {age: self._counts(rows, Preset.FAILURES, age) for age in ages}
        self.arrived: Floats = np.max([n1 + n2 for n1, _, n2, *_ in told.values()], axis=0)
        self.blind: Mask = ~np.any([seen for *_, seen in told.values()], axis=0)
        failing = {age: _share(k1, n1) for age, (n1, k1, *_) in told.items()}
        attempts = self._counts(rows, Preset.FIRST_ATTEMPT_FAILURES, ages[-1])
        slow = self._counts(rows, Preset.SLOWER_THAN_BASELINE, ages[-1])
        self.rates = self._kinds(failing, _share(attempts[1], attempts[0]), _share(slow[1], slow[0]))

    @property
    def mean(self) -> Floats:
        """How likely each kind is on V1 on average over the executions: (kinds,)."""
        total = max(float(self.arrived.sum()), 1.0)
        found: Floats = (self.rates * self.arrived[:, None]).sum(axis=0) / total
        return found

    @property
    def world(self) -> World:
        """The figures of it that a world has; what comes by chance there comes from the recording here."""
        hours = max(float((~self.blind).sum()) * self.seconds / _HOUR, 1e-9)
        return World(
            "V1 as it was recorded",
            load=float(self.arrived.sum()) / hours,
            base=float(self.mean[list(FAILING)].sum()),
            slow=float(self.mean[Kind.SLOW]),
            transient=float(self.mean[Kind.TRANSIENT]),
            tenants=1,
            odds=0.0,
            daily=0.0,
            incidents=0.0,
            tenant_incidents=0.0,
            batches=0.0,
            stalls=0.0,
            missed=0.0,
        )

    def _counts(
        self, rows: Sequence[Row], preset: Preset, age: timedelta
    ) -> tuple[Floats, Floats, Floats, Floats, Mask]:
        """n1, k1, n2, k2 by interval, over all percents, and where anything was read."""
        counts, seen = np.zeros((4, self.intervals)), np.zeros(self.intervals, dtype=np.bool_)
        for row in rows:
            if row.criterion.preset is preset and row.age == age and row.counts is not None:
                at = round((row.start - self._first).total_seconds() / self.seconds)
                counts[:, at] += row.counts
                seen[at] = True
        return counts[0], counts[1], counts[2], counts[3], seen

    def _kinds(self, failing: dict[timedelta, Floats], attempts: Floats, slow: Floats) -> Floats:
        """Each kind from when it shows: what an age sees beyond the ages before it."""
        kinds, before = np.zeros((self.intervals, len(Kind))), np.zeros(self.intervals)
        for kind in FAILING:
            shows = SEEN_AFTER.get(kind, self._spec.analysis.ages[-1])
            seen = next((share for age, share in failing.items() if age >= shows), before)
            kinds[:, kind] = np.maximum(seen - before, 0.0)
            before = np.maximum(seen, before)
        kinds[:, Kind.TRANSIENT] = np.maximum(attempts - before, 0.0)
        kinds[:, Kind.SLOW] = slow
        total = kinds.sum(axis=1, keepdims=True)
        kinds /= np.maximum(total / _MOST, 1.0)
        kinds[:, Kind.FINE] = 1.0 - kinds.sum(axis=1)
        return kinds


class OwnTraffic(Traffic):
    """Runs that live in a recording; each harm of the world does to V2 what it does elsewhere."""

    def __init__(
        self, recording: Recording, world: World, runs: int, steps: int, step: timedelta, rng: np.random.Generator
    ) -> None:
        super().__init__(world, runs, steps, step, rng)
        self._recording = recording
        self._begins = rng.random(runs) * recording.intervals
        looks = np.arange(steps)[None, :] * self.seconds / recording.seconds
        at = (self._begins[:, None] + looks).astype(np.int64) % recording.intervals
        self.blind = recording.blind[at]

    def expected(self, step: int) -> Floats:
        found: Floats = self._recording.arrived[self._at(step)] * self.seconds / self._recording.seconds
        return found

    def trouble(self, step: int) -> Floats:  # noqa: ARG002 - as in Traffic
        """Never: nobody knows which of its hours were worse than they should have been, so no hold is excused."""
        return np.ones(self.runs)

    @property
    def undisturbed(self) -> Floats:
        return np.broadcast_to(self._recording.mean, (self.runs, len(Kind)))

    def _on_v1(self, step: int) -> Floats:
        return self._recording.rates[self._at(step)].copy()

    def _at(self, step: int) -> NDArray[np.int64]:
        found = (self._begins + step * self.seconds / self._recording.seconds).astype(np.int64)
        return np.asarray(found % self._recording.intervals, dtype=np.int64)


def _share(bad: Floats, total: Floats) -> Floats:
    return np.divide(bad, total, out=np.zeros_like(bad), where=total > 0)

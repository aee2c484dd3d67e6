"""The default guardrails of many rollouts at once: what each reads, and where it is broken. Pure.

`slow-checkpoints` reads V2's disk. `stalled` reads V2's executions that stand still: one that lost its worker stays
overdue until a person sees to it. Any other query is not simulated: it never speaks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from orchestrator_operator.rollout.simulation.counting import V2
from orchestrator_operator.rollout.simulation.outcomes import NEVER
from orchestrator_operator.rollout.simulation.world import Kind
from orchestrator_operator.specs.rollout import RolloutSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from orchestrator_operator.rollout.simulation.traffic import Traffic

    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

STALLED = next(item.query for item in RolloutSpec().guardrails if item.query)


class Guardrails:
    """Since when each is above its limit, and which are broken."""

    def __init__(self, spec: RolloutSpec, traffic: Traffic, runs: int) -> None:
        self._guardrails, self._traffic = spec.guardrails, traffic
        self._breached = np.full((len(spec.guardrails), runs), NEVER)
        self._stopped = np.zeros(runs, dtype=np.bool_)  # whether one of V2's executions has stood still
        self._overdue = self._stopped.copy()  # … for so long that its step's timeout is over

    def count(self, begun: Ints) -> None:
        """One interval more: (runs, 2 engines, kinds)."""
        self._overdue = self._stopped.copy()
        self._stopped |= begun[:, V2, Kind.STOPS] > 0

    def above(self, step: int) -> dict[str, Mask]:
        """Whether each reads more than its limit, by name."""
        never = np.zeros(len(self._stopped), dtype=np.bool_)
        return {
            item.name: self._traffic.stalled[:, step]
            if item.preset
            else self._overdue
            if item.query == STALLED
            else never
            for item in self._guardrails
        }

    def broken(self, step: int, now: int, blind: Mask, readable: Mask) -> Mask:
        """Above a limit for long enough. A moment that cannot be read ends the run of moments."""
        found = np.zeros(len(self._stopped), dtype=np.bool_)
        for item, since, above in zip(self._guardrails, self._breached, self.above(step).values(), strict=True):
            since[blind | (readable & ~above)] = NEVER
            since[readable & above & (since == NEVER)] = now
            found |= readable & above & (now - since >= item.for_.total_seconds())
        return found

"""How simulated rollouts ended, as arrays with one entry a run. Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from orchestrator_operator.rollout.judging.comparisons import Test

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

NEVER = -1
REASONS = ("SampleRatioMismatch", "NotCalibrated", "SharedDegradation", "GuardrailBroken", "Blind")
"""Why a rollout is held: the first one that holds, in the order of the rules."""


@dataclass(slots=True)
class Outcomes:
    """Times in seconds from the start of the rollout, NEVER where it did not come to that."""

    step: float  # seconds between two looks
    keys: tuple[Test, ...]  # what is compared at which age; None: a user's own counter
    rolled_back: Ints
    convicted_by: Ints  # index into `keys` of the strongest evidence
    completed: Ints
    people: Ints  # how often somebody had to say yes
    held: dict[str, Ints]  # seconds, by reason
    holds: dict[str, Ints]  # how often a hold began, by reason
    first_held: dict[str, Ints]  # when the first one did, by reason
    unexplained: dict[str, Mask]  # by reason: held although nothing in the world gave cause to
    not_doubled: Mask  # held for SharedDegradation while nothing had doubled V1's failures by itself
    excused: dict[str, Ints]  # by reason: seconds in which the world did give cause to, held or not
    watched: Ints  # seconds until the end
    blind_moves: Ints  # how often the percent moved while nothing could be read
    outages: Ints  # of Prometheus, that began while the rollout ran
    excess: Floats  # bad executions of V2 beyond what V1 would have had, from the onset until the rollback
    on_v2: Ints  # executions of V2 in that time

    def convicted_as_well(self, name: str, at: Floats) -> None:
        """Another criterion convicts at these seconds, (runs,): it ends the runs that had not ended before."""
        ended = np.where(self.rolled_back != NEVER, self.rolled_back, self.completed).astype(np.float64)
        sooner = at < np.where(ended == NEVER, np.inf, ended)
        self.keys = (*self.keys, (name, None))
        self.rolled_back[sooner], self.completed[sooner] = at[sooner].astype(np.int64), NEVER
        self.convicted_by[sooner] = len(self.keys) - 1


def nothing_yet(runs: int, step: float, keys: tuple[Test, ...]) -> Outcomes:
    """Before anything has happened."""

    def zeros() -> Ints:
        return np.zeros(runs, dtype=np.int64)

    return Outcomes(
        step=step,
        keys=keys,
        rolled_back=zeros() + NEVER,
        convicted_by=zeros() + NEVER,
        completed=zeros() + NEVER,
        people=zeros(),
        held={reason: zeros() for reason in REASONS},
        holds={reason: zeros() for reason in REASONS},
        first_held={reason: zeros() + NEVER for reason in REASONS},
        unexplained={reason: np.zeros(runs, dtype=np.bool_) for reason in REASONS},
        not_doubled=np.zeros(runs, dtype=np.bool_),
        excused={reason: zeros() for reason in REASONS},
        watched=zeros(),
        blind_moves=zeros(),
        outages=zeros(),
        excess=np.zeros(runs),
        on_v2=zeros(),
    )

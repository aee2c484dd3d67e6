"""What a rule did with each run of a trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.benchmarks.rollout.trace import Trace

    Floats = NDArray[np.float64]

NEVER = np.inf


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Seconds since the start of the rollout, of shape (runs,); infinite for what did not happen.

    The first of the three that happens ends the run: a person must look at what was held.
    """

    rolled_back: Floats
    held: Floats
    completed: Floats  # at 100 %, and through with the last stage

    @classmethod
    def empty(cls, runs: int) -> Outcome:
        """Nothing has happened yet; the arrays are meant to be filled."""
        return cls(*(np.full(runs, NEVER) for _ in range(3)))


class Rule(Protocol):
    """How a controller decides."""

    @property
    def name(self) -> str:
        """What tables call it, with every setting that matters."""
        ...

    def decide(self, trace: Trace) -> Outcome:
        """What it does with every run of the trace."""
        ...

"""The coin test on the counts of one experiment: is V2 worse than V1, decided while always looking.

The counts are kept apart by the percent at which the executions were routed. The formulas and their sources stand in
coins.py; here are the counts, the restarts and what a Fail or a Pass needs. Everything is in natural logarithms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from orchestrator_operator.rollout.statistics import coins
from orchestrator_operator.rollout.statistics.coins import BETTER, Counts, restart_weight
from orchestrator_operator.rollout.statistics.mixture import DECIDING, FEWER_GOOD, WORSE

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from orchestrator_operator.rollout.statistics.mixture import Mixture

__all__ = [
    "BETTER",
    "FEWER_GOOD",
    "WORSE",
    "Cell",
    "Cells",
    "as_arrays",
    "dump",
    "enough_without_failures",
    "load",
    "log_fail",
    "log_fail_with_restarts",
    "log_pass",
    "log_threshold",
    "pass_margin",
    "restart_weight",
    "shares",
    "since",
    "totals",
]

_Test = TypeVar("_Test", bound="Hashable")
_NOTHING = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Cell:
    """Executions of one criterion at one age that were routed with V2's share at `percent` (0 to 100)."""

    percent: Decimal
    bad_v1: int = 0
    good_v1: int = 0
    bad_v2: int = 0
    good_v2: int = 0

    @property
    def n1(self) -> int:
        return self.bad_v1 + self.good_v1

    @property
    def n2(self) -> int:
        return self.bad_v2 + self.good_v2

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Bad and good ones of V1, then of V2."""
        return self.bad_v1, self.good_v1, self.bad_v2, self.good_v2


Cells = tuple[Cell, ...]


def totals(cells: Iterable[Cell]) -> tuple[int, int, int, int]:
    """(k₁, n₁, k₂, n₂): bad and all executions, V1 then V2, over all cells."""
    found = tuple(cells)
    return (
        sum(cell.bad_v1 for cell in found),
        sum(cell.n1 for cell in found),
        sum(cell.bad_v2 for cell in found),
        sum(cell.n2 for cell in found),
    )


def since(now: Cells, before: Cells) -> Cells:
    """What was counted after `before`. Raises ValueError if a counter went down: the evidence would be wrong."""
    grown = _grown(now, (before,))[0]
    return tuple(Cell(cell.percent, *(int(count) for count in counts)) for cell, counts in zip(now, grown, strict=True))


def log_fail(cells: Cells, tolerate: float = 1.0, mixture: Mixture = DECIDING) -> float:
    """The evidence ln E that V2's relative risk is above `tolerate` (ψ₀), as coins.log_fail has it."""
    return float(coins.log_fail(*as_arrays(cells), tolerate, mixture))


def log_fail_with_restarts(
    cells: Cells,
    restarts: Mapping[int, Cells],
    planned: int,
    tolerate: float = 1.0,
    mixture: Mixture = DECIDING,
    *,
    complete: bool = True,
) -> float:
    """The evidence ln E with late onsets in view: a part on the whole, the rest on evidence that started afresh.

    `restarts[s]` are the totals as they stood when restart s = 1, 2, … began (the restart 0 is the start itself);
    `planned` is how many restarts, that one included, the planned rollout has. A restart that has not begun counts 1;
    unless `restarts` is complete those that are missing count 0.
    Raises ValueError if a counter is lower than it was at a restart.
    """
    begun = {s: at for s, at in restarts.items() if s > 0}
    grown = _grown(cells, ((), *begun.values()))
    whole, *fresh = coins.log_fail(_chances(cells), _counts(grown), tolerate, mixture).tolist()
    parts = dict(zip(begun, fresh, strict=True))
    return coins.log_mixture_of_restarts(whole, parts, planned, for_whole=mixture.whole, complete=complete)


def log_pass(cells: Cells, margin: float) -> float:
    """The evidence ln E that V2's relative risk is below `margin` (ψ_m), as coins.log_pass has it."""
    p, counts = as_arrays(cells)
    return float(coins.log_pass(p, counts.bad_v1, counts.bad_v2, margin))


def pass_margin(bad_v1: float, n1: float, relative: float, absolute: float) -> float:
    """ψ_m: the wider of a relative margin and `absolute` points above V1's bad share (at least 1/n₁; n₁ ≥ 1).

    A non-inferiority margin in the sense of ICH E9 and E10; where failures are rare a relative one alone could never
    be shown.
    """
    return max(relative, 1 + absolute / (max(bad_v1, 1) / n1))


def enough_without_failures(n2: float, absolute: float, false_pass: float) -> bool:
    """Whether n₂ executions without a bad one show that V2's bad share is below `absolute`.

    (1 - absolute)^n₂ <= exp(-absolute·n₂): the rule of three (Hanley & Lippman-Hand 1983), for any chance.
    """
    return absolute > 0 and n2 >= math.log(1 / false_pass) / absolute


def log_threshold(alpha: float, share: float = 1.0) -> float:
    """The evidence ln E at which a test fires that may spend `share` of the error level `alpha` (Ville; Bonferroni)."""
    return -math.log(share * alpha)


def shares(tests: Sequence[_Test], favourite: _Test | None) -> dict[_Test, float]:
    """Each test's share of the error level; they sum to 1.

    The favourite has half and the others divide the rest equally; without it among the tests all are equal.
    """
    if len(tests) == 1 or favourite not in tests:
        return dict.fromkeys(tests, 1 / len(tests))
    return {test: 0.5 if test == favourite else 0.5 / (len(tests) - 1) for test in tests}


def as_arrays(cells: Cells) -> tuple[NDArray[np.float64], Counts]:
    """V2's probability at each percent, and the counts there: shapes (cells,), as coins.py takes them."""
    return _chances(cells), _counts(_table(cells))


def dump(cells: Cells) -> dict[str, list[int]]:
    """JSON that `load` reads back."""
    return {str(cell.percent): list(cell.counts) for cell in cells}


def load(raw: Mapping[str, Sequence[int]]) -> Cells:
    """Cells from what `dump` made."""
    return tuple(Cell(Decimal(percent), *(int(count) for count in counts)) for percent, counts in raw.items())


def _grown(now: Cells, before: Sequence[Cells]) -> NDArray[np.float64]:
    """What was counted after each of these totals: shape (len(before), cells, 4), in `now`'s order of percents."""
    percents = [cell.percent for cell in now]
    rows = []
    for cells in before:
        earlier = {cell.percent: cell.counts for cell in cells}
        rows.append([earlier.pop(percent, _NOTHING) for percent in percents])
        if any(any(counts) for counts in earlier.values()):
            raise ValueError("cells have disappeared: the counters were reset")
    grown: NDArray[np.float64] = _table(now) - np.array(rows, dtype=np.float64).reshape(len(before), len(now), 4)
    if (grown < 0).any():
        lower = [f"{now[place].percent} %" for place in np.unique(np.nonzero(grown < 0)[1])]
        raise ValueError(f"counters at {', '.join(lower)} went down: they were reset")
    return grown


def _table(cells: Cells) -> NDArray[np.float64]:
    return np.array([cell.counts for cell in cells], dtype=np.float64).reshape(len(cells), 4)


def _counts(table: NDArray[np.float64]) -> Counts:
    """Shape (..., cells, 4), in the order of Cell.counts, taken apart."""
    return Counts(table[..., 0], table[..., 1], table[..., 2], table[..., 3])


def _chances(cells: Cells) -> NDArray[np.float64]:
    return np.array([float(cell.percent) / 100 for cell in cells], dtype=np.float64)

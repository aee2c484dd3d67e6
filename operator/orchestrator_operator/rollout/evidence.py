"""The coin test: is V2 worse than V1, decided while always looking.

Every execution went to V2 by a coin of known probability p. If V2 does no harm, every bad execution is V2's with
probability exactly p, and so is every good one. The evidence E is a mixture of likelihood ratios of these coins against
alternatives: a supermartingale with mean at most 1 when V2 is not worse, so P(E ever reaches 1/alpha) <= alpha however
often it is read (Ville 1939). Everything is in natural logarithms; counts are numbers of executions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import logsumexp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WORSE = np.array([1.25, 1.5, 2, 3, 5, 10, 30, 100])  # alternatives of the relative risk ψ, times ψ₀
FEWER_GOOD = np.array([1, 0.5, 0.1, 0.01])  # alternatives of the relative rate φ of good executions
BETTER = np.array([1.25, 1.5, 2, 3, 5, 10])  # alternatives for Pass: ψ_m divided by these
_FINITE = 0.9  # the weight of the restarts that are planned; the rest is spread over all there may ever be
_BASEL = 6 / math.pi**2  # makes Σ 1/(s+1)² one


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
    earlier = {cell.percent: cell for cell in before}
    grown = tuple(_difference(cell, earlier.pop(cell.percent, None)) for cell in now)
    if any(cell.n1 or cell.n2 for cell in earlier.values()):
        raise ValueError("cells have disappeared: the counters were reset")
    return grown


def log_fail(cells: Cells, tolerate: float = 1.0) -> float:
    """The evidence ln E that V2's relative risk is above `tolerate` (ψ₀).

    With ψ₀ = 1 good executions are coins too, which convicts a V2 that fails everything after a handful; with any
    other ψ₀ nothing is known of the good ones under the null, and only bad ones count.
    """
    bad = _log_ratios(_column(cells, "bad_v1"), _column(cells, "bad_v2"), cells, tolerate * WORSE, tolerate)
    evidence = _log_mean(bad)
    if tolerate == 1.0:
        good = _log_ratios(_column(cells, "good_v1"), _column(cells, "good_v2"), cells, FEWER_GOOD, 1.0)
        evidence += _log_mean(good)  # the mean over all pairs (ψ, φ) is the product of the two means
    return evidence


def log_fail_with_restarts(cells: Cells, restarts: Mapping[int, Cells], planned: int, tolerate: float = 1.0) -> float:
    """The evidence ln E with late onsets in view: half on the whole, half on evidence that started afresh.

    `restarts[s]` are the totals as they stood when restart s = 1, 2, … began (the restart 0 is the start itself);
    `planned` is how many restarts, that one included, the planned rollout has. A restart that has not begun counts 1.
    """
    whole = log_fail(cells, tolerate)
    begun = {0: whole} | {s: log_fail(since(cells, at), tolerate) for s, at in restarts.items() if s > 0}
    weights = {s: restart_weight(s, planned) for s in begun}
    waiting = max(0.0, 1.0 - sum(weights.values()))
    logs = [whole, *begun.values(), 0.0]
    shares = [0.5, *(0.5 * weights[s] for s in begun), 0.5 * waiting]
    return float(logsumexp(logs, b=shares))


def restart_weight(index: int, planned: int) -> float:
    """How much of the restarts' half goes to restart `index`, from 0; all weights of all time sum to 1."""
    finite = _FINITE / planned if index < planned else 0.0
    return finite + (1 - _FINITE) * _BASEL / (index + 1) ** 2


def log_pass(cells: Cells, margin: float) -> float:
    """The evidence ln E that V2's relative risk is below `margin` (ψ_m): `log_fail` mirrored, bad executions only."""
    return _log_mean(_log_ratios(_column(cells, "bad_v1"), _column(cells, "bad_v2"), cells, margin / BETTER, margin))


def pass_margin(bad_v1: int, n1: int, relative: float, absolute: float) -> float:
    """ψ_m: the wider of a relative margin and `absolute` points above V1's bad share (at least 1/n₁; n₁ ≥ 1)."""
    return max(relative, 1 + absolute / (max(bad_v1, 1) / n1))


def enough_without_failures(n2: int, absolute: float, false_pass: float) -> bool:
    """Whether n₂ executions without a bad one show that V2's bad share is below `absolute`."""
    return absolute > 0 and n2 >= math.log(1 / false_pass) / absolute


def log_threshold(alpha: float, share: float = 1.0) -> float:
    """The evidence ln E at which a test fires that may spend `share` of the error level `alpha`."""
    return -math.log(share * alpha)


def shares(criteria: Sequence[str], ages: int, *, favourite: str | None) -> dict[tuple[str, int], float]:
    """Each (criterion, index of age)'s share of the error level; they sum to 1.

    The favourite at the middle age, index ⌊ages/2⌋, has half and the others divide the rest equally; without a
    favourite all are equal.
    """
    pairs = [(criterion, age) for criterion in criteria for age in range(ages)]
    first = (favourite, ages // 2)
    if len(pairs) == 1 or first not in pairs:
        return {pair: 1 / len(pairs) for pair in pairs}
    return {pair: 0.5 if pair == first else 0.5 / (len(pairs) - 1) for pair in pairs}


def dump(cells: Cells) -> dict[str, list[int]]:
    """JSON that `load` reads back."""
    return {str(cell.percent): [cell.bad_v1, cell.good_v1, cell.bad_v2, cell.good_v2] for cell in cells}


def load(raw: Mapping[str, Sequence[int]]) -> Cells:
    """Cells from what `dump` made."""
    return tuple(Cell(Decimal(percent), *(int(count) for count in counts)) for percent, counts in raw.items())


def _difference(cell: Cell, before: Cell | None) -> Cell:
    if before is None:
        return cell
    grown = Cell(
        cell.percent,
        cell.bad_v1 - before.bad_v1,
        cell.good_v1 - before.good_v1,
        cell.bad_v2 - before.bad_v2,
        cell.good_v2 - before.good_v2,
    )
    if min(grown.bad_v1, grown.good_v1, grown.bad_v2, grown.good_v2) < 0:
        raise ValueError(f"counters at {cell.percent} % went down: they were reset")
    return grown


def _column(cells: Cells, name: str) -> Floats:
    return np.array([getattr(cell, name) for cell in cells], dtype=np.float64)


def _log_ratios(on_v1: Floats, on_v2: Floats, cells: Cells, alternatives: Floats, null: float) -> Floats:
    """Log likelihood ratios of these coins: each alternative of the relative rate against `null`.

    Where p is 0 or 1 the coin cannot speak: such cells contribute exactly nothing.
    """
    p = np.array([float(cell.percent) / 100 for cell in cells], dtype=np.float64)
    tossed = (p > 0) & (p < 1)
    p, on_v1, on_v2 = p[tossed, None], on_v1[tossed], on_v2[tossed]
    # q(ψ) = pψ/(pψ + 1 - p), as ln q and ln(1 - q) relative to the null's.
    weight, null_weight = p * alternatives + 1 - p, p * null + 1 - p
    v1: Any = np.log(null_weight / weight)
    v2: Any = np.log(alternatives / null) + v1
    return np.asarray(on_v1 @ v1 + on_v2 @ v2, dtype=np.float64)


def _log_mean(logs: Floats) -> float:
    return float(logsumexp(logs) - math.log(len(logs)))

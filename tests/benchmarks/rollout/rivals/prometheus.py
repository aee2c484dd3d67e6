"""What a Prometheus query would have answered at a moment of a trace.

Counters are scraped at the end of each bin. `rate` and `increase` reach from the first scrape in their window to the
last; both sides of a quotient have the same scrapes, so what they extrapolate cancels.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tests.benchmarks.rollout.trace import Trace

    Floats = NDArray[np.float64]
    Indices = NDArray[np.intp]

_CELLS = 4_000_000  # values at a time
_NOTHING = 1e-9  # of a bin: a moment that is so near to a bin's end is at its end


class Answer(IntEnum):
    """How a query ended."""

    VALUE = 0  # a number; NaN where it is 0/0
    EMPTY = 1  # an empty vector: no two scrapes lie in the window
    UNREACHABLE = 2  # Prometheus does not answer


class Measure(StrEnum):
    """What is asked of the two engines' counters over a window."""

    SUCCESS_SHARE = "success share of V2"  # good / all on V2
    RISK_RATIO = "failure share of V2 over V1's"  # bad / all on V2, divided by the same on V1


class Queries:
    """One query, asked of all runs of a trace again and again: `window` is its range in seconds."""

    def __init__(self, trace: Trace, measure: Measure, window: float) -> None:
        self._measure, self._bin, self._bins = measure, trace.bin_seconds, trace.bins
        self._window = round(window / trace.bin_seconds)
        if self._window < 1:
            raise ValueError(f"a window of {window:g} s is shorter than a bin of {trace.bin_seconds:g} s")
        needed = ("n2", "k2") if measure is Measure.SUCCESS_SHARE else ("n1", "k1", "n2", "k2")
        self._totals = {name: _running(getattr(trace, name)) for name in needed}
        self._outage = trace.outage
        if trace.outage is not None:
            self._next, self._last = _scrapes(trace.outage)

    def ask(self, runs: Indices, seconds: Floats) -> tuple[Floats, NDArray[np.int8]]:
        """Values and how each query ended, for these runs at these moments, both of shape (len(runs),)."""
        end = np.clip(np.floor(seconds / self._bin + _NOTHING), 0, self._bins).astype(np.intp)
        begin = np.maximum(end - self._window, 0)
        ended = np.zeros(len(runs), dtype=np.int8)
        if self._outage is not None:
            ended[self._outage[runs, np.minimum(end, self._bins - 1)]] = Answer.UNREACHABLE
            begin, end = self._next[runs, begin], self._last[runs, end]
            ended[(begin >= end) & (ended == Answer.VALUE) & (seconds >= self._bin)] = Answer.EMPTY
            begin = np.minimum(begin, end)
        grown: dict[str, Any] = {name: totals[runs, end] - totals[runs, begin] for name, totals in self._totals.items()}
        with np.errstate(divide="ignore", invalid="ignore"):
            if self._measure is Measure.SUCCESS_SHARE:
                values = (grown["n2"] - grown["k2"]) / grown["n2"]
            else:
                values = (grown["k2"] / grown["n2"]) / (grown["k1"] / grown["n1"])
        return np.where(ended == Answer.VALUE, values, np.nan), ended

    @property
    def always_answered(self) -> bool:
        """Whether Prometheus is never away."""
        return self._outage is None

    def away(self, runs: Indices, seconds: Floats) -> Floats:
        """For how many seconds yet Prometheus does not answer each of these runs; 0 where it does."""
        if self._outage is None:
            return np.zeros(len(runs))
        place = np.clip(np.floor(seconds / self._bin + _NOTHING), 0, self._bins - 1).astype(np.intp)
        back = np.maximum(self._next[runs, place + 1] - 1, 0)  # the bin at whose end the next scrape is
        return np.where(self._outage[runs, place], np.maximum(back * self._bin - seconds, 0.0), 0.0)

    def grid(self, runs: Indices, seconds: Floats) -> Iterator[tuple[slice, Floats, NDArray[np.int8]]]:
        """Every run asked at each of these moments: for some of the runs at a time (which ones, as a slice of `runs`)
        values and endings of shape (these runs, moments), so that memory stays bounded.
        """
        at_once = max(1, _CELLS // max(1, len(seconds)))
        for begin in range(0, len(runs), at_once):
            some = runs[begin : begin + at_once]
            shape = len(some), len(seconds)
            values, ended = self.ask(np.repeat(some, len(seconds)), np.tile(seconds, len(some)))
            yield slice(begin, begin + len(some)), values.reshape(shape), ended.reshape(shape)


def _running(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Totals at the end of each bin; the first column is the start."""
    totals = np.zeros((counts.shape[0], counts.shape[1] + 1), dtype=np.int64)
    np.cumsum(counts, axis=1, out=totals[:, 1:])
    return totals


def _scrapes(outage: NDArray[np.bool_]) -> tuple[Indices, Indices]:
    """For each bin's edge the next edge that was scraped and the last one, itself included, of shape (runs, bins + 1).

    The edge at the start was; where none follows, the next one lies beyond the end.
    """
    runs, bins = outage.shape
    scraped = np.concatenate([np.ones((runs, 1), dtype=bool), ~outage], axis=1)
    edges = np.arange(bins + 1)
    last = np.maximum.accumulate(np.where(scraped, edges, 0), axis=1)
    following = np.where(scraped, edges, bins + 1)[:, ::-1]
    return np.minimum.accumulate(following, axis=1)[:, ::-1], last

"""From the raw samples of a user's own counters to closed bins. Pure.

A counter is followed series by series: a value below the one before is a reset, after which it counts from 0. A bin
spans the same stretch of time on both engines. It closes at 30 units over both, or after the interval, and at every
change of the percent. It begins and ends only where both engines were scraped a moment before: a gap makes one bin
longer, and what lies across both a gap and a change of the percent is left out.

A series that appears while its target was already scraped was born then, and counts from 0; the first sample of a new
target is where its counting begins, because nobody knows how old it is.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from orchestrator import durations
from orchestrator_operator.rollout.model import Bin, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Samples = Sequence[tuple[float, float]]  # (Unix seconds, value), ascending
    Series = tuple[Mapping[str, str], Samples]  # its labels, its samples

UNITS = 30  # n₁ + n₂ at which a bin closes
_LARGEST = 1e-3  # or this part of all units so far, if that is more: four busy weeks stay some thousand bins
_MOMENT = 1e-3  # seconds: two ways to add up the same moment differ by less
_ENGINES = ("v1", "v2")


@dataclass(frozen=True, slots=True)
class Raw:
    """What Prometheus has of one engine's two counters: every series as it was scraped, resets and all."""

    bad: Sequence[Series]
    total: Sequence[Series]


def bins(
    series_by_engine: Mapping[str, Raw],
    cuts: Sequence[datetime],
    interval: timedelta,
    now: datetime,
    scrape: timedelta,
    before: float = 0.0,
) -> tuple[Bin, ...] | Unreadable:
    """The bins that have closed since cuts[0], oldest first; what is still open is not among them.

    `series_by_engine` has `v1` and `v2`, read from three `scrape`s before cuts[0] on; `cuts` ascend: where the first
    bin begins (the attempt's start, or the end of the last bin that was kept), then each change of the percent;
    `before` is n₁ + n₂ of the bins that were kept. An idle interval makes an empty bin.

    Unreadable: NoSeries (V1 has no `total`; V2 may have had no traffic yet), NotANumber, Stale (an engine's newest
    sample is older than two scrapes).
    """
    raw = {engine: series_by_engine.get(engine, Raw((), ())) for engine in _ENGINES}
    if not any(samples for _, samples in raw["v1"].total):
        return Unreadable("NoSeries", "Prometheus has no series of `total` on v1; is it spelled right, and scraped?")
    if spoiled := _spoiled(raw.values()):
        return spoiled
    end, patience = now.timestamp(), 2 * scrape.total_seconds()
    for engine, found in raw.items():
        age = end - max((samples[-1][0] for _, samples in found.total if samples), default=end)
        if age > patience:
            shown = durations.show(timedelta(seconds=round(age)))
            return Unreadable("Stale", f"the newest sample of `total` on {engine} is {shown} old")
    edges = _edges([cut.timestamp() for cut in cuts], end, scrape.total_seconds())
    growth = _Growth.of(raw, edges, patience)
    return tuple(_closed(edges, growth, [cut.timestamp() for cut in cuts], interval.total_seconds(), before))


@dataclass(frozen=True, slots=True)
class _Growth:
    """What the counters have grown by at each edge (k₁, n₁, k₂, n₂: shape (edges, 4)), and where both can be read."""

    counts: Floats
    fresh: NDArray[np.bool_]

    @classmethod
    def of(cls, raw: Mapping[str, Raw], edges: Floats, patience: float) -> _Growth:
        everything = [series for found in raw.values() for series in (*found.bad, *found.total) if series[1]]
        births = _Births.of(everything, patience)
        columns, fresh = [], np.ones(len(edges), dtype=np.bool_)
        for engine in _ENGINES:
            for counter in (raw[engine].bad, raw[engine].total):
                grown = [_growth(series, edges, born=births.born(series)) for series in counter if series[1]]
                columns.append(np.sum(grown, axis=0) if grown else np.zeros(len(edges)))
            fresh &= _readable([samples for _, samples in raw[engine].total if samples], edges, patience)
        return cls(np.stack(columns, axis=1), fresh)


@dataclass(frozen=True, slots=True)
class _Births:
    """Tells a series that began while its target was scraped from one that was only seen for the first time."""

    earliest: float
    seen: Mapping[tuple[str, str], Floats]  # by target: when it was scraped
    patience: float

    @classmethod
    def of(cls, everything: Iterable[Series], patience: float) -> _Births:
        scrapes: defaultdict[tuple[str, str], set[float]] = defaultdict(set)
        for labels, samples in everything:
            scrapes[_target(labels)].update(moment for moment, _ in samples)
        seen = {target: np.array(sorted(moments)) for target, moments in scrapes.items()}
        return cls(min((float(moments[0]) for moments in seen.values()), default=0.0), seen, patience)

    def born(self, series: Series) -> bool:
        labels, samples = series
        first, moments = samples[0][0], self.seen[_target(labels)]
        if first <= self.earliest + self.patience:  # it may be older than what was read
            return False
        place = int(np.searchsorted(moments, first)) - 1
        return place >= 0 and first - float(moments[place]) <= self.patience


def _target(labels: Mapping[str, str]) -> tuple[str, str]:
    return labels.get("job", ""), labels.get("instance", "")


def _growth(series: Series, edges: Floats, *, born: bool) -> Floats:
    """By how much one counter had grown at each edge, since its first sample or its birth."""
    table = np.array(series[1], dtype=np.float64)
    moments, values = table[:, 0], table[:, 1]
    steps = np.diff(values)
    steps = np.where(steps < 0, values[1:], steps)  # after a reset it counts from 0
    grown = np.concatenate(([0.0, values[0] if born else 0.0], steps)).cumsum()
    return np.asarray(grown[np.searchsorted(moments, edges, side="right")], dtype=np.float64)


def _readable(series: Sequence[Samples], edges: Floats, patience: float) -> NDArray[np.bool_]:
    """Where the engine's newest sample is no older than `patience`, or nothing of it has been seen at all yet."""
    if not series:
        return np.ones(len(edges), dtype=np.bool_)
    moments = np.unique(np.concatenate([[moment for moment, _ in samples] for samples in series]))
    place = np.searchsorted(moments, edges, side="right") - 1
    return np.asarray((place < 0) | (edges - moments[np.maximum(place, 0)] <= patience), dtype=np.bool_)


def _edges(cuts: Sequence[float], end: float, step: float) -> Floats:
    """Where a bin may begin or end: each cut, and every scrape from there to the next one, or to now.

    They are counted from the cut, so that who reads on from a closed bin comes to the same edges.
    """
    stretches = [
        begin + step * np.arange(math.floor((min(stop, end) - begin) / step) + 1)
        for begin, stop in pairwise([*cuts, math.inf])
        if begin <= end
    ]
    return np.unique(np.concatenate(stretches)) if stretches else np.zeros(0)


def _closed(edges: Floats, growth: _Growth, cuts: Sequence[float], interval: float, before: float) -> Iterator[Bin]:
    """Each stretch between two cuts by itself: a bin begins where the one before it closed."""
    for begin, end in pairwise([*cuts, math.inf]):
        within = np.flatnonzero(growth.fresh & (edges >= begin) & (edges <= end))
        at, counts = edges[within], growth.counts[within]
        units = counts[:, 1] + counts[:, 3]
        opened, last = 0, len(within) - 1
        while opened < last:
            full = np.searchsorted(units, units[opened] + max(UNITS, _LARGEST * before))
            due = np.searchsorted(at, at[opened] + interval - _MOMENT)
            closes = max(opened + 1, int(min(full, due)))
            if closes > last:
                if at[last] != end:
                    break  # still open, or the change of the percent could not be read
                closes = last
            k1, n1, k2, n2 = (counts[closes] - counts[opened]).tolist()
            yield Bin(k1, n1, k2, n2, datetime.fromtimestamp(float(at[closes]), tz=UTC))
            before, opened = before + n1 + n2, closes


def _spoiled(raw: Iterable[Raw]) -> Unreadable | None:
    for found in raw:
        for labels, samples in (*found.bad, *found.total):
            for moment, value in samples:
                if not (math.isfinite(value) and value >= 0 and math.isfinite(moment)):
                    return Unreadable("NotANumber", f"{dict(labels)} = {value}: no value of a counter")
    return None

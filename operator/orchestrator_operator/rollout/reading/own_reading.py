"""Read a user's own counters: raw samples since the last bin that was kept, never the whole attempt again.

What lies further back than one look can read is caught up with window by window; until then the criterion cannot be
read, for a promotion must not stand on what was true hours ago. Nothing is lost on the way: a gap in the samples,
however long, becomes one long bin (what grew between its two sides is known), and one that still lasts is waited for. A
window that cannot be understood (a value that is no count) becomes an empty bin: nothing is concluded from it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from orchestrator import durations
from orchestrator.errors import StoreError
from orchestrator_operator.adapters.prometheus import PrometheusError
from orchestrator_operator.rollout.judging.judge import current_stage
from orchestrator_operator.rollout.model import Bin, RememberBins, Unreadable
from orchestrator_operator.rollout.reading import readings
from orchestrator_operator.rollout.reading.own_counters import Raw, bins

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.store.port import Store
    from orchestrator_operator.adapters.prometheus import Prometheus
    from orchestrator_operator.rollout.reading.own_counters import Series as RawSeries
    from orchestrator_operator.rollout.reading.promql import Series
    from orchestrator_operator.specs.rollout import Criterion, RolloutSpec
    from orchestrator_operator.specs.rollout_status import RolloutStatus

CHUNK = timedelta(hours=1)  # of raw samples in one query: 240 a series at the usual scrape interval
REACH = timedelta(hours=6)  # read in one look at most
_BEFORE = timedelta(minutes=5)  # read before a bin begins, which needs samples there: three scrapes at the least
_SCRAPE = timedelta(minutes=1)  # assumed where too few samples tell
_ALL = 100  # per cent
_ENGINES = ("v1", "v2")


@dataclass(frozen=True, slots=True)
class Own:
    """All bins of each criterion, and those that are to be kept."""

    bins: Mapping[str, tuple[Bin, ...] | Unreadable] = field(default_factory=dict)
    closed: tuple[RememberBins, ...] = ()


class OwnReader:
    """Four queries and one look into the store for each criterion, as long as nothing has to be caught up with."""

    def __init__(self, store: Store, prometheus: Prometheus) -> None:
        self._store, self._prometheus = store, prometheus

    async def read(self, status: RolloutStatus, spec: RolloutSpec, now: datetime) -> Own:
        """Up to `now`; nothing before the attempt's first stage has begun."""
        if status.started_at is None:
            return Own()
        own = [criterion for criterion in spec.comparisons if criterion.bad is not None]
        found = await asyncio.gather(*(self._read(status, spec, criterion, now) for criterion in own))
        return Own(
            {criterion.name: one for criterion, (one, _) in zip(own, found, strict=True)},
            tuple(closed for _, closed in found if closed is not None),
        )

    async def _read(
        self, status: RolloutStatus, spec: RolloutSpec, criterion: Criterion, now: datetime
    ) -> tuple[tuple[Bin, ...] | Unreadable, RememberBins | None]:
        try:
            kept = tuple(
                Bin(one.k1, one.n1, one.k2, one.n2, one.until)
                for one in await self._store.bins(status.attempt_id, criterion.name)
            )
            begin = kept[-1].end if kept else status.started_at
            on_v2_alone = current_stage(spec, status.stage_index).share == _ALL  # V1's counters may be gone by then
            if on_v2_alone or begin is None or begin >= now:  # the clock was moved back: what was read stays read
                return kept, None
            found, until = await self._found(status, spec, criterion, kept, begin, now)
        except StoreError as error:
            return Unreadable("StoreUnavailable", f"the bins that were kept cannot be read: {error}"), None
        except PrometheusError as error:
            return Unreadable(error.reason, str(error)), None
        return _with(kept, found, criterion.name, until, now)

    async def _found(
        self,
        status: RolloutStatus,
        spec: RolloutSpec,
        criterion: Criterion,
        kept: tuple[Bin, ...],
        begin: datetime,
        now: datetime,
    ) -> tuple[tuple[Bin, ...] | Unreadable, datetime]:
        """The bins that have closed since `begin`, and up to when was read for them.

        A window in which nothing closes (a gap, or an interval that is longer) is read together with the next one, so
        that what the counters grew by across it is in a bin. But not while there is nothing at its other side yet.
        """
        raw: dict[str, Raw] = {}
        until, before = begin, sum(one.n1 + one.n2 for one in kept)
        while True:
            since, until = until, min(now, until + REACH)
            raw = _merged(raw, await self._raw(criterion, since, until))
            read_to = until if until == now else _newest(raw, begin, until)
            cuts = (begin, *_changes(status, begin, until))
            found = bins(raw, cuts, spec.analysis.interval, read_to, _spacing(raw), before)
            if until == now or not _nothing(found):
                return found, until
            if since == begin:
                latest = await self._raw(criterion, now, now)
                away = bins(latest, (now,), spec.analysis.interval, now, _spacing(latest))
                if isinstance(away, Unreadable):
                    return away, now

    async def _raw(self, criterion: Criterion, begin: datetime, until: datetime) -> dict[str, Raw]:
        """Every series of both counters on both engines, from a little before `begin` on."""
        counters = [
            (engine, expression or "") for engine in _ENGINES for expression in (criterion.bad, criterion.total)
        ]
        found = await asyncio.gather(
            *(self._series(readings.own_selector(text, engine), begin - _BEFORE, until) for engine, text in counters)
        )
        return {engine: Raw(*found[2 * place : 2 * place + 2]) for place, engine in enumerate(_ENGINES)}

    async def _series(self, selector: str, begin: datetime, until: datetime) -> list[RawSeries]:
        ends = [until - number * CHUNK for number in range(-(-(until - begin) // CHUNK))]
        chunks = await asyncio.gather(
            *(self._prometheus.series(selector, until=end, window=min(CHUNK, end - begin)) for end in ends)
        )
        return _joined(series for chunk in chunks for series in chunk)


def _with(
    kept: tuple[Bin, ...], found: tuple[Bin, ...] | Unreadable, criterion: str, until: datetime, now: datetime
) -> tuple[tuple[Bin, ...] | Unreadable, RememberBins | None]:
    """All bins, and those to keep. Where `until` is not now yet, something is kept in any case: it must go on."""
    if until < now:
        closed = found if isinstance(found, tuple) and found else (Bin(0.0, 0.0, 0.0, 0.0, until),)
        behind = durations.show(timedelta(minutes=round((now - until).total_seconds() / 60)))
        why = f"its samples are being caught up with, {behind} are left to read"
        return Unreadable("CatchingUp", why), RememberBins(criterion, len(kept), closed)
    if isinstance(found, Unreadable):
        return found, None
    return (*kept, *found), RememberBins(criterion, len(kept), found) if found else None


def _nothing(found: tuple[Bin, ...] | Unreadable) -> bool:
    """Whether these samples alone make no bin, and more of them could."""
    return found.reason in {"NoSeries", "Stale"} if isinstance(found, Unreadable) else not found


def _merged(one: Mapping[str, Raw], other: Mapping[str, Raw]) -> dict[str, Raw]:
    """The series of two windows that follow each other."""
    none = Raw((), ())
    return {
        engine: Raw(
            _joined_raw([*one.get(engine, none).bad, *other[engine].bad]),
            _joined_raw([*one.get(engine, none).total, *other[engine].total]),
        )
        for engine in other
    }


def _joined(chunks: Iterable[Series]) -> list[RawSeries]:
    return _joined_raw((series.labels, series.samples) for series in chunks)


def _joined_raw(chunks: Iterable[RawSeries]) -> list[RawSeries]:
    """Each series once, oldest sample first. Older servers give a sample on the border of two windows in both."""
    samples: defaultdict[tuple[tuple[str, str], ...], dict[float, float]] = defaultdict(dict)
    for labels, found in chunks:
        samples[tuple(sorted(labels.items()))].update(found)
    return [(dict(labels), sorted(found.items())) for labels, found in samples.items()]


def _changes(status: RolloutStatus, begin: datetime, until: datetime) -> list[datetime]:
    """Changes of the percent after `begin`: a bin never spans one."""
    moments = {*status.share_changed_at, *([status.stage_started_at] if status.stage_started_at else ())}
    return sorted(moment for moment in moments if begin < moment < until)


def _newest(raw: dict[str, Raw], begin: datetime, until: datetime) -> datetime:
    """Up to where the samples of a window in the past reach, on whatever engine has any."""
    newest = [max(samples[-1][0] for _, samples in found.total) for found in raw.values() if found.total]
    return max(begin, min([until, *(datetime.fromtimestamp(moment, tz=UTC) for moment in newest)]))


def _spacing(raw: dict[str, Raw]) -> timedelta:
    """How far apart the scrapes are."""
    longest = max((samples for found in raw.values() for _, samples in found.total), key=len, default=[])
    gaps = [later - sooner for (sooner, _), (later, _) in pairwise(longest)]
    return timedelta(seconds=median(gaps)) if gaps else _SCRAPE

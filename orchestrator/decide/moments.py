"""When something is due by itself: timers, signals to give up, and next attempts."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime


@dataclass(slots=True)
class Moments:
    """Two heaps by moment. What is out of date stays in them until it comes up, so that forgetting costs nothing."""

    _of: dict[str, datetime] = field(default_factory=dict)  # the moment that counts, by step
    _waits: list[tuple[datetime, str]] = field(default_factory=list)
    _retries: list[tuple[datetime, str]] = field(default_factory=list)
    _ripe: dict[str, None] = field(default_factory=dict)  # retries that came up, earliest first
    _latest: datetime | None = None  # of those that ever came up

    def wait(self, due: datetime, key: str) -> None:
        """A step's wait ends then."""
        self._of[key] = due
        heapq.heappush(self._waits, (due, key))

    def retry(self, due: datetime, key: str) -> None:
        """A step's next attempt is due then."""
        self._of[key] = due
        heapq.heappush(self._retries, (due, key))

    def forget(self, key: str) -> None:
        """Nothing is due for this step any more."""
        self._of.pop(key, None)
        self._ripe.pop(key, None)

    def fired(self, now: datetime, may_move: Callable[[str], bool]) -> str | None:
        """The step whose wait is over for longest, among those that may move."""
        heap = self._waits
        self._clean(heap)
        if not heap or heap[0][0] > now:
            return None
        if may_move(heap[0][1]):
            return heap[0][1]
        others = (key for due, key in sorted(heap) if due <= now and self._of.get(key) == due)
        return next((key for key in others if may_move(key)), None)

    def ripe(self, now: datetime) -> Iterator[str]:
        """The steps whose next attempt is due, earliest first; they stay due until something happens to them."""
        self._ripen(now)
        return (key for key in self._ripe if self._of[key] <= now)

    def upcoming(self, now: datetime, may_move: Callable[[str], bool] | None = None) -> datetime | None:
        """The first moment after `now` at which something is due, by itself or among the steps that may move.

        What is due already starts, or waits for something else than a moment.
        """
        if may_move is not None:
            return min((due for key, due in self._of.items() if due > now and may_move(key)), default=None)
        self._ripen(now)
        went_back = self._latest is not None and self._latest > now
        later = [due for key in self._ripe if (due := self._of[key]) > now] if went_back else []
        for heap in (self._waits, self._retries):
            self._clean(heap)
            later += [due for due, _ in heap[:1] if due > now]
        return min(later, default=None)

    def _ripen(self, now: datetime) -> None:
        while self._retries and self._retries[0][0] <= now:
            due, key = heapq.heappop(self._retries)
            if self._of.get(key) == due:
                self._ripe[key] = None
                self._latest = due if self._latest is None else max(due, self._latest)

    def _clean(self, heap: list[tuple[datetime, str]]) -> None:
        while heap and self._of.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)

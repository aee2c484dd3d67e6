"""A clock that stands still until it is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class FakeClock:
    """A clock in the tester's hand."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> datetime:
        """Move time (backwards too: clocks do jump); returns the new moment."""
        self._now += timedelta(seconds=seconds)
        return self._now

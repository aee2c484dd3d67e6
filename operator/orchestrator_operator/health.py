"""Whether this process does its work: each loop leaves a beat, and a missing beat is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from orchestrator.clock import Clock


class Health:
    """The last beat of each thing that must go on, and how long it may be silent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beats: dict[str, tuple[datetime, timedelta]] = {}

    def expect(self, name: str, within: timedelta) -> None:
        """From now on `name` beats at least so often."""
        self._beats[name] = (self._clock.now(), within)

    def beat(self, name: str) -> None:
        """`name` did its work just now."""
        if name in self._beats:
            self._beats[name] = (self._clock.now(), self._beats[name][1])

    def silent(self) -> list[str]:
        """What should have beaten, and has not; empty is healthy."""
        now = self._clock.now()
        return [
            f"{name}: nothing for {(now - last).total_seconds():.0f} s"
            for name, (last, within) in self._beats.items()
            if now - last > within
        ]

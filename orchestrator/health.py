"""Whether this process does its work: each thing that must go on leaves a beat, and a missing beat is named."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from orchestrator.clock import Clock


@dataclass(frozen=True, slots=True)
class _Beat:
    last: datetime
    within: timedelta
    restart: bool
    heard: bool = False


class Health:
    """The last beat of each thing that must go on, and how long it may be silent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beats: dict[str, _Beat] = {}

    def expect(self, name: str, within: timedelta, *, restart: bool = False) -> None:
        """From now on `name` beats at least so often; `restart` where only a new process can bring it back.

        Until its first beat this process is not ready, and that is no reason to restart it. A database that is
        away comes back by itself, and whoever restarts us meanwhile makes it worse.
        """
        self._beats[name] = _Beat(self._clock.now(), within, restart)

    def beat(self, name: str) -> None:
        """`name` did its work just now."""
        if name in self._beats:
            self._beats[name] = replace(self._beats[name], last=self._clock.now(), heard=True)

    def forget(self, name: str) -> None:
        """`name` has ended as it should: nothing more is expected of it."""
        self._beats.pop(name, None)

    def silent(self, *, restart: bool = False) -> list[str]:
        """What should have beaten, and has not; empty is healthy. With `restart` only what a new process would mend."""
        if restart:
            lines = [self.about(name) for name, beat in self._beats.items() if beat.restart]
        else:
            lines = [self.about(name) if beat.heard else f"{name}: nothing yet" for name, beat in self._beats.items()]
        return [line for line in lines if line]

    def about(self, name: str) -> str:
        """How long `name` has been silent, in words, if that is too long; else nothing."""
        beat, now = self._beats.get(name), self._clock.now()
        if beat is None or now - beat.last <= beat.within:
            return ""
        return f"{name}: nothing for {(now - beat.last).total_seconds():.0f} s"

"""How far a long command is, on standard error: nothing for the first two seconds, then one line that changes."""

from __future__ import annotations

import sys
import time

_QUIET, _EVERY = 2.0, 0.2  # seconds


class Progress:
    """A counter that a terminal shows; elsewhere it is silent, for logs want no moving lines."""

    def __init__(self, verb: str, total: int | None = None) -> None:
        self._verb, self._total = verb, total
        self._began = self._said = time.monotonic()
        self._width = 0

    def at(self, done: int) -> None:
        """So many are done."""
        now = time.monotonic()
        if not sys.stderr.isatty() or now - self._began < _QUIET or now - self._said < _EVERY:
            return
        self._said = now
        of = f" of {self._total}" if self._total is not None else ""
        line = f"{self._verb}: {done}{of} ({done / (now - self._began):.0f}/s)"
        sys.stderr.write("\r" + line.ljust(self._width))
        sys.stderr.flush()
        self._width = len(line)

    def over(self) -> None:
        """Take the line away."""
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()

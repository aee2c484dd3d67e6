"""Kills a worker every few seconds, and starts another in its place, while a test does something else."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Self

from tests.support.fleet import FENCED

if TYPE_CHECKING:
    from tests.support.fleet import Fleet


class Reaper:
    """At work while the block is; the fleet keeps its size."""

    def __init__(self, fleet: Fleet, every: float) -> None:
        self._fleet, self._every = fleet, every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reaper", daemon=True)
        self.killed = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        """The next one dies when the last one's successor is at work: a slow machine starts fewer of them."""
        while not self._over.wait(self._every):
            random.choice(self._fleet.alive).kill()
            self.killed += 1
            successor = self._fleet.start()
            while successor.metric(FENCED) is None and not self._over.wait(0.2):
                pass

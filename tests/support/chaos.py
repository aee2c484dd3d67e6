"""The scale of the tests under faults: a bounded round each in `make test`, as many as there is time in `make chaos`.

`CHAOS_MINUTES` says how long all of them may take together, `CHAOS_SEED` which random numbers they begin with. The
seed of a round is printed: it makes the same choices again (which step, which worker, which fault), though not the same
interleaving.
"""

from __future__ import annotations

import os
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a test: its seed, and what it chooses by."""

    number: int
    seed: str
    random: Random


@dataclass
class Chaos:
    """What one test may spend, and what it has to tell at the end."""

    test: str
    seed: str
    long: bool  # the larger sizes, and rounds until its time is over
    seconds: float  # its share of the time; it has one round at least
    say: Callable[[str], None]
    facts: Counter[str] = field(default_factory=Counter)

    def size(self, bounded: T, long: T) -> T:
        """How much of something: in `make test`, and in `make chaos`."""
        return long if self.long else bounded

    def rounds(self) -> Iterator[Round]:
        """One round, and more while there is time."""
        began = time.monotonic()
        number = 0
        while number == 0 or time.monotonic() - began < self.seconds:
            number += 1
            seed = self.seed if number == 1 else f"{self.seed}.{number}"
            self.say(f"{self.test}: round {number}, CHAOS_SEED={seed}, after {time.monotonic() - began:.0f} s")
            yield Round(number, seed, Random(f"{self.test}:{seed}"))
            self.facts["rounds"] += 1

    def count(self, what: str, times: int = 1) -> None:
        """Something worth a number in the summary."""
        self.facts[what] += times


def minutes() -> float:
    """How long all of them may take; 0 when nobody asked for more than the bounded rounds."""
    return float(os.environ.get("CHAOS_MINUTES") or 0)


def first_seed() -> str:
    """Where this run begins: given, or thrown."""
    return os.environ.get("CHAOS_SEED") or secrets.token_hex(4)

"""Which engine an execution gets: the flag, its owner, and a coin that is the hash of the execution's own id.

The probability that the coin had is written on the execution: the rollout's evidence stands on it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from orchestrator.flag import FlagReason, show_percent
from orchestrator.model import Assignment, Engine

if TYPE_CHECKING:
    from orchestrator.flag import FlagState

BUCKETS = 10_000
_SALT = "USE_ORCHESTRATOR_V2:"
_HASH_BYTES = 8


class Owner(StrEnum):
    """What the EngineRollout that owns the flag is doing; None where there is none."""

    ACTIVE = "active"
    COMPLETED = "completed"
    ROLLED_BACK = "rolledback"  # rolling back counts: from the decision on, nothing starts on V2


class RouteReason(StrEnum):
    """Why an execution was routed so, where the flag itself (FlagReason) does not say it."""

    EXPLICIT = "Explicit"  # the execution asks for its engine
    V1_OFF = "V1Off"  # there is no V1 here
    CONFLICT = "FlagConflict"  # the flag and the rollout that owns it say different things


@dataclass(frozen=True, slots=True)
class Routing:
    """One decision. `percent` is the probability of V2 that the coin had, in per cent, as the metric spells it."""

    engine: Engine
    assignment: Assignment
    percent: str
    reason: str

    @property
    def announcement(self) -> str:
        """The text that existing log queries look for, verbatim."""
        return f"Usando Orchestrator {self.engine.value.upper()}"


def bucket(key: str, salt: str = _SALT) -> int:
    """0 … 9999, the same for a key for ever: the first 8 bytes of a salted SHA-256, big-endian, mod 10000.

    Another salt makes another coin, independent of the router's.
    """
    digest = hashlib.sha256((salt + key).encode()).digest()
    return int.from_bytes(digest[:_HASH_BYTES], "big") % BUCKETS


def falls_on_v2(key: str, percent: Decimal, *, salt: str = _SALT) -> bool:
    """Whether a key is on V2 at this share (0 to 100, two places at most). Integers only: no rounding anywhere."""
    return bucket(key, salt) < int(percent * 100)


def route(
    flag: FlagState,
    *,
    uid: str,
    routing_key: str | None = None,
    engine: Engine | None = None,
    owner: Owner | None = None,
    v1_available: bool = True,
) -> Routing:
    """The engine of a new execution, decided once.

    `uid` is the execution's own id; `routing_key` (sticky) takes its place when given; `engine` is what the
    execution asks for by name, None for `auto`. Without a V1 the flag does not matter.
    """
    assignment = Assignment.EXECUTION if routing_key is None else Assignment.KEY
    if engine is not None:
        assignment = Assignment.EXPLICIT
    if not v1_available:
        return Routing(Engine.V2, assignment, "100", RouteReason.V1_OFF)
    if engine is not None:
        return Routing(engine, assignment, "100" if engine is Engine.V2 else "0", RouteReason.EXPLICIT)
    percent, reason = effective_percent(flag, owner)
    key = uid if routing_key is None else routing_key
    chosen = Engine.V2 if falls_on_v2(key, percent) else Engine.V1
    return Routing(chosen, assignment, show_percent(percent), reason)


def effective_percent(flag: FlagState, owner: Owner | None) -> tuple[Decimal, str]:
    """The share that really goes to V2 now (0 unless everything agrees), and why."""
    if owner is Owner.ROLLED_BACK and not flag.values.clear:
        return Decimal(0), RouteReason.CONFLICT  # a key reappeared: only a person re-arms, and not by this
    if flag.reason is FlagReason.PERCENT and flag.percent is not None:
        return flag.percent, flag.reason
    if flag.reason is FlagReason.ON:
        # An active rollout always writes a share: `true` alone is somebody else's hand.
        return (Decimal(0), RouteReason.CONFLICT) if owner is Owner.ACTIVE else (Decimal(100), flag.reason)
    return Decimal(0), flag.reason

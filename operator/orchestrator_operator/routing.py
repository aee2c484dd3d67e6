"""What the router needs to know of the flag and of the rollout that owns it, at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.flag import FlagState
    from orchestrator.router import Owner


@dataclass(frozen=True, slots=True)
class RoutingFacts:
    """The flag as it was last read, parsed at `now`, and the rollout that judges, if there is one."""

    flag: FlagState
    owner: Owner | None = None
    attempt: str = ""  # the rollout's attempt id; "" while none judges: then nothing is counted
    ages: tuple[float, ...] = ()  # seconds after submission at which it reads each execution, ascending


class RoutingSource(Protocol):
    """Where the facts come from: a cache, so that routing waits for nobody."""

    def facts(self, now: datetime) -> RoutingFacts: ...

"""V1 as a worker sees it, whichever it is: the built-in legacy engine, or a deployed one behind HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from orchestrator.store.messages import Claim


class Baseline(Protocol):
    """Takes executions, runs each to its end, and lets go when it is told to."""

    async def claim(self, owner: str, limit: int, lease: timedelta, now: datetime) -> list[Claim]:
        """Executions for this worker to run now; raises StoreUnavailable."""

    async def run(self, claim: Claim) -> None:
        """One of them, to its end or until it is let go; whatever it raises is logged, and stops nobody else's."""

    def stop(self) -> None:
        """The worker drains: let go of what another one can go on with. What cannot be let go may still end."""

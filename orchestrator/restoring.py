"""After a restore: nothing goes on by itself.

What was in flight at the moment that a backup shows may have gone on after it: steps whose completion the backup does
not know had their effect. So nobody but a person can say what is to happen, and until then everything waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator import events as e
from orchestrator.model import Engine, Status
from orchestrator.steering import every_active
from orchestrator.store.messages import Delivery

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.store.port import Store


@dataclass(frozen=True, slots=True)
class Held:
    """Executions that wait for a person now."""

    suspended: int  # of V2: each by a request in its history
    put_away: int  # of V1 that did not begin, and of V2 that is being undone
    lost: int  # of V1 that ran: it keeps no checkpoints, so they stay `running` and never go on


async def hold(store: Store, now: datetime) -> Held:
    """Hold everything that is not over. Nobody may work on the store meanwhile; the same again changes nothing more."""
    asked, undone, lost = list[Delivery](), 0, 0
    async for record in every_active(store):
        if record.engine is Engine.V1:
            lost += record.status is Status.RUNNING
        elif record.status is not Status.SUSPENDED:
            undone += record.status is Status.COMPENSATING  # the request alone would not hold it; it can be taken back
            asked.append(Delivery(record.id, e.SuspendRequested(now)))
    await store.deliver(asked)
    return Held(len(asked) - undone, await store.restored(now), lost)

"""Whether an action sends a larger share to V2 than routers send there now. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from orchestrator.flag import CLEAR, FlagReason, FlagSnapshot, parse
from orchestrator_operator.rollout.model import SetFlag

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.flag import FlagValues
    from orchestrator_operator.rollout.model import Action, Unreadable


def raises(flag: FlagSnapshot | Unreadable, action: Action, now: datetime) -> bool:
    """A flag that cannot be read, is malformed or has expired sends nothing: then whatever sets it raises the share."""
    if not isinstance(action, SetFlag):
        return False
    stands = flag.values if isinstance(flag, FlagSnapshot) else CLEAR
    return _share(action.values, now) > _share(stands, now)


def _share(values: FlagValues, now: datetime) -> Decimal:
    """In per cent, what routers send to V2 by these keys."""
    state = parse(values, now)
    return Decimal(100) if state.reason is FlagReason.ON else state.percent or Decimal(0)

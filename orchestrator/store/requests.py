"""What a person may ask of a running execution, as the event that records it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator import events as e
from orchestrator.store.messages import Control, Delivery

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_REQUESTS: Final[Mapping[Control, type[e.CancelRequested | e.SuspendRequested | e.ResumeRequested]]] = {
    Control.CANCEL: e.CancelRequested,
    Control.SUSPEND: e.SuspendRequested,
    Control.RESUME: e.ResumeRequested,
}


def delivery(execution_id: str, control: Control, now: datetime) -> Delivery:
    return Delivery(execution_id, _REQUESTS[control](now))

"""What follows when a value cannot be kept: the step, or the execution, has failed. To try again would only repeat what
the step does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator import events as e
from orchestrator.errors import InvalidPayload
from orchestrator.model import Failure, step_key
from orchestrator.payloads import check_size
from orchestrator.store import codec

if TYPE_CHECKING:
    from collections.abc import Sequence


class Unfit(Exception):
    """The event at this place of an append cannot be kept."""

    def __init__(self, index: int, error: InvalidPayload) -> None:
        super().__init__(str(error))
        self.index, self.error = index, error


def encoded(events: Sequence[e.Event]) -> tuple[str, ...]:
    """Each event's own fields as JSON text, checked; raises Unfit for the first that no store may keep."""
    texts = []
    for index, event in enumerate(events):
        try:
            text = codec.encode(event)
            check_size(text, _named(event))
        except InvalidPayload as error:
            raise Unfit(index, error) from error
        texts.append(text)
    return tuple(texts)


def _named(event: e.Event) -> str:
    if isinstance(event, e.MapStarted):
        return f"the list of node {event.node}"
    if isinstance(event, e.STEP):
        return f"the output of node {step_key(event.node, getattr(event, 'item', None))}"
    return "the execution's output"


def refused_step(event: e.Event, error: InvalidPayload) -> e.StepFailed | None:
    """A completion that was refused, as the final failure that it is; None for any other event."""
    if not isinstance(event, e.StepCompleted):
        return None
    failure = Failure(type(error).__name__, str(error), node=event.node)
    return e.StepFailed(
        event.at,
        event.node,
        event.node_type,
        event.attempt,
        failure,
        event.started_at,
        event.duration_ms,
        None,
        event.item,
        undo=event.undo,
    )

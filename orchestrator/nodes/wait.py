"""`wait`: a stored timer. Engines ask `due` once, keep the instant, and go on when it has come."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, model_validator

from orchestrator import durations
from orchestrator.nodes.base import OrExpression, With
from orchestrator.nodes.decided import Decided

if TYPE_CHECKING:
    from collections.abc import Mapping


def _duration(text: str) -> str:
    durations.parse(text)
    return text


def _instant(text: str) -> str:
    parse_instant(text)
    return text


class WaitWith(With):
    """Exactly one of the two."""

    duration: Annotated[str, AfterValidator(_duration), OrExpression] | None = Field(
        default=None, description="How long to wait, such as 2s, 10m or 7d."
    )
    until: Annotated[str, AfterValidator(_instant), OrExpression] | None = Field(
        default=None, description="Until when to wait: RFC 3339 with an offset, such as 2031-05-01T08:00:00Z."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> WaitWith:
        if (self.duration is None) == (self.until is None):
            raise ValueError("needs exactly one of duration and until")
        return self


def parse_instant(text: str) -> datetime:
    """An RFC 3339 instant; raises ValueError, also for one without an offset from UTC."""
    try:
        instant = datetime.fromisoformat(text)
        known = instant.tzinfo is not None
        instant = instant.astimezone(UTC)
    except (ValueError, OverflowError):  # the offset can lead out of the calendar
        known = False
    if not known:
        raise ValueError(f"{text!r} is no instant: write RFC 3339 with an offset, such as 2031-05-01T08:00:00Z")
    return instant


def due(with_: Mapping[str, Any], now: datetime) -> datetime:
    """When a wait that begins at `now` is over; in the past if `until` is. `with_` is evaluated.

    Raises StepError `InvalidWith`.
    """
    parsed = WaitNode.parse(with_)
    if parsed.until is not None:
        return parse_instant(parsed.until)
    return now + durations.parse(parsed.duration or "")


class WaitNode(Decided[WaitWith]):
    """A timer; its output is null."""

    name: ClassVar[str] = "wait"
    With = WaitWith

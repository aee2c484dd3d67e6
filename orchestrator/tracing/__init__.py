"""Spans of what happens, for those who want them. Without the setting nothing of this is imported or called.

    execution ─┬─ step ─┬─ attempt      one try; requests that it sends name this span
               │        ├─ attempt
               │        └─ checkpoint   the durable commit of the step's completion
               └─ step …

`ORCHESTRATOR_TRACING=on` and the extra `otel` switch it on; see docs/tracing.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from orchestrator.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import datetime

    from orchestrator.decide import RunNode
    from orchestrator.events import Event
    from orchestrator.model import Execution, Trace

VARIABLE = "ORCHESTRATOR_TRACING"


class AttemptSpan(Protocol):
    """The span of one attempt, open while it runs."""

    @property
    def trace(self) -> Trace:
        """What requests of this attempt say of the trace that they are in."""

    def became(self, event: Event) -> None:
        """How the attempt ended."""


class RequestSpan(Protocol):
    """The span of a request at the HTTP door."""

    @property
    def trace(self) -> Trace:
        """The trace that an execution of this request is in."""

    def answered(self, status: int, execution_id: str | None) -> None:
        """What was answered."""


class Tracing(Protocol):
    """What V2 and the door tell of, as it happens. Nothing of it raises, and nothing waits for a network."""

    def attempt(self, state: Execution, run: RunNode) -> AbstractContextManager[AttemptSpan]:
        """Around one attempt; current while it runs, so that spans of libraries are below it."""

    def child(self, state: Execution, run: RunNode) -> Trace:
        """The trace of a child execution that a step begins."""

    def committed(
        self, events: tuple[Event, ...], state: Execution, *, created: datetime, began: datetime, took: float
    ) -> None:
        """These events are durable, and the execution now is `state`. The commit took so many seconds."""

    def request(self, parent: Trace | None, route: str) -> AbstractContextManager[RequestSpan]:
        """Around one request at the door."""

    async def aclose(self) -> None:
        """Send what was not sent yet."""


def open_tracing(setting: str, service: str) -> Tracing | None:
    """Tracing as the setting has it (`off`, `on`), for a process of this name; None if it is off.

    Raises InvalidInput without the extra, or for an exporter that is unknown.
    """
    if setting == "off":
        return None
    try:
        from orchestrator.tracing.opened import from_environment  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        message = f"needs the extra `otel`: in a checkout `uv sync --extra otel` or `pip install '.[otel]'` ({error})"
        raise InvalidInput([Problem(VARIABLE, message)]) from None
    return from_environment(service)

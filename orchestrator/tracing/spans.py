"""Spans by OpenTelemetry's SDK.

The spans of an execution and of its steps begin in one process and may end in another. So they are written when they
are over, in the commit's wake, with the moments that the history has; their ids are functions of execution and step,
and whatever happens in between names them as its parent before they are written.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from orchestrator import events as e
from orchestrator import tracecontext
from orchestrator.model import Engine, Failure, Trace, step_key_of
from orchestrator.model import Status as ExecutionStatus
from orchestrator.tracecontext import SpanId, span_of, trace_of
from orchestrator.tracing.ids import Ids

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.util.types import AttributeValue

    from orchestrator.decide import RunNode
    from orchestrator.events import Event
    from orchestrator.model import Execution

_LONGEST: Final = 500  # characters of a failure's message
_EXECUTION: Final = "execution"
_UNKNOWN: Final = Status(StatusCode.UNSET)


def provider(resource: Resource, sampler: Sampler | None = None) -> tuple[TracerProvider, Ids]:
    """A provider whose ids can be given; without a sampler the one of OTEL_TRACES_SAMPLER."""
    ids = Ids()
    return TracerProvider(sampler=sampler, resource=resource, id_generator=ids, shutdown_on_exit=False), ids


class Spans:
    """The `Tracing` of a process."""

    def __init__(self, made: TracerProvider, ids: Ids) -> None:
        self._provider, self._ids = made, ids
        self._tracer = made.get_tracer("orchestrator")

    async def aclose(self) -> None:
        await asyncio.to_thread(self._provider.shutdown)  # it may wait for a collector

    # -- what runs
    @contextmanager
    def attempt(self, state: Execution, run: RunNode) -> Iterator[_Attempt]:
        node = run.node
        span = self._tracer.start_span(
            f"attempt {node.id}",
            _below(self._place(state, run.key)),
            SpanKind.CLIENT if node.type == "http" else SpanKind.INTERNAL,
            _step_attributes(state, node.id, node.type, run.item, run.undo) | {"orchestrator.attempt": run.attempt},
        )
        with api.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            yield _Attempt(span)

    def child(self, state: Execution, run: RunNode) -> Trace:
        return _said(self._place(state, run.key))

    # -- what is over
    def committed(
        self, events: tuple[Event, ...], state: Execution, *, created: datetime, began: datetime, took: float
    ) -> None:
        ended = began + timedelta(seconds=took)
        for event in events:
            if isinstance(event, e.StepCompleted):
                self._checkpoint(state, event, began, ended)
                self._step(state, event, ended, None)
            elif isinstance(event, e.StepFailed) and event.retry_at is None:
                self._step(state, event, ended, event.failure)
        if state.status.terminal:
            self._execution(state, created, ended)

    def _execution(self, state: Execution, created: datetime, ended: datetime) -> None:
        attributes: dict[str, AttributeValue] = {
            "orchestrator.execution.id": state.id,
            "orchestrator.workflow.id": state.workflow_id,
            "orchestrator.workflow.revision": state.revision,
            "orchestrator.engine": Engine.V2.value,
            "orchestrator.status": state.status.value,
            "orchestrator.retries": state.retries,
        }
        if state.parent is not None:
            attributes["orchestrator.parent.id"] = state.parent
        if state.lineage is not None:
            attributes["orchestrator.origin.id"] = state.lineage.origin
        place = self._root(state)
        parent = Context() if state.trace is None else _below(_context(state.trace))
        failure = state.failure if state.status is ExecutionStatus.FAILED else None
        with self._ids.given(place.trace_id, place.span_id):
            name = f"{_EXECUTION} {state.workflow_id}"
            span = self._tracer.start_span(name, parent, attributes=attributes, start_time=_nanoseconds(created))
        span.set_status(_status(failure) if state.status is not ExecutionStatus.CANCELLED else _UNKNOWN)
        span.end(_nanoseconds(ended))

    def _step(
        self, state: Execution, event: e.StepCompleted | e.StepFailed, ended: datetime, failure: Failure | None
    ) -> None:
        key = step_key_of(event)
        first = state.step(key).first_started_at or event.started_at
        attributes = _step_attributes(state, event.node, event.node_type, event.item, event.undo)
        place, below = self._place(state, key), _below(self._root(state))
        with self._ids.given(place.trace_id, place.span_id):
            span = self._tracer.start_span(
                f"step {event.node}",
                below,
                attributes=attributes | {"orchestrator.attempts": event.attempt},
                start_time=_nanoseconds(first),
            )
        span.set_status(_status(failure))
        span.end(_nanoseconds(ended))

    def _checkpoint(self, state: Execution, event: e.StepCompleted, began: datetime, ended: datetime) -> None:
        span = self._tracer.start_span(
            f"checkpoint {event.node}",
            _below(self._place(state, step_key_of(event))),
            attributes=_step_attributes(state, event.node, event.node_type, event.item, event.undo),
            start_time=_nanoseconds(began),
        )
        span.end(_nanoseconds(ended))

    # -- the door
    @contextmanager
    def request(self, parent: Trace | None, route: str) -> Iterator[_Request]:
        span = self._tracer.start_span(
            f"POST {route}",
            Context() if parent is None else _below(_context(parent)),
            SpanKind.SERVER,
            {"http.request.method": "POST", "http.route": route},
        )
        with api.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            yield _Request(span)

    # -- places in the trace
    def _root(self, state: Execution) -> SpanContext:
        """The span of an execution, written or not."""
        if state.trace is not None:
            there = _context(state.trace)
            return SpanContext(there.trace_id, span_of(state.id), True, there.trace_flags, there.trace_state)
        trace_id = trace_of(state.id)
        decided = self._provider.sampler.should_sample(None, trace_id, f"{_EXECUTION} {state.workflow_id}")
        sampled = decided.decision is Decision.RECORD_AND_SAMPLE
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        return SpanContext(trace_id, span_of(state.id), True, flags)

    def _place(self, state: Execution, key: str) -> SpanContext:
        """The span of a step, written or not."""
        root = self._root(state)
        return SpanContext(root.trace_id, span_of(state.id, key), True, root.trace_flags, root.trace_state)


@dataclass(frozen=True, slots=True)
class _Attempt:
    span: api.Span

    @property
    def trace(self) -> Trace:
        return _said(self.span.get_span_context())

    def became(self, event: Event) -> None:
        if isinstance(event, e.StepFailed):
            self.span.set_status(_status(event.failure))
            self.span.set_attribute("error.type", event.failure.kind)


@dataclass(frozen=True, slots=True)
class _Request:
    span: api.Span

    @property
    def trace(self) -> Trace:
        return _said(self.span.get_span_context())

    def answered(self, status: int, execution_id: str | None) -> None:
        self.span.set_attribute("http.response.status_code", status)
        if execution_id is not None:
            self.span.set_attribute("orchestrator.execution.id", execution_id)
        if status >= 500:  # noqa: PLR2004 - the server's own faults; a client's are none of a server's span
            self.span.set_status(Status(StatusCode.ERROR))
            self.span.set_attribute("error.type", str(status))


def _step_attributes(
    state: Execution, node: str, node_type: str, item: str | None, undo: bool
) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        "orchestrator.execution.id": state.id,
        "orchestrator.workflow.id": state.workflow_id,
        "orchestrator.node.id": node,
        "orchestrator.node.type": node_type,
    }
    if item is not None:
        attributes["orchestrator.item"] = item
    if undo:
        attributes["orchestrator.compensation"] = True
    return attributes


def _context(trace: Trace) -> SpanContext:
    """Where a trace was when it was handed on."""
    place = tracecontext.parse(trace.parent)
    if place is None:  # only what could be parsed is ever kept
        return api.INVALID_SPAN_CONTEXT
    state = TraceState.from_header([trace.state]) if trace.state else None
    return SpanContext(place.trace, place.span, True, TraceFlags(place.flags), state)


def _said(place: SpanContext) -> Trace:
    return Trace(SpanId(place.trace_id, place.span_id, place.trace_flags).header, place.trace_state.to_header())


def _below(place: SpanContext) -> Context:
    return api.set_span_in_context(NonRecordingSpan(place), Context())


def _status(failure: Failure | None) -> Status:
    if failure is None:
        return Status(StatusCode.OK)
    return Status(StatusCode.ERROR, f"{failure.kind}: {failure.message}"[:_LONGEST])


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6) * 1000

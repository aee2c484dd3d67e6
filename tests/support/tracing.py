"""Workers whose spans are kept in memory, by OpenTelemetry's own exporter."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from orchestrator.clock import SystemClock
from orchestrator.functions import Functions
from orchestrator.nodes.addresses import AllowList
from orchestrator.nodes.runner import NodeRunner
from orchestrator.tracing.spans import Spans, provider
from orchestrator.worker import Worker, WorkerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.sampling import Sampler

    from orchestrator.clock import Clock
    from orchestrator.store import Store

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"  # a caller's traceparent


@dataclass
class Kept:
    """Spans, and where they are found afterwards."""

    spans: Spans
    exporter: InMemorySpanExporter

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        """In the order in which they ended."""
        return sorted((s for s in self.all if s.name == name), key=lambda s: s.end_time or 0)

    def one(self, name: str) -> ReadableSpan:
        (found,) = self.named(name)
        return found

    def parent(self, span: ReadableSpan) -> ReadableSpan | None:
        """The span that it is below, if it is one of these."""
        above = span.parent
        return None if above is None else next((s for s in self.all if span_id(s) == above.span_id), None)


def span_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


def trace_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.trace_id


def traceparent(span: ReadableSpan) -> str:
    """What a request of this span says."""
    return f"00-{trace_id(span):032x}-{span_id(span):016x}-01"


def keep(sampler: Sampler | None = None) -> Kept:
    made, ids = provider(Resource.create({"service.name": "tests"}), sampler)
    exporter = InMemorySpanExporter()
    made.add_span_processor(SimpleSpanProcessor(exporter))
    return Kept(Spans(made, ids), exporter)


@asynccontextmanager
async def traced(
    store: Store, kept: Kept | None, functions: Functions | None = None, clock: Clock | None = None
) -> AsyncIterator[Worker]:
    """A worker that runs while the block does, with tracing or without."""
    async with NodeRunner(allowed=AllowList.parse("127.0.0.0/8"), functions=functions or Functions()) as runner:
        tracing = None if kept is None else kept.spans
        settings = WorkerSettings(poll=timedelta(milliseconds=20))
        worker = Worker(store, runner, clock or SystemClock(), settings, tracing=tracing)
        stop = asyncio.Event()
        task = asyncio.create_task(worker.run(stop))
        try:
            yield worker
        finally:
            stop.set()
            await task

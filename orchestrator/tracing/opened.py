"""From the standard's environment variables to spans that are sent: OTEL_TRACES_EXPORTER, OTEL_EXPORTER_OTLP_…, …"""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor

from orchestrator.errors import InvalidInput, Problem
from orchestrator.tracing.spans import Spans, provider

if TYPE_CHECKING:
    from collections.abc import Mapping

EXPORTER = "OTEL_TRACES_EXPORTER"


def from_environment(service: str, environment: Mapping[str, str] | None = None) -> Spans:
    """Spans that go where OTEL_TRACES_EXPORTER says: `otlp` (the default), `console` (one JSON a line) or `none`."""
    source = os.environ if environment is None else environment
    chosen = source.get(EXPORTER, "otlp") or "otlp"
    named = {} if source.get("OTEL_SERVICE_NAME") else {"service.name": service}
    made, ids = provider(Resource.create({"service.version": _version(), **named}))
    if chosen == "otlp":
        made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    elif chosen == "console":
        made.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=lambda s: s.to_json(None) + "\n")))
    elif chosen != "none":
        raise InvalidInput([Problem(EXPORTER, f"{chosen!r} is not otlp, console or none")])
    return Spans(made, ids)


def _version() -> str:
    try:
        return version("orchestrator")
    except PackageNotFoundError:  # run from a source tree that nobody installed
        return "unknown"

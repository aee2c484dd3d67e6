"""Ids of spans: our own where the next process must find them again, random ones elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator

if TYPE_CHECKING:
    from collections.abc import Iterator


class Ids(IdGenerator):
    """Random, but while `given` holds. The SDK asks in the call that begins a span, so no other span comes between."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self._trace: int | None = None
        self._span: int | None = None

    @contextmanager
    def given(self, trace: int, span: int) -> Iterator[None]:
        """The ids of the one span that begins in this block."""
        self._trace, self._span = trace, span
        try:
            yield
        finally:
            self._trace = self._span = None

    def generate_trace_id(self) -> int:
        return self._random.generate_trace_id() if self._trace is None else self._trace

    def generate_span_id(self) -> int:
        return self._random.generate_span_id() if self._span is None else self._span

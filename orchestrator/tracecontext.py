"""W3C Trace Context (https://www.w3.org/TR/trace-context/): reading and writing its two headers, and ids of our own.

The ids of an execution's spans are functions of the execution and the step. So a worker that takes an execution over
goes on with the same trace and the same parents, although the worker before it died without a word.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.model import Trace

if TYPE_CHECKING:
    from orchestrator.model import Execution

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
SAMPLED: Final = 0x01
_HEADER = re.compile(r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")
_LONGEST_STATE = 512  # characters that a participant must hand on; more may be dropped as a whole
_LARGEST_STATE = 32  # members
_STATE = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True, slots=True)
class SpanId:
    """A place in a trace: `trace` of 128 and `span` of 64 bits, neither of them zero."""

    trace: int
    span: int
    flags: int  # bit 0: it is recorded

    @property
    def header(self) -> str:
        """The header `traceparent`, version 00."""
        return f"00-{self.trace:032x}-{self.span:016x}-{self.flags & SAMPLED:02x}"


def read(traceparent: str | None, tracestate: str | None = None) -> Trace | None:
    """The trace that a request's headers speak of. None when there is none, or one that cannot be understood: the
    standard asks to go on without it.
    """
    place = parse(traceparent)
    if place is None:
        return None
    return Trace(place.header, _state(tracestate))


def parse(traceparent: str | None) -> SpanId | None:
    """The header `traceparent`, of any version that its reader can understand; None for anything else."""
    text = (traceparent or "").strip(" \t")
    found = _HEADER.match(text)
    if found is None or found["version"] == "ff":
        return None
    rest = text[found.end() :]
    if rest and (found["version"] == "00" or not rest.startswith("-")):
        return None
    place = SpanId(int(found["trace"], 16), int(found["span"], 16), int(found["flags"], 16))
    return place if place.trace and place.span else None


def headers(trace: Trace) -> dict[str, str]:
    """The headers of a request that is made within a trace."""
    return {TRACEPARENT: trace.parent} | ({TRACESTATE: trace.state} if trace.state else {})


def trace_of(execution_id: str) -> int:
    """The trace of an execution that nobody began within a trace of their own."""
    return _id(f"trace {execution_id}", 16)


def span_of(execution_id: str, step: str = "") -> int:
    """The span of an execution, or that of one of its steps (model.step_key)."""
    return _id(f"span {execution_id}/{step}", 8)


def within(state: Execution, step: str) -> Trace | None:
    """The trace of what a step begins: the execution's own, below the step. None when nobody traces it."""
    if state.trace is None:
        return None
    place = parse(state.trace.parent)
    if place is None:
        return None
    return Trace(SpanId(place.trace, span_of(state.id, step), place.flags).header, state.trace.state)


def _id(text: str, size: int) -> int:
    # All zeros would be no id; one in 2^64 at most is.
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size], "big") or 1


def _state(tracestate: str | None) -> str:
    text = (tracestate or "").strip()
    if len(text) > _LONGEST_STATE or text.count(",") >= _LARGEST_STATE or not _STATE.fullmatch(text):
        return ""
    return text

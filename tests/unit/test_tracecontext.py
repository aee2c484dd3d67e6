"""W3C Trace Context: what is understood, what is not, and ids that the next process finds again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model import Trace
from orchestrator.tracecontext import SpanId, headers, parse, read, span_of, trace_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 1))
def test_what_is_written_is_read_again(trace: int, span: int, flags: int) -> None:
    place = SpanId(trace, span, flags)
    assert parse(place.header) == place


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "nonsense",
        PARENT.upper(),
        PARENT + "-more",  # version 00 has four fields
        PARENT + "0",
        PARENT.replace("00-", "ff-", 1),
        PARENT.replace(TRACE, "0" * 32),
        PARENT.replace(SPAN, "0" * 16),
        PARENT.replace("-", "_"),
        PARENT.replace("00-", "01-", 1) + "more",
    ],
)
def test_what_is_no_traceparent_begins_no_trace(text: str | None) -> None:
    assert read(text, "vendor=1") is None


@pytest.mark.parametrize("text", [PARENT, f" {PARENT}\t", PARENT.replace("00-", "cc-", 1) + "-what-the-future-holds"])
def test_a_later_version_is_understood_and_written_as_our_own(text: str) -> None:
    assert read(text) == Trace(PARENT)


@given(st.text(max_size=80))
def test_whatever_a_header_holds_it_is_read_or_ignored(text: str) -> None:
    assert read(text) is None or parse(text) is not None
    state = read(PARENT, text)
    assert state is not None
    assert state.state.isascii()
    assert "\n" not in state.state


@pytest.mark.parametrize("state", ["x" * 513, ",".join(f"k{n}=v" for n in range(33)), "a=ü", "a=\x00"])
def test_a_state_that_may_be_dropped_is_dropped_whole(state: str) -> None:
    assert read(PARENT, state) == Trace(PARENT)


def test_the_headers_are_those_that_came() -> None:
    assert headers(Trace(PARENT, "vendor=1")) == {"traceparent": PARENT, "tracestate": "vendor=1"}
    assert headers(Trace(PARENT)) == {"traceparent": PARENT}


def test_ids_follow_from_execution_and_step_for_ever() -> None:
    """Golden: a worker of another version must name the same parents."""
    assert f"{trace_of('x1'):032x}" == "fd96e5002aad9e8b52bf308f1a67305c"
    assert f"{span_of('x1'):016x}" == "68f96d3d73e00be3"
    assert f"{span_of('x1', 'charge'):016x}" == "24b41c4449bda47a"
    steps = {span_of("x1", key) for key in ("", "a", "a/0", "a:compensate")} | {span_of("x2", "a")}
    assert len(steps) == 5

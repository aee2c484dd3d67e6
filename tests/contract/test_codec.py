"""Every event there can be comes back from its stored form as it was."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import events as e
from orchestrator.errors import InvalidPayload, SchemaConflict
from orchestrator.model import Failure, Lineage, Status, Trace
from orchestrator.store import codec
from tests.support.stores import START

# What any store can keep: no NUL, no lone surrogate, no NaN, no infinity.
texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
numbers = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
moments = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - given its zone by hypothesis
failures = st.builds(Failure, texts, texts, st.booleans(), st.none() | texts, status=st.none() | st.integers(100, 599))
pairs = st.lists(st.tuples(texts, texts), max_size=2).map(tuple)
lineages = st.builds(Lineage, texts, st.integers(1, 9), texts, st.lists(texts, max_size=2).map(tuple), pairs, pairs)

BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "Any": values,
    "Failure": failures,
    "Failure | None": st.none() | failures,
    "Lineage | None": st.none() | lineages,
    "Trace | None": st.none() | st.builds(Trace, texts, texts),
    "Status": st.sampled_from(Status),
    "bool": st.booleans(),
    "datetime": moments,
    "datetime | None": st.none() | moments,
    "float": st.floats(0, 1e9),
    "int": st.integers(0, 2**31 - 1),
    "int | None": st.none() | st.integers(1, 2**31 - 1),
    "str": texts,
    "str | None": st.none() | texts,
    "tuple[Any, ...]": st.lists(values, max_size=3).map(tuple),
    "tuple[str, ...]": st.lists(texts, max_size=3).map(tuple),
}


def any_event(kind: type[e.Event]) -> st.SearchStrategy[e.Event]:
    """Every field of it, by its declared type: a field of a new type has to be told here how it looks."""
    return st.builds(kind, **{name: BY_TYPE[str(f.type)] for name, f in kind.__dataclass_fields__.items()})


#: An event is small, and there are many kinds: a few dozen of each say enough.
some = settings(max_examples=40)


def again(event: e.Event) -> e.Event:
    """What is read of what is stored: the columns, and the text of the rest."""
    columns = (getattr(event, name, None) for name in ("node", "node_type", "attempt"))
    return codec.load_event(
        codec.type_name(event), e.SCHEMA_VERSION, event.at, *columns, json.loads(codec.encode(event))
    )


def test_the_union_and_the_list_of_events_are_the_same() -> None:
    assert set(get_args(e.Event)) == set(e.ALL)


@pytest.mark.parametrize("kind", e.ALL, ids=lambda kind: kind.__name__)
@some
@given(data=st.data())
def test_an_event_comes_back_as_it_was(kind: type[e.Event], data: st.DataObject) -> None:
    event = data.draw(any_event(kind))
    assert again(event) == event


@pytest.mark.parametrize("kind", e.ALL, ids=lambda kind: kind.__name__)
@some
@given(data=st.data())
def test_the_text_of_an_event_is_json_that_any_database_keeps(kind: type[e.Event], data: st.DataObject) -> None:
    text = codec.encode(data.draw(any_event(kind)))
    assert isinstance(json.loads(text), dict)
    assert "\x00" not in text
    text.encode()


BAD = [math.nan, math.inf, -math.inf, "a\x00", "\udc00", {"k\x00": 1}, {"\ud800": 1}, [[["\x00"]]], b"x", {1}, object]


@pytest.mark.parametrize("value", BAD, ids=repr)
def test_what_a_database_would_refuse_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InvalidPayload, match="SignalReceived"):
        codec.encode(e.SignalReceived(START, "go", value, "s1"))


@pytest.mark.parametrize("text", ["a\x00", "\udc00"])
def test_a_failures_message_is_checked_too(text: str) -> None:
    with pytest.raises(InvalidPayload):
        codec.encode(e.ExecutionFailed(START, Failure("Fail", text)))


def test_a_field_at_its_default_takes_no_space() -> None:
    event = e.StepCompleted(START, "a", "transform", 1, 7, START, 1.5)
    assert set(json.loads(codec.encode(event))) == {"output", "started_at", "duration_ms"}


def test_an_event_of_a_newer_schema_is_refused() -> None:
    with pytest.raises(SchemaConflict, match="upgrade"):
        codec.load_event("ExecutionStarted", e.SCHEMA_VERSION + 1, START, None, None, None, {})


def test_an_event_of_an_unknown_type_is_refused_by_name() -> None:
    with pytest.raises(SchemaConflict, match="Surprise"):
        codec.load_event("Surprise", 1, START, None, None, None, {})


def test_an_event_that_lacks_a_field_is_refused_by_name() -> None:
    with pytest.raises(SchemaConflict, match="reason"):
        codec.load_event("ExecutionSuspended", 1, START, None, None, None, {})

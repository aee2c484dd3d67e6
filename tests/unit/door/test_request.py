"""Requests from bytes to values: whatever is sent, the answer is a request or a refusal that names a field."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.door import request
from orchestrator.door.problems import Refused
from orchestrator.door.request import read_key, read_request, read_wait
from orchestrator.door.settings import address
from orchestrator.jsonvalues import same_value

texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
MINUTE = timedelta(minutes=1)


@given(st.binary(max_size=60) | values.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_a_request_or_a_refusal_that_says_why(body: bytes) -> None:
    refused = None
    try:
        assert read_request(body, None).workflow
    except Refused as error:
        refused = error
    if refused is not None:
        assert refused.status == 400
        assert all(problem.message for problem in refused.problems)


class Watched(str):
    """A key that tells how often it was compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        Watched.compared += 1
        return super().__eq__(other)

    __hash__ = str.__hash__


def test_a_key_that_stands_twice_is_found_without_comparing_each_with_each() -> None:
    """A hostile body of a megabyte must not stop everything else in the process for minutes."""
    names = [Watched(number) for number in (*range(2000), 1999)]
    Watched.compared = 0
    with pytest.raises(ValueError, match="'1999' stands twice"):
        request._once([(name, None) for name in names])
    assert Watched.compared < 2 * len(names)


@given(st.dictionaries(texts, values, max_size=4))
def test_an_input_arrives_as_it_was_sent(sent: dict[str, Any]) -> None:
    body = json.dumps({"workflow": "w", "input": sent}).encode()
    assert same_value(read_request(body, None).input, sent)


@given(values)
def test_a_value_is_the_same_as_its_copy_with_other_spellings_of_numbers(value: Any) -> None:
    """As a database gives them back: 1e22 in digits, 2.0 as 2."""

    def spelt(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: spelt(part[key]) for key in reversed(part)}
        if isinstance(part, list):
            return [spelt(member) for member in part]
        return int(part) if isinstance(part, float) and part.is_integer() else part

    assert same_value(value, spelt(value))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (0, False),
        (0, None),
        ("1", 1),
        ([], {}),
        ([1], [1, 1]),
        ({"a": None}, {}),
        ({"a": [1]}, {"a": [True]}),
    ],
)
def test_values_that_readers_could_tell_apart_are_not_the_same(one: Any, other: Any) -> None:
    assert not same_value(one, other)
    assert not same_value(other, one)


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("k", "k"),
        (" k ", "k"),
        ('"k"', "k"),
        (r'"a\"b\\c"', r"a\b".replace("\\", '"') + "\\c"),
        ("a b", "a b"),
        (None, None),
    ],
)
def test_a_key_is_bare_or_quoted(header: str | None, key: str | None) -> None:
    assert read_key(header) == key


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("500ms", 0.5), ("7", 7), ("0.25", 0.25), ("", 60), ("0", 0), ("1m", 60)]
)
def test_a_wait_is_a_duration_or_seconds_or_as_long_as_may_be(text: str, seconds: float) -> None:
    assert read_wait(text, MINUTE) == timedelta(seconds=seconds)


def test_without_the_parameter_nobody_waits() -> None:
    assert read_wait(None, MINUTE) is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [("127.0.0.1:8080", ("127.0.0.1", 8080)), ("[::1]:0", ("::1", 0)), ("host:65535", ("host", 65535))],
)
def test_an_address_is_host_and_port(text: str, parts: tuple[str, int]) -> None:
    assert address(text) == parts


@pytest.mark.parametrize("text", ["8080", ":8080", "host:", "host:99999", "::1:80", "a b:1", "host:http"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no host:port, such as"):
        address(text)

"""A row's hash can be made by anybody, and rows share what they repeat."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_operator.rollout.log import chain
from orchestrator_operator.rollout.log.chain import NOWHERE, Draft
from orchestrator_operator.rollout.log.sharing import (
    Shared,
    resolved,
    shared_values,
    shortened,
    with_closed,
    without_closed,
)
from orchestrator_operator.specs.rollout_status import DecisionHead

NOW = datetime(2026, 3, 1, 12, 0, 0, 123_457, tzinfo=UTC)


def draft(**fields: Any) -> Draft:
    values = {"message": "on we go", "content": {"inputs": {"name": "shop/v2", "now": 1e-7}}, **fields}
    return Draft("u-1", "shop/v2", "u-1", NOW, "Promote", "StagePassed", actor="controller", **values)


def test_the_hash_of_a_row_is_sha_256_over_its_canonical_json() -> None:
    """Written out by hand, with nothing but the standard library."""
    row = chain.seal(draft(), DecisionHead(number=6, hash="abc"), {})
    text = (
        '{"action":"Promote","actor":"controller","at":"2026-03-01T12:00:00.123457Z","attempt":"u-1",'
        '"content":{"inputs":{"name":"shop/v2","now":1e-07}},"message":"on we go","name":"shop/v2","number":7,'
        '"prev_hash":"abc","reason":"StagePassed","rollout":"u-1"}'
    )
    assert row.hash == hashlib.sha256(text.encode()).hexdigest()


def test_the_first_row_follows_nothing() -> None:
    row = chain.seal(draft(), NOWHERE, {})
    assert (row.number, row.prev_hash) == (1, "")


def test_a_row_of_an_export_is_the_row() -> None:
    row = chain.seal(draft(), NOWHERE, {"late": True})
    assert chain.from_json(json.loads(json.dumps(chain.to_json(row)))) == row


def test_what_no_database_can_keep_is_replaced_in_the_words_of_people() -> None:
    row = chain.seal(draft(message="nul \x00, half \ud800 of a pair"), NOWHERE, {})
    assert row.message == "nul \ufffd, half ? of a pair"
    row.content.encode()
    assert "\x00" not in row.content


def test_what_is_no_number_of_json_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        chain.canonical(float("inf"))


# -- sharing

values = st.recursive(st.none() | st.integers(0, 3) | st.text(max_size=2), st.lists, max_leaves=4)
bins = st.lists(values, max_size=6)
inputs = st.fixed_dictionaries(
    {"now": st.integers()},
    optional={
        "spec": st.dictionaries(st.text(max_size=2), values),
        "restarts": bins,
        "own": st.dictionaries(st.sampled_from(["a", "b/c"]), bins | st.just({"$": "Unreadable", "reason": "x"})),
    },
)


@given(st.lists(inputs, min_size=1, max_size=5))
def test_inputs_that_name_earlier_rows_read_back_in_full(story: list[dict[str, Any]]) -> None:
    seen: dict[int, dict[str, Any]] = {}
    shared = None
    for number, whole in enumerate(story, start=1):
        written = whole if shared is None else shortened(whole, shared)
        assert resolved(json.loads(chain.canonical(written)), seen) == whole
        shared = Shared(number, shared_values(whole))
        seen[number] = shared_values(whole)


def test_what_only_grows_is_written_once() -> None:
    before = {"restarts": [{"n": n} for n in range(20)], "spec": {"paused": False}, "own": {"refunds": [1, 2, 3]}}
    after = {"restarts": [*before["restarts"], {"n": 20}], "spec": {"paused": False}, "own": {"refunds": [1, 2, 3, 4]}}
    written = shortened(after, Shared(7, shared_values(before)))
    assert written == {
        "restarts": {"$as": 7, "first": 20, "then": [{"n": 20}]},
        "spec": {"$as": 7},
        "own": {"refunds": {"$as": 7, "first": 3, "then": [4]}},
    }


# -- bins that have closed

BINS = [{"k1": 1.0, "n1": float(number), "k2": 0.0, "n2": 3.0} for number in range(5)]


def gathered_bins(own: Any, first: int, bins: list[Any]) -> dict[str, Any]:
    return {"own": {"shop": own}, "closed": [{"criterion": "shop", "first": first, "bins": bins}]}


def test_bins_that_have_closed_are_told_once() -> None:
    whole = gathered_bins(BINS, 3, BINS[3:])
    written = without_closed(whole)
    assert written["closed"] == [{"criterion": "shop", "first": 3}]
    assert with_closed(written) == whole


def test_bins_of_a_counter_that_is_caught_up_with_stand_in_full() -> None:
    """All bins cannot be read then, so nothing else tells them."""
    whole = gathered_bins({"$": "Unreadable", "reason": "CatchingUp", "message": "…"}, 3, BINS[3:])
    assert without_closed(whole) == whole == with_closed(whole)

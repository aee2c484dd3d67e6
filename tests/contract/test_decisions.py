"""The log of a rollout's decisions: a chain that only grows at its end."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import StoreUnavailable
from orchestrator.faults import Boundary
from orchestrator.store import Appended, Taken
from orchestrator.testing import faults
from tests.support.stores import START, after, claim_one, decision, end, submission

if TYPE_CHECKING:
    from orchestrator.store import Store


async def chain(store: Store, length: int, rollout: str = "r") -> None:
    for number in range(1, length + 1):
        assert await store.append_decision(decision(number, rollout=rollout)) == Appended()


async def test_rows_are_read_in_their_order_a_page_at_a_time(store: Store) -> None:
    await chain(store, 3)
    await chain(store, 1, rollout="another")
    assert await store.decisions("r") == [decision(1), decision(2), decision(3)]
    assert await store.decisions("r", after=1, limit=1) == [decision(2)]
    assert await store.decisions("nobody") == []


async def test_a_row_reads_back_to_the_letter(store: Store) -> None:
    numbers = [0.1, 1e-7, 1.0, -0.0, 5e-324, 1.7976931348623157e308, 2**53 + 1]
    content = json.dumps({"z": numbers, "a": "\u0000 ü"})
    row = decision(1, content=content, message="ü …", at=START + timedelta(microseconds=123_457))
    await store.append_decision(row)
    assert await store.decisions("r") == [row]


async def test_the_same_row_again_is_recognised(store: Store) -> None:
    await chain(store, 2)
    assert await store.append_decision(decision(2)) == Appended()
    assert await store.append_decision(decision(1)) == Appended()  # although others came after it
    assert len(await store.decisions("r")) == 2


async def test_a_row_whose_answer_was_lost_is_recognised(store: Store) -> None:
    with faults.lose(Boundary.APPEND_DECISION), pytest.raises(StoreUnavailable):
        await store.append_decision(decision(1))
    assert await store.append_decision(decision(1)) == Appended()


@pytest.mark.parametrize(
    ("number", "previous", "hash_"),
    [(2, "h1", "other"), (1, "", "other"), (3, "other", "h3"), (4, "h3", "h4"), (3, "", "h3")],
    ids=["its number is taken", "the first is taken", "another row is before it", "a gap", "a second beginning"],
)
async def test_a_row_that_does_not_fit_the_end_is_refused_with_the_end(
    store: Store, number: int, previous: str, hash_: str
) -> None:
    await chain(store, 2)
    assert await store.append_decision(decision(number, previous, hash=hash_)) == Taken(2, "h2")
    assert await store.decisions("r") == [decision(1), decision(2)]


async def test_a_chain_begins_at_one(store: Store) -> None:
    assert await store.append_decision(decision(2)) == Taken(0, "")


async def test_of_two_who_append_at_once_one_is_refused(store: Store) -> None:
    await chain(store, 1)
    rows = [decision(2, hash=f"by {name}") for name in "ab"]
    answers = await asyncio.gather(*(store.append_decision(row) for row in rows))
    (stands,) = (row for row, answer in zip(rows, answers, strict=True) if answer == Appended())
    assert [answer for answer in answers if answer != Appended()] == [Taken(2, stands.hash)]
    assert await store.decisions("r", after=1) == [stands]


async def test_rows_outlive_retention(store: Store) -> None:
    await chain(store, 1)
    await store.submit([submission("x1")], START)
    await end(store, await claim_one(store))
    assert await store.drop_finished(after(1e9)) == 1
    await store.drop_logs(after(1e9))
    assert await store.decisions("r") == [decision(1)]

"""The shop's books: one effect for each key, refusals that depend on nothing but the order, leaks seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.demo.ledger import Answer, Call, Faults, Ledger, decide, mixed_up, unlucky

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_FAULTS = Faults()
LUCKY = next(f"o{n}" for n in range(1000) if not unlucky(f"o{n}"))
UNLUCKY = next(f"o{n}" for n in range(1000) if unlucky(f"o{n}"))


def call(key: str = "x1/reserve", path: str = "/reserve", order: str = LUCKY, engine: str = "v2", **body: Any) -> Call:
    return Call(key=key, path=path, order=order, engine=engine, at=0.0, body={"order": order, **body})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    books = Ledger(tmp_path / "ledger.db")
    yield books
    books.close()


def test_a_repeated_key_gets_the_same_answer_and_no_second_effect(ledger: Ledger) -> None:
    first, second = ledger.record(call(), NO_FAULTS), ledger.record(call(), NO_FAULTS)
    assert (first.body, first.replayed, second.body, second.replayed) == (second.body, False, first.body, True)
    assert (ledger.summary().requests, ledger.summary().effects, ledger.summary().replayed) == (2, 1, 1)


def test_a_key_used_for_another_path_is_a_conflict(ledger: Ledger) -> None:
    ledger.record(call(), NO_FAULTS)
    assert ledger.record(call(path="/ship"), NO_FAULTS).status == 409


def test_the_same_thing_done_twice_under_different_keys_is_counted_as_doubled(ledger: Ledger) -> None:
    for key in ("x1/charge", "x1/charge#2"):
        ledger.record(call(key=key, path="/charge"), NO_FAULTS)
    assert ledger.summary().doubled == {"v1": 0, "v2": 1}


@pytest.mark.parametrize("engine", ["v1", "v2"])
def test_an_unlucky_order_is_refused_whichever_engine_brings_it(engine: str) -> None:
    assert decide(call(path="/charge", order=UNLUCKY, engine=engine), NO_FAULTS).status == 422


def test_about_three_orders_in_a_hundred_are_unlucky() -> None:
    assert 200 < sum(unlucky(f"order-{n}") for n in range(10_000)) < 400


def test_a_refused_request_has_no_effect(ledger: Ledger) -> None:
    ledger.record(call(path="/charge", order=UNLUCKY), NO_FAULTS)
    assert (ledger.summary().effects, ledger.summary().refused) == (0, 1)


def test_faults_hit_one_engine_only_by_about_their_share() -> None:
    faults = Faults("v2", 0.4)
    hit = [sum(faults.hits(call(key=f"x{n}/a", engine=engine)) for n in range(2000)) for engine in ("v1", "v2")]
    assert hit[0] == 0
    assert 700 < hit[1] < 900


def test_a_repeated_request_meets_the_same_fault() -> None:
    faults = Faults("v2", 0.5)
    assert [faults.hits(call(key=f"x{n}/a")) for n in range(50)] == [
        faults.hits(call(key=f"x{n}/a")) for n in range(50)
    ]


def test_an_effect_done_before_the_faults_is_still_answered(ledger: Ledger) -> None:
    before = ledger.record(call(), NO_FAULTS)
    assert ledger.record(call(), Faults("v2", 1.0)) == Answer(200, before.body, replayed=True)


def test_a_reference_to_another_orders_hold_is_a_mix_up() -> None:
    own, others = (decide(call(order=order), NO_FAULTS).body["hold"] for order in (LUCKY, "somebody-else"))
    assert not mixed_up(call(path="/charge", hold=own))
    assert mixed_up(call(path="/charge", hold=others))


def test_mix_ups_are_served_and_counted_by_engine(ledger: Ledger) -> None:
    assert ledger.record(call(path="/charge", engine="v1", hold="else:1"), NO_FAULTS).status == 200
    assert ledger.summary().mixed_up == {"v1": 1, "v2": 0}


def test_the_books_survive_a_restart(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "ledger.db")
    answer = first.record(call(), NO_FAULTS)
    first.close()
    second = Ledger(tmp_path / "ledger.db")
    assert second.record(call(), NO_FAULTS) == Answer(200, answer.body, replayed=True)
    second.close()

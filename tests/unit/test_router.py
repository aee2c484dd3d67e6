"""Routing: golden buckets, the coin's properties, and who may say `true` alone."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.flag import UNREAD, FlagValues, parse
from orchestrator.model import Assignment, Engine
from orchestrator.router import BUCKETS, Owner, bucket, falls_on_v2, route

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PAST, FUTURE = "2026-03-01T11:00:00Z", "2026-03-01T13:00:00Z"

# Frozen for ever: computed once with `printf %s "USE_ORCHESTRATOR_V2:$key" | sha256sum` and `bc`, not with this code.
GOLDEN = [
    ("a", 5819),
    ("order-1", 6836),
    ("order-2", 4053),
    ("", 106),
    ("00000000-0000-0000-0000-000000000000", 8194),
    ("3f2a9c1e-7b54-4e0d-9a6f-1c2d3e4f5a6b", 9040),
    ("ação", 8322),
    ("客户-42", 2348),
    ("tenant/7", 941),
    ("with space", 2196),
    ("AAAA", 6579),
    ("0", 6356),
    ("9999", 78),
    ("execution", 1056),
]


@pytest.mark.parametrize(("key", "expected"), GOLDEN)
def test_a_keys_bucket_never_changes(key: str, expected: int) -> None:
    assert bucket(key) == expected


@pytest.mark.parametrize(("key", "expected"), GOLDEN)
def test_v2_begins_exactly_above_the_bucket(key: str, expected: int) -> None:
    assert not falls_on_v2(key, Decimal(expected) / 100)
    assert falls_on_v2(key, Decimal(expected + 1) / 100)


@given(st.text(st.characters(codec="utf-8")), st.integers(0, BUCKETS), st.integers(0, BUCKETS))
def test_a_key_on_v2_stays_there_as_the_share_grows(key: str, one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert falls_on_v2(key, Decimal(low) / 100) <= falls_on_v2(key, Decimal(high) / 100)


@given(st.text(st.characters(codec="utf-8")))
def test_nobody_is_on_v2_at_0_and_everybody_at_100(key: str) -> None:
    assert not falls_on_v2(key, Decimal(0))
    assert falls_on_v2(key, Decimal(100))


@pytest.mark.parametrize("percent", ["0.5", "5", "25", "50", "99"])
def test_the_share_of_many_keys_is_the_percent_asked_for(percent: str) -> None:
    number, p = 50_000, float(percent) / 100
    share = sum(falls_on_v2(f"execution-{i}", Decimal(percent)) for i in range(number)) / number
    assert share == pytest.approx(p, abs=4 * (p * (1 - p) / number) ** 0.5)


def _engine(values: FlagValues, owner: Owner | None = None) -> tuple[Engine, str, str]:
    routing = route(parse(values, NOW), uid="execution", owner=owner)  # bucket 1056
    return routing.engine, routing.percent, routing.reason


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (FlagValues(), (Engine.V1, "0", "FlagOff")),
        (FlagValues("false", "50"), (Engine.V1, "0", "FlagOff")),
        (FlagValues("true", "10.56"), (Engine.V1, "10.56", "Percent")),
        (FlagValues("true", "10.57"), (Engine.V2, "10.57", "Percent")),
        (FlagValues("true", "50.00", FUTURE), (Engine.V2, "50", "Percent")),
        (FlagValues("true", "50", PAST), (Engine.V1, "0", "Expired")),
        (FlagValues("true", None, PAST), (Engine.V1, "0", "Expired")),
        (FlagValues("true", "fifty"), (Engine.V1, "0", "InvalidFlag")),
        (FlagValues("true", "50", "soon"), (Engine.V1, "0", "InvalidFlag")),
        (FlagValues("true"), (Engine.V2, "100", "FlagOn")),
    ],
)
def test_without_a_rollout_the_flag_alone_decides(values: FlagValues, expected: tuple[Engine, str, str]) -> None:
    assert _engine(values) == expected


@pytest.mark.parametrize(
    ("values", "owner", "expected"),
    [
        (FlagValues("true"), Owner.ACTIVE, (Engine.V1, "0", "FlagConflict")),
        (FlagValues("true"), Owner.COMPLETED, (Engine.V2, "100", "FlagOn")),
        (FlagValues("true"), Owner.ROLLED_BACK, (Engine.V1, "0", "FlagConflict")),
        (FlagValues("true", "100"), Owner.ACTIVE, (Engine.V2, "100", "Percent")),
        (FlagValues("true", "100"), Owner.ROLLED_BACK, (Engine.V1, "0", "FlagConflict")),
        (FlagValues(None, "100"), Owner.ROLLED_BACK, (Engine.V1, "0", "FlagConflict")),
        (FlagValues(), Owner.ROLLED_BACK, (Engine.V1, "0", "FlagOff")),
        (FlagValues(), Owner.COMPLETED, (Engine.V1, "0", "FlagOff")),
    ],
)
def test_the_owner_of_the_flag_has_a_say(values: FlagValues, owner: Owner, expected: tuple[Engine, str, str]) -> None:
    assert _engine(values, owner) == expected


def test_a_flag_that_was_never_read_means_v1() -> None:
    assert route(UNREAD, uid="execution").reason == "FlagUnavailable"
    assert route(UNREAD, uid="execution").engine is Engine.V1


def test_a_routing_key_takes_the_place_of_the_uid() -> None:
    flag = parse(FlagValues("true", "50"), NOW)
    routings = {route(flag, uid=f"uid-{i}", routing_key="tenant/7").engine for i in range(50)}
    assert routings == {Engine.V2}
    assert route(flag, uid="a", routing_key="tenant/7").assignment is Assignment.KEY


@pytest.mark.parametrize("engine", list(Engine))
@pytest.mark.parametrize("owner", [None, *Owner])
def test_an_execution_that_names_its_engine_gets_it_and_is_not_judged(engine: Engine, owner: Owner | None) -> None:
    routing = route(parse(FlagValues("true", "50"), NOW), uid="a", routing_key="k", engine=engine, owner=owner)
    assert (routing.engine, routing.assignment, routing.reason) == (engine, Assignment.EXPLICIT, "Explicit")


@pytest.mark.parametrize("engine", [None, *Engine])
def test_without_a_v1_everything_runs_on_v2(engine: Engine | None) -> None:
    routing = route(parse(FlagValues(), NOW), uid="a", engine=engine, owner=Owner.ROLLED_BACK, v1_available=False)
    assert (routing.engine, routing.percent, routing.reason) == (Engine.V2, "100", "V1Off")


def test_a_decision_announces_itself_with_the_text_that_existing_queries_look_for() -> None:
    flag = parse(FlagValues("true", "50"), NOW)
    assert route(flag, uid="execution").announcement == "Usando Orchestrator V2"
    assert route(flag, uid="a").announcement == "Usando Orchestrator V1"

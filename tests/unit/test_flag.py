"""The flag's keys and their meaning, as the contract has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import flag
from orchestrator.flag import CLEAR, EnvironmentFlagStore, FlagReadOnly, FlagReason, FlagValues, parse

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("value", [None, "", "false", "1", "yes", " true", "true\n", "tru\u0435"])
def test_anything_but_true_is_off(value: str | None) -> None:
    assert parse(FlagValues(value, "50", None), NOW).reason is FlagReason.OFF


@pytest.mark.parametrize("value", ["true", "True", "TRUE", "tRuE"])
def test_true_in_any_case_is_on(value: str) -> None:
    assert parse(FlagValues(value), NOW).reason is FlagReason.ON


@pytest.mark.parametrize("text", ["0", "5", "12.5", "0.01", "99.99", "100", "100.00", "005"])
def test_a_share_of_two_places_is_taken_as_a_decimal(text: str) -> None:
    state = parse(FlagValues("true", text), NOW)
    assert (state.reason, state.percent) == (FlagReason.PERCENT, Decimal(text))


@pytest.mark.parametrize(
    "text",
    ["", " 5", "5%", "5.", ".5", "5.125", "-1", "+5", "100.01", "101", "1e1", "NaN", "inf", "\u0665", "5,0", "0x5"],
)
def test_a_malformed_share_is_invalid_and_names_its_key(text: str) -> None:
    state = parse(FlagValues("true", text), NOW)
    assert (state.reason, state.percent) == (FlagReason.INVALID, None)
    assert [problem.path for problem in state.problems] == [flag.PERCENT]


@pytest.mark.parametrize(
    "text", ["2026-03-01T12:00:01Z", "2026-03-01t12:00:01z", "2026-03-01T12:00:01.5+00:00", "2026-03-01T12:00:00.001Z"]
)
def test_a_future_expiry_leaves_the_share_alone(text: str) -> None:
    assert parse(FlagValues("true", "5", text), NOW).percent == Decimal(5)


@pytest.mark.parametrize("text", ["2026-03-01T12:00:00Z", "2026-02-28T23:59:59Z", "1999-01-01T00:00:00.25Z"])
def test_an_expiry_that_is_not_in_the_future_has_expired(text: str) -> None:
    assert parse(FlagValues("true", "5", text), NOW).reason is FlagReason.EXPIRED


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2026-03-02",
        "2026-03-02T12:00:00",
        "2026-03-02T12:00:00-03:00",
        "2026-02-31T00:00:00Z",
        "20260302T120000Z",
    ],
)
def test_an_expiry_that_is_not_rfc3339_in_utc_is_invalid_and_names_its_key(text: str) -> None:
    state = parse(FlagValues("true", "5", text), NOW)
    assert state.reason is FlagReason.INVALID
    assert [problem.path for problem in state.problems] == [flag.EXPIRES]


@given(
    hundredths=st.integers(0, 10_000),
    left=st.timedeltas(min_value=timedelta(seconds=2), max_value=timedelta(days=3000)),
)
def test_what_is_written_reads_back_the_same(hundredths: int, left: timedelta) -> None:
    percent, expires = Decimal(hundredths) / 100, (NOW + left).replace(microsecond=0)
    state = parse(FlagValues.on(percent, expires), NOW)
    assert (state.percent, state.expires) == (percent, expires)


@given(st.text(), st.text(), st.text())
def test_no_text_makes_the_parser_raise(enabled: str, percent: str, expires: str) -> None:
    parse(FlagValues(enabled, percent, expires), NOW)
    parse(FlagValues("true", percent, expires), NOW)


def test_the_shares_spelling_has_no_needless_zeros() -> None:
    spelled = [flag.show_percent(Decimal(text)) for text in ("5.00", "12.50", "0", "100", "0.01", "1E+1")]
    assert spelled == ["5", "12.5", "0", "100", "0.01", "10"]


async def test_without_a_cluster_the_flag_is_read_from_the_environment() -> None:
    snapshot = await EnvironmentFlagStore({flag.ENABLED: "true", flag.PERCENT: "5", "PATH": "/bin"}).read()
    assert snapshot.values == FlagValues("true", "5", None)


async def test_an_empty_environment_is_a_clear_flag() -> None:
    assert (await EnvironmentFlagStore({}).read()).values == CLEAR


async def test_the_environment_refuses_to_be_written_and_says_what_to_do() -> None:
    with pytest.raises(FlagReadOnly, match="where this process is started"):
        await EnvironmentFlagStore({}).write(CLEAR.as_mapping(), "")

"""Every row of a file of counts is checked: what is wrong is told with its line and its field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from orchestrator_operator.rollout.simulation.history import COLUMNS, Row, interval, read
from orchestrator_operator.specs.rollout import parse_rollout

from orchestrator.errors import InvalidInput
from tests.support.rollouts import spec

HEADER = ",".join(COLUMNS)
GOOD = "2026-03-01T00:00:00Z,failures,10m,5,950,9,50,1"
SPEC = spec()


def rows(*lines: str, header: str = HEADER) -> tuple[Row, ...]:
    return read([header, *lines], SPEC, "totals.csv")


def problems(*lines: str, header: str = HEADER) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        rows(*lines, header=header)
    return [str(problem) for problem in caught.value.problems]


def test_a_row_is_read_as_it_says() -> None:
    (row,) = rows(GOOD)
    assert (row.line, row.start, row.preset) == (2, datetime(2026, 3, 1, tzinfo=UTC), "failures")
    assert (row.age, row.percent, row.counts) == (timedelta(minutes=10), Decimal(5), (950, 9, 50, 1))


def test_a_criterion_may_be_called_by_its_name_too() -> None:
    (row,) = rows(GOOD.replace("failures", "first-attempts"))
    assert row.preset == "first-attempt-failures"


def test_the_columns_may_stand_in_any_order() -> None:
    (row,) = rows("1,50,9,950,5,10m,failures,2026-03-01T00:00:00Z", header=",".join(reversed(COLUMNS)))
    assert row.counts == (950, 9, 50, 1)


def test_any_offset_is_understood() -> None:
    (row,) = rows(GOOD.replace("00:00:00Z", "09:30:00+09:30"))
    assert row.start == datetime(2026, 3, 1, tzinfo=UTC)


def test_empty_counts_are_a_row_that_could_not_be_read() -> None:
    (row,) = rows("2026-03-01T00:00:00Z,failures,10m,5,,,,")
    assert row.counts is None


def test_empty_lines_are_no_rows() -> None:
    assert len(rows("", GOOD, "  ", "")) == 1


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("2026-03-01T00:00:00Z", "yesterday", "totals.csv:2: start: 'yesterday' is no RFC 3339 moment"),
        ("2026-03-01T00:00:00Z", "2026-03-01T00:00:00", "start: '2026-03-01T00:00:00' has no offset"),
        ("2026-03-01T00:00:00Z", "2026-02-30T00:00:00Z", "start: '2026-02-30T00:00:00Z' is no RFC 3339 moment"),
        ("failures", "latency", "criterion: 'latency' is none of the comparisons of the spec: failures, first-att"),
        ("failures", "", "criterion: '' is none of the comparisons"),
        ("10m", "11m", "age: '11m' is none of spec.analysis.ages: 1m, 10m"),
        ("10m", "soon", "age: 'soon' is not a duration"),
        (",5,950", ",105,950", "percent: '105' is not a decimal of 0 to 100"),
        (",5,950", ",5.125,950", "percent: '5.125' is not a decimal of 0 to 100"),
        (",950,9", ",-1,9", "n1: '-1' is no count"),
        (",950,9", ",950.5,9", "n1: '950.5' is no count"),
        (",950,9", ",²,9", "n1: '²' is no count"),
        (",950,9", f",{'9' * 5000},9", "more than anybody can have counted"),
        (",950,9", ",,9", "n1: is empty while the other counts are not"),
        (",950,9", ",8,9", "k1: 9 bad executions of 8 (n1)"),
        ("50,1", "50,51", "k2: 51 bad executions of 50 (n2)"),
        ("50,1", "50,1,7", "totals.csv:2: has 9 fields where the header has 8"),
        ("50,1", '50,"1', "is not CSV"),
    ],
)
def test_what_is_wrong_with_a_row_is_told_with_its_line_and_field(old: str, new: str, told: str) -> None:
    (problem,) = problems(GOOD.replace(old, new))
    assert problem.startswith("totals.csv:2: ")
    assert told in problem


def test_every_problem_of_a_row_is_told_at_once() -> None:
    assert len(problems("now,latency,1m,x,1,2,3,4")) == 5  # start, criterion, percent, k1 and k2


def test_rows_must_ascend() -> None:
    (problem,) = problems(GOOD, GOOD.replace("03-01", "02-28"))
    assert problem == "totals.csv:3: start: lies before that of line 2: the rows must ascend by start"


def test_the_same_row_twice_is_refused() -> None:
    (problem,) = problems(GOOD, GOOD.replace(",5,950", ",5.0,950"))
    assert "totals.csv:3: says again what line 2 says" in problem


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("start,criterion,age,percent,n1,k1,n2", "no column k2"),
        (f"{HEADER},note", "an unknown column 'note'"),
        (f"{HEADER},k2", "the column k2 twice"),
        ("", "no column start"),
    ],
)
def test_a_wrong_header_is_told(header: str, told: str) -> None:
    (problem,) = problems(header=header)
    assert problem.startswith("totals.csv:1: ")
    assert told in problem


def test_a_file_without_rows_is_refused() -> None:
    assert problems() == [f"totals.csv: has no rows below its header {HEADER}"]


def test_a_file_of_another_kind_is_not_told_line_by_line_for_ever() -> None:
    assert len(problems(*["nonsense"] * 1000)) == 20


def test_a_counter_of_a_users_own_has_no_age() -> None:
    own = parse_rollout(
        {
            "criteria": [
                {"name": "failures", "type": "comparison", "preset": "failures"},
                {
                    "name": "refunds",
                    "type": "comparison",
                    "bad": 'refunds_total{engine="$engine"}',
                    "total": 'orders_total{engine="$engine"}',
                },
            ]
        }
    )
    (row,) = read([HEADER, "2026-03-01T00:00:00Z,refunds,,5,950,9,50,1"], own, "x")
    assert (row.preset, row.age) == ("refunds", None)


def test_an_interval_is_the_shortest_time_between_two_starts() -> None:
    found = rows(GOOD, GOOD.replace("T00", "T02"), GOOD.replace("T00", "T03"))
    assert interval(found, timedelta(minutes=5)) == timedelta(hours=1)
    assert interval(found[:1], timedelta(minutes=5)) == timedelta(minutes=5)

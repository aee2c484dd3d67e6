"""When promotions are allowed: the wall's clock, daylight saving, nights, freezes. The oracle walks every minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrator_operator.rollout.planning.windows import closed_until, is_open, next_opening
from orchestrator_operator.specs.calendars import DAYS
from orchestrator_operator.specs.rollout import Windows

MINUTE = timedelta(minutes=1)
BERLIN = "Europe/Berlin"  # sets its clock on 2026-03-29 from 02:00 to 03:00, on 2026-10-25 from 03:00 to 02:00


def at(text: str, zone: str = "UTC", fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


def windows(*promote: str, zone: str = "UTC", freeze: tuple[str, ...] = ()) -> Windows:
    return Windows(time_zone=zone, promote=promote, freeze=freeze)


def test_without_windows_it_is_always_open() -> None:
    assert is_open(Windows(), at("2026-03-01T03:14:15"))
    assert closed_until(Windows(), at("2026-03-01T03:14:15")) == ""


@pytest.mark.parametrize(
    ("moment", "opened"),
    [
        ("2026-03-05T08:59:59", False),  # a Thursday
        ("2026-03-05T09:00:00", True),
        ("2026-03-05T16:59:59", True),
        ("2026-03-05T17:00:00", False),
        ("2026-03-06T12:00:00", False),
    ],
)
def test_a_window_begins_with_its_first_minute_and_ends_before_its_last(moment: str, opened: bool) -> None:
    assert is_open(windows("Mon-Thu 09:00-17:00"), at(moment)) is opened


def test_the_hours_are_those_of_the_time_zone() -> None:
    found = windows("Mon-Thu 09:00-17:00", zone="America/Sao_Paulo")
    assert is_open(found, at("2026-03-05T19:59:00"))
    assert not is_open(found, at("2026-03-05T11:59:00"))


def test_the_next_opening_is_after_the_week_end() -> None:
    found = windows("Mon-Thu 09:00-17:00", zone="America/Sao_Paulo")
    assert next_opening(found, at("2026-03-05T20:00:00")) == at("2026-03-09T09:00", "America/Sao_Paulo")
    assert closed_until(found, at("2026-03-05T20:00:00")) == "until Mon 2026-03-09 09:00 America/Sao_Paulo"


@pytest.mark.parametrize(
    ("moment", "opened"),
    [
        ("2026-03-06T21:59", False),  # a Friday
        ("2026-03-06T22:00", True),
        ("2026-03-07T01:59", True),
        ("2026-03-07T02:00", False),
        ("2026-03-06T01:00", False),  # the night before belongs to Thursday
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_that_it_begins_on(moment: str, opened: bool) -> None:
    assert is_open(windows("Fri 22:00-02:00"), at(moment)) is opened


def test_a_range_of_days_may_go_over_the_end_of_the_week() -> None:
    found = windows("Sat-Mon 00:00-24:00")
    assert [is_open(found, at(f"2026-03-{day:02}T12:00")) for day in range(2, 9)] == [True, *[False] * 4, True, True]


def test_both_dates_of_a_freeze_are_frozen_by_the_local_calendar() -> None:
    found = windows(zone="America/Sao_Paulo", freeze=("2026-12-20/2027-01-04",))
    assert is_open(found, at("2026-12-20T02:59"))  # still the 19th there
    assert not is_open(found, at("2026-12-20T03:00"))
    assert not is_open(found, at("2027-01-05T02:59"))
    assert next_opening(found, at("2026-12-24T12:00")) == at("2027-01-05T03:00")


def test_freezes_that_follow_each_other_are_one() -> None:
    found = windows("Mon 09:00-10:00", freeze=("2026-03-10/2026-03-16", "2026-03-01/2026-03-09", "2026-03-23"))
    assert next_opening(found, at("2026-03-01T12:00")) == at("2026-03-30T09:00")


def test_a_year_of_frozen_mondays_is_looked_through() -> None:
    mondays = tuple((date(2026, 3, 2) + timedelta(weeks=week)).isoformat() for week in range(52))
    assert next_opening(windows("Mon 09:00-10:00", freeze=mondays), at("2026-03-02T09:30")) == at("2027-03-01T09:00")


# -- daylight saving


def test_an_hour_that_is_skipped_opens_nothing() -> None:
    found = windows("Sun 02:00-03:00", zone=BERLIN)
    assert next_opening(found, at("2026-03-29T00:30")) == at("2026-04-05T02:00", BERLIN)


def test_a_window_that_begins_in_a_skipped_hour_opens_after_it() -> None:
    found = windows("Sun 02:30-05:00", zone=BERLIN)
    assert next_opening(found, at("2026-03-29T00:30")) == at("2026-03-29T03:00", BERLIN)


def test_an_hour_that_comes_twice_is_open_twice() -> None:
    found = windows("Sun 02:00-02:30", zone=BERLIN)
    first, second = at("2026-10-25T02:00", BERLIN, 0), at("2026-10-25T02:00", BERLIN, 1)
    assert next_opening(found, first - MINUTE) == first
    assert next_opening(found, first + 30 * MINUTE) == second
    assert second - first == 60 * MINUTE


def test_a_midnight_that_is_skipped_ends_a_freeze_an_hour_later_by_the_wall() -> None:
    zone = "America/Sao_Paulo"  # on 2018-11-04 the clock went from 00:00 to 01:00
    found = windows(zone=zone, freeze=("2018-11-01/2018-11-03",))
    assert next_opening(found, at("2018-11-02T12:00")) == at("2018-11-04T01:00", zone)


ZONES = {  # and days around which their clocks are set
    "UTC": "2026-03-01",
    BERLIN: "2026-10-24",
    "America/New_York": "2026-03-07",
    "America/Sao_Paulo": "2018-11-03",
    "Australia/Lord_Howe": "2026-04-04",  # by half an hour
    "Africa/Casablanca": "2026-02-14",
    "America/Havana": "2026-10-31",  # back over midnight
}


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, datetime]:
    zone = draw(st.sampled_from(sorted(ZONES)))
    seconds = draw(st.integers(-36 * 3600, 60 * 3600))
    return zone, at(ZONES[zone]) + timedelta(seconds=seconds)


@st.composite
def hours(draw: st.DrawFn) -> str:
    first, last = draw(st.sampled_from(DAYS)), draw(st.sampled_from(DAYS))
    grid = st.integers(0, 95) | st.integers(0, 12)  # quarters of an hour, the small hours more often
    start = draw(grid)
    end = draw(grid.filter(lambda quarter: quarter != start))
    return f"{first}-{last} {start // 4:02}:{start % 4 * 15:02}-{end // 4:02}:{end % 4 * 15:02}"


@st.composite
def calendars(draw: st.DrawFn, zone: str, around: datetime) -> Windows:
    promote = tuple(draw(st.lists(hours(), max_size=2)))
    days = draw(st.lists(st.tuples(st.integers(-2, 3), st.integers(0, 2)), max_size=2))
    freeze = tuple(
        f"{around.date() + timedelta(days=first)}/{around.date() + timedelta(days=first + more)}"
        for first, more in days
    )
    return windows(*promote, zone=zone, freeze=freeze)


def open_by_the_wall(found: Windows, moment: datetime) -> bool:
    """Once more, from the texts alone: is this what a person would read off the wall and the calendar?"""
    local = moment.astimezone(ZoneInfo(found.time_zone))
    day, clock = f"{local:%Y-%m-%d}", f"{local:%H:%M}"
    if any(text.split("/")[0] <= day <= text.split("/")[1] for text in found.freeze):
        return False
    if not found.promote:
        return True
    today, yesterday = local.weekday(), (local.weekday() - 1) % 7
    for text in found.promote:
        days, span = text.split(" ")
        first, last = (DAYS.index(name) for name in days.split("-"))
        wanted = {(first + n) % 7 for n in range((last - first) % 7 + 1)}
        start, end = span.split("-")
        if start < end:
            if today in wanted and start <= clock < end:
                return True
        elif (today in wanted and clock >= start) or (yesterday in wanted and clock < end):
            return True
    return False


@given(data=st.data(), where=moments())
@settings(max_examples=150, deadline=None)
def test_the_next_opening_is_the_first_open_minute(data: st.DataObject, where: tuple[str, datetime]) -> None:
    zone, now = where
    found = data.draw(calendars(zone, now))
    assert is_open(found, now) is open_by_the_wall(found, now)
    opening = next_opening(found, now)
    minute = now.replace(second=0, microsecond=0)
    walked = (minute + MINUTE * n for n in range(1, 3 * 24 * 60))
    first = now if open_by_the_wall(found, now) else next((m for m in walked if open_by_the_wall(found, m)), None)
    if first is not None:
        assert opening == first
    else:
        assert opening is not None
        assert opening > now + timedelta(days=2)
        assert open_by_the_wall(found, opening)
        assert not open_by_the_wall(found, opening - MINUTE)

"""When a promotion is allowed, and when it will be. Pure. A rollback never asks.

The clock on the wall decides: a moment is open when the local time that it reads lies within the hours of its weekday
and its local date is not frozen. So nothing has to be said about daylight saving: an hour that is skipped opens
nothing, an hour that comes twice is open twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from orchestrator_operator.specs.calendars import WHOLE_DAY, Freeze, Hours, parse_freeze, parse_hours, parse_zone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

    from orchestrator_operator.specs.rollout import Windows

_DAY, _MINUTE = timedelta(days=1), timedelta(minutes=1)
_FORTNIGHT = timedelta(days=15)  # hours that fall into a skipped hour this week are there the next one


@dataclass(frozen=True, slots=True)
class Calendar:
    """A spec's windows, read."""

    zone: ZoneInfo
    hours: tuple[Hours, ...]  # none: at any time
    freezes: tuple[Freeze, ...]


def is_open(windows: Windows, now: datetime) -> bool:
    """Whether a promotion is allowed at this moment."""
    return _is_open(_calendar(windows), now)


def next_opening(windows: Windows, now: datetime) -> datetime | None:
    """The first moment from `now` on at which a promotion is allowed, in UTC; None if there is none in sight."""
    calendar = _calendar(windows)
    if _is_open(calendar, now):
        return now
    day = now.astimezone(calendar.zone).date()
    horizon = max([day, *(freeze.last for freeze in calendar.freezes)]) + _FORTNIGHT
    while day <= horizon:
        day = _after_freezes(calendar, day)
        opens = [moment for moment in _beginnings(calendar, day) if moment > now and _is_open(calendar, moment)]
        if opens:
            return min(opens)
        day += _DAY
    return None


def closed_until(windows: Windows, now: datetime) -> str:
    """`until Mon 2026-03-02 09:00 America/Sao_Paulo`; "" while it is open."""
    calendar = _calendar(windows)
    if _is_open(calendar, now):
        return ""
    opening = next_opening(windows, now)
    if opening is None:
        return "with no opening in sight"
    return f"until {opening.astimezone(calendar.zone):%a %Y-%m-%d %H:%M} {calendar.zone.key}"


@lru_cache(maxsize=64)
def _calendar(windows: Windows) -> Calendar:
    return Calendar(
        parse_zone(windows.time_zone),
        tuple(parse_hours(text) for text in windows.promote),
        tuple(parse_freeze(text) for text in windows.freeze),
    )


def _is_open(calendar: Calendar, moment: datetime) -> bool:
    local = moment.astimezone(calendar.zone)
    if any(freeze.first <= local.date() <= freeze.last for freeze in calendar.freezes):
        return False
    minute = local.hour * 60 + local.minute
    return not calendar.hours or any(hours.holds(local.weekday(), minute) for hours in calendar.hours)


def _after_freezes(calendar: Calendar, day: date) -> date:
    """The first day from this one on that is not frozen."""
    for freeze in sorted(calendar.freezes, key=lambda item: item.first):
        if freeze.first <= day <= freeze.last:
            day = freeze.last + _DAY
    return day


def _beginnings(calendar: Calendar, day: date) -> Iterator[datetime]:
    """Every moment of a local day at which the wall's clock can come into open hours, in UTC.

    These are its midnight (a freeze ended), the start of each window, and where the clock is set: it may jump over a
    start, or back behind one. A time that comes twice counts twice.
    """
    minutes = {0, *(hours.start for hours in calendar.hours)} - {WHOLE_DAY}
    for minute in sorted(minutes):
        yield from _readings(calendar.zone, day, minute)
    first, last = _midnight(calendar.zone, day), _midnight(calendar.zone, day + _DAY)
    if first.astimezone(calendar.zone).utcoffset() != last.astimezone(calendar.zone).utcoffset():
        yield _jump(calendar.zone, first, last)


def _readings(zone: ZoneInfo, day: date, minute: int) -> Iterator[datetime]:
    wall = datetime.combine(day, time(minute // 60, minute % 60), tzinfo=zone)
    for fold in (0, 1):
        yield wall.replace(fold=fold).astimezone(UTC)


def _midnight(zone: ZoneInfo, day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def _jump(zone: ZoneInfo, first: datetime, last: datetime) -> datetime:
    """The minute between these two at which the clock is set; it is set by whole minutes everywhere since 1972."""
    before = first.astimezone(zone).utcoffset()
    low, high = 0, (last - first) // _MINUTE
    while high - low > 1:
        middle = (low + high) // 2
        if (first + middle * _MINUTE).astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return first + high * _MINUTE

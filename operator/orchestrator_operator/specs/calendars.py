"""The little languages of spec.windows: time zones, weekly hours, ranges of frozen dates. Raises ValueError."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
WHOLE_DAY = 24 * 60  # minutes

_HOURS = re.compile(r"^\s*(?P<days>[A-Za-z,\- ]+?)\s+(?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d)\s*$")
_HOST_ONLY = frozenset({"localtime", "posixrules", "Factory"})  # files beside the database: another one on each host
_LAST_YEAR = 2999  # beyond it a freeze is a pause, and arithmetic with dates comes to its end


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours that repeat every week, as a clock on the wall shows them."""

    days: frozenset[int]  # 0 is Monday; of a window over midnight, the day that it begins on
    start: int  # minutes after midnight, included
    end: int  # minutes after midnight, not included; up to WHOLE_DAY

    @property
    def over_midnight(self) -> bool:
        """Whether it ends on the day after."""
        return self.end < self.start

    def holds(self, weekday: int, minute: int) -> bool:
        """Whether the clock stands within these hours."""
        if not self.over_midnight:
            return weekday in self.days and self.start <= minute < self.end
        before = (weekday - 1) % len(DAYS)
        return (weekday in self.days and minute >= self.start) or (before in self.days and minute < self.end)


@dataclass(frozen=True, slots=True)
class Freeze:
    """Local dates on which nothing is promoted, both included."""

    first: date
    last: date


def parse_zone(text: str) -> ZoneInfo:
    """A zone of the IANA database."""
    try:
        found = ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of the database raises OSError
        found = None
    if found is None or text in _HOST_ONLY:
        raise ValueError(f"{text!r} is no time zone of the IANA database: write one such as UTC or America/Sao_Paulo")
    return found


def parse_hours(text: str) -> Hours:
    """`Mon-Thu 09:00-17:00`, `Mon,Wed 08:30-12:00`, over midnight `Fri 22:00-02:00`, a whole day `Sat 00:00-24:00`."""
    found = _HOURS.match(text)
    if found is None:
        raise ValueError(f"{text!r} is no window: write days and hours, such as 'Mon-Thu 09:00-17:00'")
    start, end = _minute(found["start"]), _minute(found["end"])
    if start in (end, WHOLE_DAY):
        raise ValueError(f"{text!r} is empty: write 00:00-24:00 for whole days")
    return Hours(frozenset(_days(found["days"])), start, end)


def parse_freeze(text: str) -> Freeze:
    """`2026-12-20/2027-01-04`, or one date."""
    first, slash, last = text.partition("/")
    try:
        found = Freeze(_date(first), _date(last) if slash else _date(first))
    except ValueError:
        raise ValueError(
            f"{text!r} is no range of dates: write the first and the last one, such as 2026-12-20/2027-01-04"
        ) from None
    if found.last < found.first:
        raise ValueError(f"{text!r} ends before it begins")
    if found.last.year > _LAST_YEAR:
        raise ValueError(f"{text!r} never ends: pause the rollout instead")
    return found


def _days(text: str) -> set[int]:
    """Single days and ranges, by commas; a range may go over the end of the week."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin = _day(first)
        length = (_day(last) - begin) % len(DAYS) if dash else 0
        found |= {(begin + offset) % len(DAYS) for offset in range(length + 1)}
    return found


def _day(text: str) -> int:
    name = text.strip().capitalize()
    if name not in DAYS:
        raise ValueError(f"{text.strip()!r} is no day: the days are {', '.join(DAYS)}")
    return DAYS.index(name)


def _minute(text: str) -> int:
    hours, minutes = int(text[:2]), int(text[3:])
    if (hours, minutes) == (24, 0):
        return WHOLE_DAY
    try:
        return time(hours, minutes).hour * 60 + minutes
    except ValueError:
        raise ValueError(f"{text} is no time of a day: write 00:00 to 24:00") from None


def _date(text: str) -> date:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text.strip()):
        raise ValueError(text)
    return date.fromisoformat(text.strip())

"""Durations as people write them: `250ms`, `30s`, `10m`, `2h`, `7d`."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
PATTERN = r"^([0-9]+(\.[0-9]+)?)(ms|s|m|h|d)$"
_DURATION = re.compile(PATTERN)
_LONGEST = timedelta(days=3650)


def parse(text: str) -> timedelta:
    """A duration from its text form; raises ValueError with the accepted forms."""
    match = _DURATION.match(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write a number and a unit, such as 250ms, 30s, 10m, 2h or 7d")
    value = float(match[1]) * _UNITS[match[3]]
    if value > _LONGEST.total_seconds():
        raise ValueError(f"{text!r} is longer than ten years")
    return timedelta(seconds=value)


def show(duration: timedelta) -> str:
    """The shortest text form that reads back as the same duration (to a millisecond): 90 s is `90s`, 3600 s is `1h`."""
    milliseconds = round(duration.total_seconds() * 1000)
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0s"

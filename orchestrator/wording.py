"""Moments, lengths of time and failures as people say them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from orchestrator.model import Failure

_LONGEST = 160  # characters of a failure's message within a sentence
_UNITS: Final = ((36 * 3600, 86_400, "d"), (90 * 60, 3600, "h"), (90, 60, "min"))  # from so many seconds: size, name


def length(duration: timedelta) -> str:
    """A length of time, rounded for people: 40 ms, 3.2 s, 12 s, 4 min, 3 h, 5 d."""
    seconds = max(duration.total_seconds(), 0.0)
    if round(seconds, 1) < 1:
        return f"{seconds * 1000:.0f} ms" if seconds else "0 s"
    for least, size, name in _UNITS:
        if seconds >= least:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 - one digit is seen there


def moment(at: datetime) -> str:
    """A moment in UTC, to a second."""
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def failure(failed: Failure | None) -> str:
    """A failure in a few words: `HTTP 503`, or its kind and message."""
    if failed is None:
        return "an unknown failure"
    if failed.status is not None:
        return f"HTTP {failed.status}"
    message = " ".join(failed.message.split())
    short = message if len(message) <= _LONGEST else message[:_LONGEST] + "…"
    return f"{failed.kind}: {short}" if short else failed.kind


def quoted(names: Iterable[str], most: int = 3) -> str:
    """Names in a row: `a`, `b`, `c` and 4 more."""
    known = list(names)
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return ", ".join(f"`{name}`" for name in known[:most]) + more


def count(number: int, thing: str) -> str:
    """1 step, 2 steps."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"

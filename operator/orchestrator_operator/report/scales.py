"""Where a value lies in a picture, and which values are written beside it. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_SECOND, _MINUTE, _HOUR, _DAY = 1, 60, 3600, 86_400
_STEPS = (
    *(n * _SECOND for n in (1, 2, 5, 10, 15, 30)),
    *(n * _MINUTE for n in (1, 2, 5, 10, 15, 30)),
    *(n * _HOUR for n in (1, 2, 3, 6, 12)),
    *(n * _DAY for n in (1, 2, 7, 14, 28, 91, 182, 364)),
)
_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)  # weeks are counted from a Monday
_PLAIN = 4  # powers of ten that are written out: 10,000 and not 10⁴
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True)
class Times:
    """From moments to pixels."""

    start: datetime
    end: datetime
    left: float
    right: float

    def x(self, at: datetime) -> float:
        """The place of a moment; the nearest edge for one outside."""
        part = (at - self.start) / (self.end - self.start)
        return self.left + min(max(part, 0.0), 1.0) * (self.right - self.left)

    def at(self, x: float) -> datetime:
        """The moment at a place."""
        return self.start + (self.end - self.start) * ((x - self.left) / (self.right - self.left))

    def ticks(self, apart: float) -> tuple[tuple[datetime, str], ...]:
        """Round moments of UTC that are at least so many pixels apart, with their labels."""
        seconds = (self.end - self.start).total_seconds()
        most = max(1.0, (self.right - self.left) / apart)
        years = math.ceil(seconds / most / _STEPS[-1]) * _STEPS[-1]
        step = next((step for step in _STEPS if seconds / step <= most), years)
        first = math.ceil((self.start - _MONDAY).total_seconds() / step) * step
        count = int((self.end - _MONDAY).total_seconds() - first) // step + 1
        moments = [_MONDAY + timedelta(seconds=first + n * step) for n in range(count)]
        return tuple((at, _label(at, step)) for at in moments)


def _label(at: datetime, step: int) -> str:
    if step >= _DAY or (step >= _HOUR and at.hour == at.minute == 0):
        return f"{at.day} {at:%b}"
    return f"{at:%H:%M}" if step >= _MINUTE else f"{at:%H:%M:%S}"


@dataclass(frozen=True, slots=True)
class Linear:
    """From numbers to pixels; `bottom` is below `top` on the page, so larger."""

    low: float
    high: float
    bottom: float
    top: float

    def y(self, value: float, beyond: float = 0.0) -> float:
        """The place of a value; for one outside, so many pixels beyond the nearest edge at most."""
        part = (value - self.low) / (self.high - self.low)
        up = 1 if self.bottom > self.top else -1
        y = self.bottom - part * (self.bottom - self.top)
        return up * min(max(up * y, up * self.top - beyond), up * self.bottom + beyond)

    def outside(self, value: float) -> bool:
        """Whether a value lies above what is drawn."""
        return value > self.high

    def ticks(self, most: int = 4) -> tuple[float, ...]:
        """Round numbers within: 1, 2 or 5 times a power of ten apart."""
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return tuple(n * step for n in range(first, last + 1))


def decades(scale: Linear, apart: float) -> tuple[int, ...]:
    """The powers of ten on a scale of decimal logarithms, at least so many pixels apart; 0 is one of them."""
    height = abs(scale.bottom - scale.top) / (scale.high - scale.low)
    step = next(step for step in (1, 2, 3, 5, 10, 20, 50, 100, 200) if step * height >= apart)
    return tuple(n for n in range(math.ceil(scale.low), math.floor(scale.high) + 1) if n % step == 0)


def power_of_ten(exponent: int) -> str:
    """1,000 · 100 · 1 · 0.01, and 10⁶ where that would be long."""
    if 0 <= exponent <= _PLAIN:
        return f"{10**exponent:,}"
    if -3 <= exponent < 0:  # noqa: PLR2004 - 0.001 is still read at a glance
        return f"{10.0**exponent:.{-exponent}f}"
    return f"10{str(exponent).translate(_SUPERSCRIPT)}"

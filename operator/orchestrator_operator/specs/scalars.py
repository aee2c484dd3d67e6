"""Numbers and durations as documents write them: percents are exact decimals, durations `7d`, `10m`, `250ms`."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from orchestrator import durations


def _number(value: Any) -> Any:
    """Numbers of a document as exact decimals: 12.3 is 12.3, not the nearest double."""
    return str(value) if isinstance(value, float) else value


def _duration(value: Any) -> timedelta:
    return value if isinstance(value, timedelta) else durations.parse(value)


def _zero_or_duration(value: Any) -> timedelta:
    return timedelta(0) if value in (0, "0") and not isinstance(value, bool) else _duration(value)


_SHOWN = PlainSerializer(durations.show, return_type=str)
Duration = Annotated[timedelta, BeforeValidator(_duration), _SHOWN, WithJsonSchema({"type": "string"})]
DurationOrZero = Annotated[
    timedelta,
    BeforeValidator(_zero_or_duration),
    _SHOWN,
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}]}),
]
Percent = Annotated[
    Decimal,
    BeforeValidator(_number),
    PlainSerializer(float, return_type=float),
    WithJsonSchema({"type": "number"}),
]

"""A report's SQL, for each database: with parameters for our own question, with literals for pasting into a client.

Nothing that a person typed becomes part of the text but whole numbers, and the name of a schema that was checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator import durations
from orchestrator.dialect import Dialect
from orchestrator.reports.model import LONGEST_RUN_MINUTES, SLOW_MS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from orchestrator.reports.model import Report


_SPELT: Final[Mapping[Dialect, Mapping[str, str]]] = {
    Dialect.POSTGRESQL: {
        "duration_ms": "(metadata->>'duration_ms')::numeric",
        "minutes_since_start": "round(extract(epoch FROM ({now} - we.started_at))::numeric / 60, 1)",
        "now": "now()",
        "ago": "now() - interval '{number} {unit}'",
    },
    Dialect.SQLITE: {
        "duration_ms": "CAST(metadata->>'duration_ms' AS REAL)",
        "minutes_since_start": "round((julianday({now}) - julianday(we.started_at)) * 1440, 1)",
        "now": "'now'",
        "ago": "strftime('%Y-%m-%d %H:%M:%f', 'now', '-{number} {unit}')",
    },
}
_UNITS: Final = {"s": "second", "m": "minute", "h": "hour", "d": "day"}


def render(
    report: Report, dialect: Dialect, *, since: timedelta | None = None, limit: int = 10, schema: str = "public"
) -> str:
    """The SQL with its literals, for pasting: it asks about the time before it runs. `schema` is PostgreSQL's."""
    spelt = _SPELT[dialect]
    window = report.since(since)
    return _filled(
        report,
        dialect,
        schema,
        now=spelt["now"],
        since="" if window is None else _ago(spelt["ago"], window),
        long_ago=spelt["ago"].format(number=LONGEST_RUN_MINUTES, unit="minutes"),
        limit=str(int(limit)),
    )


def parametrised(report: Report, dialect: Dialect, schema: str = "public") -> str:
    """The same SQL with the parameters `now`, `since`, `long_ago` and `limit`."""
    return _filled(report, dialect, schema, now=":now", since=":since", long_ago=":long_ago", limit=":limit")


def _filled(report: Report, dialect: Dialect, schema: str, *, now: str, **values: str) -> str:
    spelt = _SPELT[dialect]
    prefix = "" if dialect is Dialect.SQLITE or schema == "public" else f'"{schema}".'
    return report.sql.format(
        schema=prefix,
        slow_ms=SLOW_MS,
        duration_ms=spelt["duration_ms"],
        minutes_since_start=spelt["minutes_since_start"].format(now=now),
        **values,
    )


def _ago(pattern: str, window: timedelta) -> str:
    """The moment so long ago, to a second, in the largest unit that is whole."""
    text = durations.show(window) if window.microseconds == 0 else f"{round(window.total_seconds())}s"
    number, unit = int(text[:-1]), _UNITS[text[-1]]
    return pattern.format(number=number, unit=unit if number == 1 else f"{unit}s")

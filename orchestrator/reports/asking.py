"""A report asked of a database that is only read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from orchestrator.reports.model import LONGEST_RUN_MINUTES, Answer, Kind
from orchestrator.reports.sql import parametrised

if TYPE_CHECKING:
    from orchestrator.reports.model import Column, Report
    from orchestrator.store.readonly import Reader


async def ask(reader: Reader, report: Report, now: datetime, *, since: timedelta | None = None, limit: int) -> Answer:
    """The answer at the moment `now`. `since` replaces how far the report looks back by itself; `limit` holds for
    lists. Raises what the reader raises.
    """
    window = report.since(since)
    sql = parametrised(report, reader.dialect, reader.schema)
    values = {
        "now": reader.moment(now),
        "since": reader.moment(now - (window or timedelta())),
        "long_ago": reader.moment(now - timedelta(minutes=LONGEST_RUN_MINUTES)),
        "limit": limit + 1,  # one more than is shown tells that there is more
    }
    found = await reader.rows(sql, {name: value for name, value in values.items() if f":{name}" in sql})
    rows = tuple(tuple(map(_value, report.columns, row)) for row in found)
    return Answer(report, window, rows[:limit] if report.listed else rows, report.listed and len(rows) > limit)


def _value(column: Column, value: Any) -> Any:
    """The same value from either database: SQLite has no moments, and PostgreSQL's numbers are decimals."""
    if value is None:
        return None
    match column.kind:
        case Kind.COUNT:
            return int(value)
        case Kind.NUMBER:
            return float(value)
        case Kind.MOMENT:
            at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        case Kind.TEXT:
            return str(value)

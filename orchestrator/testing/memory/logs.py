"""Log lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.store import codec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from orchestrator.testing.memory.data import Data


def write_log(d: Data, messages: Sequence[str], now: datetime) -> None:
    for message in messages:
        codec.dump_json(message, "a log line")
        d.logs = d.logs.insert(d.count(), (now, message))


def drop_logs(d: Data, before: datetime, limit: int) -> int:
    old = sorted(number for number, (at, _) in d.logs.items() if at < before)[:limit]
    for number in old:
        d.logs = d.logs.remove(number)
    return len(old)


def edge_logs(d: Data, since: datetime, contains: str, limit: int) -> list[tuple[datetime, str]]:
    """Newest first."""
    found = [(at, number, line) for number, (at, line) in d.logs.items() if at >= since and contains in line]
    return [(at, line) for at, _, line in sorted(found, reverse=True)[:limit]]

"""Claims and leases."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator import events as e
from orchestrator.model import Engine
from orchestrator.store import rows
from orchestrator.store.sqlite.values import event_values, from_text, insert_events, moment

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping
    from datetime import datetime

    from orchestrator.store.messages import Claim, Release

_DUE = """
SELECT id, status = 'pending', longest_timeout FROM workflow_executions
 WHERE engine = ? AND due_at <= ? AND due_at IS NOT NULL AND finished_at IS NULL ORDER BY due_at LIMIT ?"""
_CLAIM = f"""
UPDATE workflow_executions
   SET owner = :owner, fence = fence + 1, due_at = CASE WHEN :v2 THEN :until END,
       step_deadline = :deadline,
       status = CASE WHEN :begun THEN 'running' ELSE status END,
       started_at = CASE WHEN :begun THEN :at ELSE started_at END,
       seq = seq + (:begun AND :v2), version = version + :begun, dirty = dirty OR (:begun AND name <> '')
 WHERE id = :id
RETURNING {rows.CLAIMED.replace("begun", ":begun AS begun")}"""
_RENEW = """
UPDATE workflow_executions SET due_at = CASE WHEN owner IS NULL THEN due_at ELSE :until END
 WHERE id = :id AND fence = :fence RETURNING seq"""
_RELEASE = """
UPDATE workflow_executions SET owner = NULL, due_at = CASE WHEN seq = :seq THEN :due ELSE :at END
 WHERE id = :id AND fence = :fence AND finished_at IS NULL"""


def is_due(c: sqlite3.Connection, engine: Engine, now: datetime) -> bool:
    return c.execute(_DUE, (engine.value, moment(now), 1)).fetchone() is not None


def claim(
    c: sqlite3.Connection, owner: str, engine: Engine, limit: int, lease: timedelta, now: datetime
) -> list[Claim]:
    claims = []
    same = {"owner": owner, "v2": engine is Engine.V2, "until": moment(now + lease), "at": moment(now)}
    for id_, begun, longest in c.execute(_DUE, (engine.value, moment(now), limit)).fetchall():
        deadline = moment(now + timedelta(seconds=longest))
        row = c.execute(_CLAIM, same | {"id": id_, "begun": begun, "deadline": deadline}).fetchall()[0]
        claims.append(rows.claim(engine, row, from_text(row[7]), rows.loaded(row[8])))
    started = e.ExecutionStarted(now)
    if engine is Engine.V2:
        begun_now = [event_values(c.id, c.seq, started, "{}", append_seq=c.seq) for c in claims if c.begun]
        insert_events(c, begun_now)
    return claims


def renew(c: sqlite3.Connection, held: Mapping[str, int], until: datetime) -> dict[str, int]:
    ours = {}
    for id_, fence in held.items():
        for (seq,) in c.execute(_RENEW, {"id": id_, "fence": fence, "until": moment(until)}).fetchall():
            ours[id_] = seq
    return ours


def release(c: sqlite3.Connection, held: Mapping[str, Release], now: datetime) -> None:
    for id_, r in held.items():
        values = {"id": id_, "fence": r.fence, "seq": r.seq, "due": moment(r.due_at), "at": moment(now)}
        c.execute(_RELEASE, values)

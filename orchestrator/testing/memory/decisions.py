"""The log of what rollouts decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.store import codec
from orchestrator.store.evidence import Appended, Taken

if TYPE_CHECKING:
    from orchestrator.store.evidence import DecisionRow
    from orchestrator.testing.memory.data import Data


def append_decision(d: Data, row: DecisionRow) -> Appended | Taken:
    newest = _newest(d, row.rollout)
    if (row.number - 1, row.prev_hash) == newest:
        for text in (row.name, row.attempt, row.action, row.reason, row.message, row.actor, row.content):
            codec.dump_json(text, "a decision")  # what no database could keep
        d.decisions = d.decisions.insert((row.rollout, row.number), row)
        return Appended()
    standing = d.decisions.get((row.rollout, row.number))
    if standing is not None and standing.hash == row.hash:
        return Appended()
    return Taken(*newest)


def decisions(d: Data, rollout: str, after: int, limit: int) -> list[DecisionRow]:
    found = (row for (uid, number), row in d.decisions.items() if uid == rollout and number > after)
    return sorted(found, key=lambda row: row.number)[:limit]


def _newest(d: Data, rollout: str) -> tuple[int, str]:
    rows = decisions(d, rollout, 0, len(d.decisions))
    return (rows[-1].number, rows[-1].hash) if rows else (0, "")

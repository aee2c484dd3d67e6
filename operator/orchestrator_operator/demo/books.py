"""Read the store's and the shop's books when everything has come to rest: plain SQL on the tables of the contract.

Read-only, and past our own store class on purpose: the demo's claims should not rest on the code they are about.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC
from typing import TYPE_CHECKING, Any

from orchestrator_operator.demo.facts import Books, Share

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

_ENGINES = ("v1", "v2")

_UNFINISHED = """
SELECT count(*) FROM workflow_executions WHERE engine = :engine AND status NOT IN ('success', 'failed', 'cancelled')"""

_REFUSED = """
SELECT engine, sum(status = 'failed' AND error ->> 'kind' = 'HttpStatus'), count(*) FROM workflow_executions
 WHERE status IN ('success', 'failed') AND created_at >= :since AND created_at < :until GROUP BY engine"""

_FAILED_OTHERWISE = """
SELECT count(*) FROM workflow_executions
 WHERE engine = :engine AND status = 'failed' AND error ->> 'kind' IS NOT 'HttpStatus'"""

# The rows count the steps that are done (completed or skipped); the events must tell the same number, each step once.
_STEPS_NOT_ONCE = """
SELECT (SELECT count(*) FROM (SELECT 1 FROM workflow_events WHERE type IN ('StepCompleted', 'StepSkipped')
                               GROUP BY execution_id, node_id HAVING count(*) > 1))
     + (SELECT count(*) FROM workflow_executions x WHERE engine = 'v2' AND done <>
          (SELECT count(*) FROM workflow_events e
            WHERE e.execution_id = x.id AND e.type IN ('StepCompleted', 'StepSkipped')))"""

_EFFECTS_MISSING = """
SELECT count(*) FROM workflow_events e WHERE type = 'StepCompleted' AND node_type = 'http'
   AND NOT EXISTS (SELECT 1 FROM shop.effects f WHERE f.key = e.execution_id || '/' || e.node_id)"""

_ROUTED = """
SELECT sum(event_message LIKE '%Usando Orchestrator V1%'), sum(event_message LIKE '%Usando Orchestrator V2%')
  FROM edge_logs l JOIN edge_functions f ON f.id = l.function_id WHERE f.name = 'execute-workflow'"""


def unfinished(store: Path, engines: Sequence[str] = _ENGINES) -> int:
    """Executions of these engines that are not over yet."""
    with closing(_open(store)) as database:
        return sum(int(database.execute(_UNFINISHED, {"engine": engine}).fetchone()[0]) for engine in engines)


def engines(store: Path) -> dict[str, str]:
    """The engine of every execution, by its id, which is its resource's uid."""
    with closing(_open(store)) as database:
        return dict(database.execute("SELECT id, engine FROM workflow_executions"))


def read(store: Path, ledger: Path, *, began: datetime, faults_at: datetime, gone_at: datetime | None) -> Books:
    """The books: `faults_at` is when the shop began to refuse V2, `gone_at` when the flag was seen gone after it."""
    with closing(_open(store)) as database:
        database.execute("ATTACH ? AS shop", (f"file:{ledger}?mode=ro",))

        def one(query: str, **values: Any) -> tuple[Any, ...]:
            row: tuple[Any, ...] = database.execute(query, values).fetchone()
            return row

        until = {"since": _text(began), "until": _text(faults_at)}
        during = {"since": _text(faults_at), "until": _text(gone_at) if gone_at else "9999"}
        v1_lines, v2_lines = one(_ROUTED)
        return Books(
            executions=one("SELECT count(*) FROM workflow_executions")[0],
            unfinished_v2=one(_UNFINISHED, engine="v2")[0],
            refused_before=_shares(database.execute(_REFUSED, until)),
            refused_by_faults=_shares(database.execute(_REFUSED, during))["v2"],
            failed_otherwise={engine: one(_FAILED_OTHERWISE, engine=engine)[0] for engine in _ENGINES},
            steps=one("SELECT count(*) FROM workflow_step_executions")[0],
            steps_not_once=one(_STEPS_NOT_ONCE)[0],
            effects_missing=one(_EFFECTS_MISSING)[0],
            routed_lines={"v1": v1_lines or 0, "v2": v2_lines or 0},
        )


def _open(store: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=30)


def _shares(rows: Any) -> dict[str, Share]:
    found = {engine: Share(int(failed), int(whole)) for engine, failed, whole in rows}
    return {engine: found.get(engine, Share()) for engine in _ENGINES}


def _text(moment: datetime) -> str:
    """A moment as the store's SQLite columns spell it: naive UTC text that sorts."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")

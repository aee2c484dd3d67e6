"""Claims and the seven monitoring queries beside a million finished executions; SQLite beside a tenth of them."""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa

from orchestrator.authoring import compile_workflow
from orchestrator.clock import SystemClock
from orchestrator.model import Engine, Status
from orchestrator.store import open_store
from tests.benchmarks import machine, servers, templates
from tests.benchmarks.fill import Filler
from tests.contract import test_monitoring_queries as monitored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.store import Store

QUERIES = {
    "share of executions by status": monitored.STATUS_SHARES,
    "time of checkpoints by node type": monitored.CHECKPOINTS_BY_TYPE,
    "share of successes by retries": monitored.SUCCESS_BY_RETRIES,
    "ten slowest checkpoints above 100 ms": monitored.SLOW_CHECKPOINTS,
    "running for more than ten minutes": monitored.LONG_RUNNING,
    "ERROR lines of ten minutes": monitored.RECENT_ERRORS,
    "engine in use": monitored.ENGINE_IN_USE,
}
DAY = 86_400.0  # seconds that the executions are spread over: a busy system, 42,000 of a million in the last hour
_FAILED_SHARE = 0.03
_LONG_RUNNING = 200
_PENDING = 2_000
_REPEATS = 5
_CLAIM = 200

# The same questions in SQLite's words.
_IN_SQLITE = (
    ("now() - interval '1 hour'", "strftime('%Y-%m-%d %H:%M:%f', 'now', '-1 hour')"),
    ("now() - interval '10 minutes'", "strftime('%Y-%m-%d %H:%M:%f', 'now', '-10 minutes')"),
    ("extract(epoch FROM (now() - we.started_at)) / 60", "(julianday('now') - julianday(we.started_at)) * 1440"),
    ("(metadata->>'duration_ms')::numeric", "CAST(metadata->>'duration_ms' AS REAL)"),
)


def run(tell: Callable[[str], None], executions: int) -> dict[str, Any]:
    """Both databases, SQLite with a tenth."""
    with servers.postgres() as server:
        tell(f"PostgreSQL: {executions:,} executions")
        url = server.create_database()
        postgresql = asyncio.run(_measure(url, executions, tell))
        described = machine.postgres(url.replace("+psycopg", ""))
    with tempfile.TemporaryDirectory(prefix="orchestrator-sqlite-") as folder:
        tell(f"SQLite: {executions // 10:,} executions")
        sqlite = asyncio.run(_measure(f"sqlite:///{Path(folder) / 'bench.db'}", executions // 10, tell))
    return {
        "machine": machine.describe(),
        "postgresql": described,
        "sqlite_version": sqlite3.sqlite_version,
        "versions": machine.versions(),
        "databases": {"postgresql": postgresql, "sqlite": sqlite},
    }


async def _measure(url: str, executions: int, tell: Callable[[str], None]) -> dict[str, Any]:
    store = await open_store(url)
    specs = {"template-good": templates.steps(7), "template-bad": templates.steps(8, last="fails")}
    await templates.run(store, specs, (Status.SUCCESS, Status.FAILED))
    await store.log_edge(["ERROR execution template-bad: NonRetryable: as it shall"], SystemClock().now())
    began = time.monotonic()
    events = await asyncio.to_thread(_fill, url, executions)
    tell(f"  filled in {time.monotonic() - began:.0f} s, {events:,} events")
    answers = await asyncio.to_thread(_ask, url)
    for name, answer in answers.items():
        tell(f"  {name}: {answer['median_ms']:,.0f} ms, first {answer['first_ms']:,.0f} ms, {answer['rows']} rows")
    claims = await _claims(store)
    tell(f"  claim of {_CLAIM}: {claims['claim_ms']:,.1f} ms; nothing due: {claims['nothing_due_ms']:,.1f} ms")
    await store.close()
    return {"executions": executions, "events": events, "queries": answers, **claims}


def _fill(url: str, executions: int) -> int:
    filler = Filler(url)
    filler.postpone_indexes("workflow_events")
    bad = int(executions * _FAILED_SHARE)
    events = filler.copy_execution("template-good", executions - bad, DAY / (executions - bad))
    events += filler.copy_execution("template-bad", bad, DAY / bad)
    tomorrow = sa.literal(datetime.now(UTC) + timedelta(days=1)).value
    stuck = {
        "status": "'running'",
        "finished_at": "NULL",
        "output": "NULL",
        "owner": "'bench'",
        "due_at": f"'{tomorrow}'",
    }
    events += filler.copy_execution("template-good", _LONG_RUNNING, 60.0, row=stuck, last_seq=5)
    filler.copy_log_line("Usando Orchestrator V2", executions, DAY / executions)
    filler.copy_log_line("ERROR", bad, DAY / bad)
    filler.close()
    return events


def _ask(url: str) -> dict[str, dict[str, Any]]:
    answers = {}
    with _connected(url) as query:
        for name, sql in QUERIES.items():
            took = []
            for _ in range(_REPEATS):
                began = time.perf_counter()
                rows = query(sql)
                took.append((time.perf_counter() - began) * 1000)
            answers[name] = {"first_ms": took[0], "median_ms": statistics.median(took), "rows": len(rows)}
    return answers


@contextmanager
def _connected(url: str) -> Iterator[Callable[[str], list[Any]]]:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(str(parsed.database))) as file:
            yield lambda sql: file.execute(in_sqlite(sql)).fetchall()
    else:
        with psycopg.connect(url.replace("+psycopg", "")) as server:
            yield lambda sql: server.execute(sql.encode()).fetchall()


def in_sqlite(sql: str) -> str:
    """A monitoring query in SQLite's words."""
    for theirs, ours in _IN_SQLITE:
        sql = sql.replace(theirs, ours)
    return sql


async def _claims(store: Store) -> dict[str, float]:
    """What a claim takes, in milliseconds, while there is work and when there is none."""
    workflow = compile_workflow(templates.steps(7), namespace="bench", name="pending")
    await templates.submit(store, {f"pending-{n}": workflow for n in range(_PENDING)})
    took: dict[bool, list[float]] = {True: [], False: []}
    while len(took[False]) < _REPEATS:
        began = time.perf_counter()
        claimed = await store.claim("bench", Engine.V2, _CLAIM, timedelta(hours=1), SystemClock().now())
        took[bool(claimed)].append((time.perf_counter() - began) * 1000)
    return {"claim_ms": statistics.median(took[True]), "nothing_due_ms": statistics.median(took[False])}

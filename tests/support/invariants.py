"""The rules of orchestrator/invariants.py over a whole store, and what goes beyond one: ledgers, leases, secrets."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import psycopg
import sqlalchemy as sa

from orchestrator.errors import StoreUnavailable
from orchestrator.invariants import violations
from orchestrator.model import Engine, Status
from orchestrator.store import ExecutionRecord
from tests.support.postgres import plain_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import TypeVar

    from orchestrator.store import Store
    from tests.support.ledger import Books

    T = TypeVar("T")

POLL = timedelta(milliseconds=200)  # of a worker as it is delivered
_SLACK = timedelta(seconds=30)  # what busy machines add to two polls, the start of a worker among it


async def store_violations(store: Store, ids: Iterable[str]) -> list[str]:
    """Everything that is wrong with any of these executions, in a store that may be at work."""
    found: list[str] = []
    for execution_id in ids:
        record = await store.get(execution_id)
        if record is None:
            found.append(f"execution {execution_id} is not there")
        elif record.engine is Engine.V2:
            found += await execution_violations(store, record)
    return found


async def execution_violations(store: Store, record: ExecutionRecord) -> list[str]:
    workflow = await store.workflow(record.workflow_id, record.revision)
    while True:
        history = await store.events(record.id)
        again = await store.get(record.id)
        assert again is not None, f"execution {record.id} is gone"
        if again.seq == record.seq and again.version == record.version:
            return [str(violation) for violation in violations(record, history, workflow)]
        record = again  # it went on between the two looks


def ledger_violations(books: Books, wanted: Mapping[str, frozenset[str]]) -> list[str]:
    """Effects that are missing, too many, or nobody's; `wanted` is the keys of each execution."""
    found = [f"the key {key} had more than one effect" for key in books.doubled]
    for execution_id in sorted(wanted.keys() | books.effects.keys()):
        had, should = books.effects.get(execution_id, frozenset()), wanted.get(execution_id, frozenset())
        if had != should:
            missing, extra = sorted(should - had)[:5], sorted(had - should)[:5]
            found.append(f"execution {execution_id}: {len(had)} effects of {len(should)}; no {missing}, but {extra}")
    return found


def overdue(records: Iterable[ExecutionRecord], now: datetime) -> list[str]:
    """What nobody has taken up although its lease, timer or retry was over two polls ago (and what a machine adds)."""
    latest = now - 2 * POLL - _SLACK
    return [
        f"execution {record.id} is {record.status}, due since {record.due_at}, owner {record.owner}"
        for record in records
        if not record.status.terminal and record.due_at is not None and record.due_at < latest
    ]


async def all_over(store: Store, ids: Sequence[str], within: float) -> list[ExecutionRecord]:
    """The records of executions once they are over, whatever happens to the database meanwhile; AssertionError with
    what is left otherwise, and with what nobody takes up.
    """
    deadline = asyncio.get_running_loop().time() + within
    wanted, over = list(ids), list[ExecutionRecord]()
    while True:
        records = [await patiently(partial(store.get, id_)) for id_ in wanted]
        found = [record for record in records if record is not None]
        left = [record for record in found if record.finished_at is None]
        wanted = [record.id for record in left]
        over += [record for record in found if record.finished_at is not None]
        if not left:
            assert len(over) == len(ids), f"executions are gone: {set(ids) - {record.id for record in over}}"
            return sorted(over, key=lambda record: record.id)
        stuck = overdue(left, datetime.now(UTC))
        assert not stuck, f"nobody takes these up: {stuck[:5]}"
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"{len(left)} of {len(ids)} are not over after {within:.0f} s: {left[:3]}")
        await asyncio.sleep(0.05)


async def patiently(ask: Callable[[], Awaitable[T]], within: float = 60) -> T:
    """The answer of a store that may be down for a while."""
    deadline = asyncio.get_running_loop().time() + within
    while True:
        try:
            return await asyncio.wait_for(ask(), 10)
        except (StoreUnavailable, TimeoutError):
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.1)


def succeeded(records: Iterable[ExecutionRecord]) -> list[str]:
    """Those that did not end well, in words."""
    return [f"{r.id} {r.status}: {r.failure}" for r in records if r.status is not Status.SUCCESS]


def in_tables(database: str, text: str) -> list[str]:
    """The rows of any table or view in which a text stands."""
    return [f"{table}: {row[:200]}" for table, row in _rows(database) if text in row]


def in_files(folder: Path, text: str) -> list[str]:
    """The files below a folder (logs, a SQLite database's own) in which a text stands."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if text.encode() in path.read_bytes()]


def _rows(database: str) -> Iterable[tuple[str, str]]:
    """Every row of every table and view as text."""
    url = sa.make_url(database)
    if url.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(str(url.database), timeout=30)) as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
            for (name,) in names:
                yield from ((name, repr(row)) for row in connection.execute(f'SELECT * FROM "{name}"'))
        return
    with psycopg.connect(plain_url(database)) as connection:
        listed = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        for (name,) in connection.execute(listed).fetchall():
            rows = connection.execute(psycopg.sql.SQL("SELECT t::text FROM {} t").format(psycopg.sql.Identifier(name)))
            yield from ((name, text) for (text,) in rows)

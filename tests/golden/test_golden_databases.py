"""Databases that released schemas left, with executions in every state, opened and finished by this version.

A file is never changed. When the schema changes, `python -m tests.golden.databases` adds a folder for the new one.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import psycopg
import pytest_asyncio
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from orchestrator import events as e
from orchestrator.model import Engine, Status
from orchestrator.store import Control, Delivery, Filter, migrate, open_store
from tests.golden.databases import FOLDER, Book, functions_of, states, work
from tests.support.invariants import store_violations
from tests.support.postgres import plain_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from orchestrator.store import ExecutionRecord, Store

FOLDERS = sorted(FOLDER.glob("schema-*"))
CASES = [(folder, kind) for folder in FOLDERS for kind in ("sqlite", "postgresql")]

#: What everything that was left must come to.
ENDS = {
    "approval": "success",
    "cancelled": "cancelled",
    "child": "success",
    "compensating": "failed",
    "failed": "failed",
    "holder": "success",
    "mapping": "success",
    "parent": "success",
    "pending": "success",
    "queued": "success",
    "restored": "success",
    "retrying": "success",
    "running": "success",
    "signalled": "success",
    "success": "success",
    "suspended": "success",
    "timer": "success",
    "undone": "failed",
    "v1-failed": "failed",
    "v1-pending": "success",
    "v1-running": "running",  # as V1 does: it stays so when its process dies
    "v1-success": "success",
}


class Left:
    """A database as a version left it, and what is known of it."""

    def __init__(self, store: Store, url: str, told: dict[str, Any], book: Book) -> None:
        self.store, self.url, self.told, self.book = store, url, told, book

    async def records(self) -> dict[str, ExecutionRecord]:
        return {record.id: record for record in await self.store.executions(Filter(limit=1000))}


@cache
def content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


@pytest_asyncio.fixture(params=CASES, ids=lambda case: f"{case[0].name}-{case[1]}")
async def left(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Left]:
    """Each database, opened, and so migrated, by this version."""
    folder, kind = request.param
    if kind == "sqlite":
        path = tmp_path / "store.db"
        path.write_bytes(content(folder / "sqlite.db.gz"))
        url = f"sqlite:///{path}"
    else:
        url = request.getfixturevalue("postgres").create_database()
        with psycopg.connect(plain_url(url), autocommit=True) as connection:
            connection.execute(content(folder / "postgresql.sql.gz"))
    told = json.loads((folder / f"{kind}.json").read_text(encoding="utf-8"))
    store = await open_store(url)
    yield Left(store, url, told, Book(tmp_path / "effects"))
    await store.close()


async def finish(left: Left) -> None:
    """Everybody does what the executions wait for: workers, people, services."""
    now = datetime.now(UTC)
    for name in ("suspended", "restored"):
        await left.store.control(name, Control.RESUME, now)
    words = [f"{name}" for name in ("signalled", "suspended", "pending", "holder")]
    sent = [Delivery(name, e.SignalReceived(now, "word", name, "s1")) for name in words]
    approved = {"approved": True, "approver": "ada"}
    await left.store.deliver([*sent, Delivery("approval", e.SignalReceived(now, "boss", approved, "s1"))])
    await work(left.store, functions_of(left.book))
    await left.store.deliver([Delivery("queued", e.SignalReceived(now, "word", "queued", "s1"))])
    await work(left.store, functions_of(left.book))


def test_there_is_a_folder_for_every_schema() -> None:
    revisions = [s.revision for s in ScriptDirectory.from_config(migrate._config()).walk_revisions()]
    assert [folder.name for folder in FOLDERS] == [f"schema-{revision}" for revision in sorted(revisions)]


async def test_every_status_stands_in_it_and_opening_changes_none(left: Left) -> None:
    assert {*left.told["states"].values()} == {*Status}
    assert await states(left.store) == left.told["states"]


async def test_what_stands_in_it_keeps_every_rule(left: Left) -> None:
    assert await store_violations(left.store, await left.records()) == []


async def test_everything_in_it_comes_to_its_end_and_no_finished_step_runs_again(left: Left) -> None:
    before = await left.records()
    done = {key for id_ in before for key in finished(id_, await left.store.events(id_))}
    await finish(left)
    assert await states(left.store) == ENDS
    again = left.book.read()
    assert done & {*again} == set()
    # The step that stalled had no effect yet; so between them the two versions had every effect once.
    assert [key for key, times in Counter([*left.told["effects"], *again]).items() if times > 1] == []
    after = await left.records()
    over = {id_: record for id_, record in before.items() if record.status.terminal}
    assert {id_: after[id_] for id_ in over} == over
    assert await store_violations(left.store, after) == []


def finished(id_: str, history: list[e.Recorded]) -> set[str]:
    """The idempotency keys of the steps whose completion is committed."""
    return {
        f"{id_}/{recorded.event.node}"
        for recorded in history
        if isinstance(recorded.event, e.StepCompleted) and recorded.event.node_type == "python"
    }


async def test_the_queries_of_the_contract_answer_from_it(left: Left) -> None:
    engine = sa.create_engine(left.url)
    tables = ("workflow_checkpoints", "workflow_step_executions", "workflow_events", "workflow_metrics", "edge_logs")
    with engine.connect() as connection:
        counts = {name: connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one() for name in tables}
    engine.dispose()
    assert min(counts.values()) > 0, counts


async def test_what_a_rollout_decided_and_counted_is_still_there(left: Left) -> None:
    assert [row.number for row in await left.store.decisions("v2")] == [1, 2]
    counts = await left.store.cohort_counts()
    assert {count.engine for count in counts if count.value} == {Engine.V1, Engine.V2}

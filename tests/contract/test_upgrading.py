"""A release after this one migrates the database while workers of this one are at work (docs/upgrades.md)."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from orchestrator.errors import SchemaConflict
from orchestrator.events import SCHEMA_VERSION, SignalReceived
from orchestrator.model import Status
from orchestrator.store import Delivery, migrate, open_store
from orchestrator.store.tables import events
from tests.support.engine import ended, node, spec, working
from tests.support.invariants import store_violations
from tests.support.next_release import migrations
from tests.support.stores import row, submission, workflow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestrator.store import Store

FLOW = workflow(spec(node("a"), node("w", "a", type_="wait", **{"with": {"duration": "50ms"}}), node("b", "w")))
READABLE = migrate.known_head()  # the next release's schema says that this version works with it
NEXT = f"{int(READABLE) + 1:04d}"


@pytest.fixture
def next_release(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A context in which this process migrates as the next release would."""

    @contextmanager
    def as_next(readable_from: str | None) -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(migrate, "SCRIPTS", migrations(tmp_path / "next", readable_from))
            yield

    return as_next


def columns(database: str) -> set[str]:
    engine = sa.create_engine(database)
    try:
        return {column["name"] for column in sa.inspect(engine).get_columns("workflow_executions")}
    finally:
        engine.dispose()


def revision(database: str) -> str | None:
    engine = sa.create_engine(database)
    try:
        with engine.connect() as connection:
            return migrate.current(connection, None)
    finally:
        engine.dispose()


async def migrated(database: str) -> None:
    await (await open_store(database)).close()


async def test_workers_of_two_releases_share_a_database(database: str, next_release: Any) -> None:
    old = await open_store(database)
    ids = [f"x{number}" for number in range(24)]
    try:
        await old.submit([submission(id_, workflow=FLOW) for id_ in ids[:8]], datetime.now(UTC))
        async with working(old):
            with next_release(READABLE):
                new = await open_store(database)
            try:
                assert "priority" in columns(database)
                await old.submit([submission(id_, workflow=FLOW) for id_ in ids[8:16]], datetime.now(UTC))
                await new.submit([submission(id_, workflow=FLOW) for id_ in ids[16:]], datetime.now(UTC))
                async with working(new):
                    records = await ended(old, ids)
                assert {record.status for record in records} == {Status.SUCCESS}
                assert await store_violations(new, ids) == []
            finally:
                await new.close()
    finally:
        await old.close()


async def test_an_older_version_that_is_not_too_old_starts_again_and_changes_nothing(
    database: str, next_release: Any
) -> None:
    """A worker that crashed during the roll-out, and a release that is taken back."""
    with next_release(READABLE):
        await migrated(database)
    store = await open_store(database)
    try:
        await store.submit([submission("x1", workflow=FLOW)], datetime.now(UTC))
        async with working(store):
            (record,) = await ended(store, ["x1"])
    finally:
        await store.close()
    assert record.status is Status.SUCCESS
    assert "priority" in columns(database)
    assert revision(database) == NEXT


@pytest.mark.parametrize(
    "readable_from", [NEXT, None], ids=["it says so", "a migration that says nothing is for its own version alone"]
)
async def test_a_version_that_is_too_old_is_refused_with_what_to_do(
    database: str, next_release: Any, readable_from: str | None
) -> None:
    with next_release(readable_from):
        await migrated(database)
    with pytest.raises(SchemaConflict, match=f"works with versions from {NEXT} on.*upgrade this process"):
        await open_store(database)


async def test_a_newer_schema_that_does_not_say_is_refused(database: str, next_release: Any) -> None:
    with next_release(READABLE):
        await migrated(database)
    engine = sa.create_engine(database)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM orchestrator_facts WHERE key = 'readable_from'")
    engine.dispose()
    with pytest.raises(SchemaConflict, match=r"does not say.*upgrade this process"):
        await open_store(database)


def test_every_migration_says_who_can_read_it_and_has_a_number_that_compares() -> None:
    for script in ScriptDirectory.from_config(migrate._config()).walk_revisions():
        assert len(script.revision) == 4
        assert script.revision.isdigit()
        assert getattr(script.module, migrate.READABLE_FROM) <= script.revision


async def test_an_execution_that_a_newer_release_wrote_on_is_left_to_it_and_holds_up_no_other(database: str) -> None:
    """An old worker cannot read it: it changes nothing, and goes on with what it can read."""
    store = await open_store(database)
    waiting = workflow(spec(node("a"), node("s", "a", type_="signal"), node("b", "s")))
    ids = ["newer", "other", "third"]
    try:
        await store.submit([submission(id_, workflow=waiting) for id_ in ids], datetime.now(UTC))
        async with working(store):
            await all_wait(store, ids)
        written_by_a_newer_release(database, "newer")
        await store.deliver([Delivery(id_, SignalReceived(datetime.now(UTC), "s", 1, "s1")) for id_ in ids])
        before = await row(store, "newer")
        async with working(store):
            records = await ended(store, ["other", "third"])
        left = await row(store, "newer")
    finally:
        await store.close()
    assert {record.status for record in records} == {Status.SUCCESS}
    assert (left.seq, left.status) == (before.seq, Status.WAITING)


async def all_wait(store: Store, ids: list[str]) -> None:
    async with asyncio.timeout(20):
        while {(await row(store, id_)).status for id_ in ids} != {Status.WAITING}:
            await asyncio.sleep(0.02)


def written_by_a_newer_release(database: str, execution_id: str) -> None:
    """Its last event is of the next event schema."""
    engine = sa.create_engine(database)
    with engine.begin() as connection:
        last = sa.select(sa.func.max(events.c.seq)).where(events.c.execution_id == execution_id).scalar_subquery()
        newer = events.update().where(events.c.execution_id == execution_id, events.c.seq == last)
        connection.execute(newer.values(schema_version=SCHEMA_VERSION + 1))
    engine.dispose()

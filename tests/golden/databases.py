"""Leaves databases as this version writes them, with executions in every state: `python -m tests.golden.databases`.

Run once for every revision of the schema, before its release. What is there stays as it is for ever: every later
version must finish what stands in it (test_golden_databases.py).
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator import events as e
from orchestrator.authoring import compile_workflow
from orchestrator.clock import SystemClock
from orchestrator.functions import Functions, NonRetryable
from orchestrator.model import Engine, Status
from orchestrator.nodes.runner import NodeRunner
from orchestrator.steering import look_up, retry
from orchestrator.store import Control, Filter, Store, open_store
from orchestrator.store.migrate import known_head
from orchestrator.worker import Worker, WorkerSettings
from tests.support.postgres import LocalPostgres, plain_url
from tests.support.stores import decision, submission

if TYPE_CHECKING:
    from orchestrator.nodes.base import StepContext

FOLDER: Final = Path(__file__).parent / "databases"
LATER: Final = "1m"  # timers and retries that are due long before anybody reads the database again

_CRASHED: Final = 86
_LEASE: Final = timedelta(seconds=2)
_SETTINGS: Final = WorkerSettings(poll=timedelta(milliseconds=20), lease=_LEASE, batch=timedelta(0))


def step(id_: str, *needs: str, call: str = "effect", **fields: Any) -> dict[str, Any]:
    return {"id": id_, "type": "python", "needs": list(needs), "with": {"call": call}, **fields}


def signal(id_: str, *needs: str) -> dict[str, Any]:
    return {"id": id_, "type": "signal", "needs": list(needs)}


UNDO: Final = {"type": "python", "with": {"call": "effect"}}
STALLED_UNDO: Final = {"type": "python", "with": {"call": "stall"}}
ONCE: Final = {"retry": {"maxAttempts": 1}}
WITH_WORD: Final = [step("first"), signal("word", "first"), step("last", "word")]

#: What is left: the nodes of each workflow, by its name, which is the id of its one execution, too.
OVER: Final[dict[str, list[dict[str, Any]]]] = {
    "success": [step("first"), step("last", "first")],
    "failed": [step("first"), step("broken", "first", call="broken", **ONCE), step("last", "broken")],
    "undone": [step("first", compensate=UNDO), step("broken", "first", call="broken", **ONCE)],
}
PARKED: Final = {"cancelled": WITH_WORD, "suspended": WITH_WORD, "signalled": WITH_WORD}
AT_WORK: Final[dict[str, list[dict[str, Any]]]] = {
    "running": [step("first"), step("stalled", "first", call="stall"), step("last", "stalled")],
    "compensating": [step("first", compensate=STALLED_UNDO), step("broken", "first", call="broken", **ONCE)],
    "mapping": [
        {
            "id": "each",
            "type": "map",
            "with": {
                "items": ["done", "stalled", "next"],
                "key": "${item}",
                "concurrency": 1,
                "do": {"type": "python", "with": {"call": "stallAt", "args": {"item": "${item}"}}},
            },
        },
        step("last", "each"),
    ],
    "parent": [
        step("first"),
        {"id": "child", "type": "workflow", "needs": ["first"], "with": {"workflow": "child", "input": {}}},
        step("last", "child"),
    ],
    "timer": [step("first"), {"id": "w", "type": "wait", "needs": ["first"], "with": {"duration": LATER}}],
    "retrying": [
        step("first"),
        step("again", "first", call="notYet", retry={"maxAttempts": 3, "initialInterval": LATER, "jitter": "none"}),
        step("last", "again"),
    ],
    "approval": [step("first"), {"id": "boss", "type": "approval", "needs": ["first"], "with": {"approvers": ["ada"]}}],
    "holder": [signal("word"), step("last", "word")],
}
AT_WORK["queued"] = AT_WORK["holder"]
PENDING: Final = {"pending": WITH_WORD, "restored": OVER["success"]}
CHILD: Final = [step("inner"), step("stalled", "inner", call="stall")]
V1: Final = {"v1-success": OVER["success"], "v1-failed": OVER["failed"], "v1-pending": OVER["success"]}
V1_STALLED: Final = {"v1-running": [step("first"), step("stalled", "first", call="stall"), step("last", "stalled")]}
_STALLS: Final = 5  # running, compensating, mapping, the child, v1-running


class Book:
    """What steps did: a line an effect, on the disk before the step goes on."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, key: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{key}\n")
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[str]:
        return self._path.read_text(encoding="utf-8").split() if self._path.exists() else []


def functions_of(book: Book, *, crash: bool = False) -> Functions:
    """What the workflows call. With `crash` the process dies when every step that stalls is at it."""
    functions, stalled = Functions(), asyncio.Semaphore(0)

    async def effect(context: StepContext) -> str:
        book.write(context.idempotency_key)
        return context.idempotency_key

    async def stall(context: StepContext) -> str:
        if not crash:
            return await effect(context)
        stalled.release()
        if stalled._value >= _STALLS:
            os._exit(_CRASHED)
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    async def stall_at(context: StepContext, item: str) -> str:
        return await (stall if item == "stalled" else effect)(context)

    async def broken(context: StepContext) -> None:
        raise NonRetryable("declined")

    async def not_yet(context: StepContext) -> str:
        if context.attempt == 1:
            raise RuntimeError("not now")
        return await effect(context)

    for name, function in {
        "effect": effect,
        "stall": stall,
        "stallAt": stall_at,
        "broken": broken,
        "notYet": not_yet,
    }.items():
        functions.register(function, name)
    return functions


async def work(store: Store, functions: Functions) -> None:
    """Until nothing is left that could go on by itself."""
    async with NodeRunner(functions=functions) as runner:
        await Worker(store, runner, SystemClock(), _SETTINGS).run(asyncio.Event(), until_idle=True)


async def submit(store: Store, id_: str, nodes: list[dict[str, Any]], **fields: Any) -> None:
    spec = {"nodes": nodes} | ({"concurrency": {"limit": 1}} if id_ in ("holder", "queued") else {})
    # The two that share a limit are of one workflow.
    flow = compile_workflow(spec, namespace="default", name="limited" if "concurrency" in spec else id_)
    await store.put_workflow(flow)
    await store.submit([submission(id_, workflow=flow, input={}, name=id_, **fields)], datetime.now(UTC))


async def leave(database: str, folder: Path) -> None:
    """Bring a database into the state that is kept."""
    store = await open_store(database)
    functions, now = functions_of(Book(folder / "effects")), datetime.now(UTC)
    counted = {"attempt": "v2-1", "ages": (1.0,)}
    try:
        for id_, nodes in (OVER | PARKED).items():
            await submit(store, id_, nodes, **counted)
        for id_, nodes in V1.items():
            if id_ != "v1-pending":
                await submit(store, id_, nodes, engine=Engine.V1, **counted)
        await work(store, functions)
        await retry(store, await look_up(store, "failed"), now, fork_id="forked")
        for id_, control in (("cancelled", Control.CANCEL), ("suspended", Control.SUSPEND)):
            await store.control(id_, control, datetime.now(UTC))
        await work(store, functions)
        await store.count_cohorts(datetime.now(UTC) + timedelta(seconds=2))
        await store.append_decision(decision(1, "", "v2"))
        await store.append_decision(decision(2, None, "v2"))
        await store.log_edge(["ERROR something"], now)
        await store.put_workflow(compile_workflow({"nodes": CHILD}, namespace="default", name="child"))
        for id_, nodes in AT_WORK.items():
            await submit(store, id_, nodes)
        for id_, nodes in V1_STALLED.items():
            await submit(store, id_, nodes, engine=Engine.V1)
        crash(database, folder)
        for id_, nodes in PENDING.items():
            await submit(store, id_, nodes, suspended="Restored" if id_ == "restored" else None)
        await submit(store, "v1-pending", V1["v1-pending"], engine=Engine.V1)
    finally:
        await store.close()


def crash(database: str, folder: Path) -> None:
    """A worker that dies in mid-step, with five executions in its hands."""
    command = [sys.executable, "-m", "tests.golden.databases", database, str(folder)]
    found = subprocess.run(command, check=False, timeout=60).returncode
    if found != _CRASHED:
        raise RuntimeError(f"the worker ended with {found}, and did not die in mid-step")


async def work_until_the_crash(database: str, folder: Path) -> None:
    store = await open_store(database)
    async with NodeRunner(functions=functions_of(Book(folder / "effects"), crash=True)) as runner:
        await Worker(store, runner, SystemClock(), _SETTINGS).run(asyncio.Event())


async def states(store: Store) -> dict[str, str]:
    """The status of every execution; a child goes by its workflow's name."""
    records = await store.executions(Filter(limit=1000))
    return {record.name or record.workflow_id.partition("/")[2]: record.status.value for record in records}


async def left(database: str) -> dict[str, Any]:
    """What a person can see of the database, for those who look at the file's neighbours."""
    store = await open_store(database)
    try:
        found = await states(store)
    finally:
        await store.close()
    assert {*found.values()} == {status.value for status in Status}, found
    return {"states": dict(sorted(found.items())), "event_schema": e.SCHEMA_VERSION}


def record() -> None:
    """Leave a SQLite file and a dump of PostgreSQL for the newest schema, unless they are there."""
    target = FOLDER / f"schema-{known_head()}"
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, LocalPostgres() as server:
        for name, make in (("sqlite.db.gz", _sqlite), ("postgresql.sql.gz", _postgresql)):
            if not (target / name).exists():
                folder = Path(place, name)
                folder.mkdir()
                content, told = make(folder, server)
                told["effects"] = Book(folder / "effects").read()
                (target / name).write_bytes(gzip.compress(content, mtime=0))
                (target / f"{name.partition('.')[0]}.json").write_text(json.dumps(told, indent=1) + "\n")
                print("recorded", target / name)  # noqa: T201 - this program's answer


def _sqlite(folder: Path, _: LocalPostgres) -> tuple[bytes, dict[str, Any]]:
    path = folder / "store.db"
    asyncio.run(leave(str(path), folder))
    told = asyncio.run(left(str(path)))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.read_bytes(), told


def _postgresql(folder: Path, server: LocalPostgres) -> tuple[bytes, dict[str, Any]]:
    url = server.create_database()
    asyncio.run(leave(url, folder))
    command = [str(server.binaries / "pg_dump"), "--inserts", "--no-owner", "--no-privileges", plain_url(url)]
    dump = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    # What belongs to psql, or to one version of PostgreSQL, is left out.
    alien = (b"\\", b"--", b"SET transaction_timeout")
    lines = [line for line in dump.splitlines() if line and not line.startswith(alien)]
    return b"\n".join(lines) + b"\n", asyncio.run(left(url))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(work_until_the_crash(sys.argv[1], Path(sys.argv[2])))
    else:
        record()

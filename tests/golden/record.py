"""Records histories as this version writes them: `python -m tests.golden.record`. Run once for every schema version.

What is recorded stays as it is for ever: every later version is tested with it. A file that is there is left alone.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import events as e
from orchestrator.authoring import compile_workflow
from orchestrator.clock import SystemClock
from orchestrator.nodes.addresses import AllowList
from orchestrator.nodes.runner import NodeRunner
from orchestrator.steering import look_up, retry
from orchestrator.store import Control, Delivery, open_store
from orchestrator.worker import Worker, WorkerSettings
from tests.machine.chaos.faults.player import Book, functions_of
from tests.machine.chaos.faults.shapes import SHAPES, work
from tests.support.ledger import LedgerProcess
from tests.support.stores import submission

if TYPE_CHECKING:
    from orchestrator.store import Store

HISTORIES = Path(__file__).parent / "histories" / f"schema-{e.SCHEMA_VERSION}"
_SETTINGS = WorkerSettings(poll=timedelta(milliseconds=20), batch=timedelta(0))


class Recorder:
    """A store, a worker that runs on demand, and what they leave."""

    def __init__(self, folder: Path, store: Store, service: str) -> None:
        self._folder, self._store, self._service = folder, store, service

    async def work(self) -> None:
        async with NodeRunner(
            allowed=AllowList.parse("127.0.0.0/8"), functions=functions_of(Book(self._folder / "effects"))
        ) as runner:
            await Worker(self._store, runner, SystemClock(), _SETTINGS).run(asyncio.Event(), until_idle=True)

    async def submit(self, id_: str, spec: dict[str, Any], input_: dict[str, Any], **fields: Any) -> None:
        flow = compile_workflow(spec, namespace="default", name=id_)
        await self._store.put_workflow(flow)
        wanted = submission(id_, workflow=flow, input=input_ | {"service": self._service}, **fields)
        await self._store.submit([wanted], datetime.now(UTC))

    async def shapes(self) -> None:
        """Every node type, joins, compensation, children, a cancel."""
        for name, shape in SHAPES.items():
            for child, spec in shape.children.items():
                await self._store.put_workflow(compile_workflow(spec, namespace="default", name=child))
            await self.submit(name, shape.spec, shape.input)
            for signal, payload in shape.signals.items():
                sent = e.SignalReceived(datetime.now(UTC), signal, payload, f"signal-{signal}")
                await self._store.deliver([Delivery(name, sent)])
            await self.work()
            if shape.cancel_at is not None:
                await self._store.control(name, Control.CANCEL, datetime.now(UTC))
                await self.work()

    async def suspended(self) -> None:
        """Suspended before it began, resumed, and asked to suspend and to go on again."""
        spec = {"nodes": [work("first"), {"id": "word", "type": "signal", "needs": ["first"]}, work("last", "word")]}
        await self.submit("suspended", spec, {}, suspended="Restored")
        await self._store.control("suspended", Control.RESUME, datetime.now(UTC))
        await self.work()
        await self._store.control("suspended", Control.SUSPEND, datetime.now(UTC))
        await self.work()
        await self._store.control("suspended", Control.RESUME, datetime.now(UTC))
        await self.work()
        sent = e.SignalReceived(datetime.now(UTC), "word", {"a": [1, 2.5, None, True, "ü"]}, "s1")
        await self._store.deliver([Delivery("suspended", sent)])
        await self.work()

    async def timed_out(self) -> None:
        """An execution that takes longer than it may."""
        await self.submit("timed-out", {"timeout": "50ms", "nodes": [{"id": "word", "type": "signal"}]}, {})
        await self.work()

    async def forked(self) -> None:
        """A failed execution, repeated from where it failed."""
        spec = SHAPES["undone"].spec
        nodes = [node for node in spec["nodes"] if node["id"] in ("each", "charge")]
        plain = [{**node, "needs": [], "compensate": None} for node in nodes[:1]]
        plain += [{"id": "charge", "type": "python", "needs": ["each"], "with": {"call": "broken"}}]
        plain = [{key: value for key, value in node.items() if value is not None} for node in plain]
        await self.submit("failed", {**spec, "nodes": plain}, {})
        await self.work()
        known = await look_up(self._store, "failed")
        await retry(self._store, known, datetime.now(UTC), fork_id="forked")
        await self.work()

    def write(self) -> list[str]:
        """A file for each execution: its rows as they are stored."""
        written = []
        with closing(sqlite3.connect(self._folder / "golden.db")) as connection:
            connection.row_factory = sqlite3.Row
            for row in connection.execute("SELECT * FROM workflow_executions ORDER BY id").fetchall():
                query = "SELECT definition FROM workflow_revisions WHERE workflow_id = ? AND revision = ?"
                (definition,) = connection.execute(query, (row["workflow_id"], row["revision"])).fetchone()
                events = connection.execute(
                    "SELECT * FROM workflow_events WHERE execution_id = ? ORDER BY seq", (row["id"],)
                ).fetchall()
                told = {
                    "execution": dict(row),
                    "definition": json.loads(definition),
                    "events": [{**dict(event), "data": json.loads(event["data"])} for event in events],
                }
                path = HISTORIES / f"{row['id'][:24]}.json"
                if not path.exists():
                    path.write_text(json.dumps(told, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
                    written.append(path.name)
        return written


async def record() -> None:
    """Record what is not there yet."""
    HISTORIES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with LedgerProcess(folder / "ledger") as ledger:
            store = await open_store(str(folder / "golden.db"))
            recorder = Recorder(folder, store, ledger.url)
            try:
                for story in (recorder.shapes, recorder.suspended, recorder.timed_out, recorder.forked):
                    await story()
            finally:
                await store.close()
            print("recorded", *recorder.write())  # noqa: T201 - this program's answer


if __name__ == "__main__":
    asyncio.run(record())

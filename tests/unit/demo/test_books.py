"""The demo's own reading of the store's tables, against a store made by its migrations."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.demo import books
from orchestrator_operator.demo.facts import Share
from orchestrator_operator.demo.ledger import Call, Faults, Ledger

from orchestrator.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator_operator.demo.facts import Books

START = datetime(2030, 1, 1, tzinfo=UTC)


class Database:
    """A store's file, filled by plain SQL: what `books` reads is the contract's tables, whoever wrote them."""

    def __init__(self, folder: Path) -> None:
        self.store, self.ledger = folder / "store.db", folder / "ledger.db"

    def execution(
        self, name: str, engine: str, status: str, second: float, *, done: int = 0, error: str = "HttpStatus"
    ) -> None:
        required: dict[str, Any] = {
            "id": name, "workflow_id": "a/b", "revision": "r", "name": name, "engine": engine, "assignment": "key",
            "percent": "5", "attempt": "", "status": status, "current_node_id": "", "done": done, "total": 3,
            "retries": 0, "message": "", "fence": 0, "seq": 0, "last_append": "", "longest_timeout": 1.0,
            "cancel_requested": 0, "suspend_requested": 0, "version": 1, "written_version": 0, "next_age": 0,
            "queued": 0, "dirty": 0,
            "created_at": (START + timedelta(seconds=second)).replace(tzinfo=None).isoformat(" ", "microseconds"),
        }  # fmt: skip
        failure = {"error": json.dumps({"kind": error})} if status == "failed" else {}
        self._insert("workflow_executions", required | failure)

    def completed(self, execution: str, node: str, seq: int) -> None:
        self._insert(
            "workflow_events",
            {
                "execution_id": execution, "seq": seq, "type": "StepCompleted", "schema_version": 1, "node_id": node,
                "node_type": "http", "attempt": 1, "data": "{}", "created_at": "2030-01-01", "append_seq": seq,
            },
        )  # fmt: skip

    def routed(self, text: str) -> None:
        with closing(sqlite3.connect(self.store)) as database, database:
            database.execute("INSERT OR IGNORE INTO edge_functions (id, name) VALUES (1, 'execute-workflow')")
            (function,) = database.execute("SELECT id FROM edge_functions WHERE name = 'execute-workflow'").fetchone()
            values = (function, text, "2030-01-01")
            database.execute("INSERT INTO edge_logs (function_id, event_message, timestamp) VALUES (?,?,?)", values)

    def sell(self, key: str) -> None:
        ledger = Ledger(self.ledger)
        ledger.record(Call(key=key, path="/ship", order="o", engine="v2", at=0.0, body={}), Faults())
        ledger.close()

    def read(self, faults: float = 100, gone: float | None = None) -> Books:
        return books.read(
            self.store,
            self.ledger,
            began=START,
            faults_at=START + timedelta(seconds=faults),
            gone_at=None if gone is None else START + timedelta(seconds=gone),
        )

    def _insert(self, table: str, values: dict[str, Any]) -> None:
        columns, marks = ", ".join(values), ", ".join("?" for _ in values)
        with closing(sqlite3.connect(self.store)) as database, database:
            database.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", tuple(values.values()))


@pytest.fixture
async def database(tmp_path: Path) -> Database:
    made = Database(tmp_path)
    await (await open_store(str(made.store))).close()
    Ledger(made.ledger).close()
    return made


async def test_failures_before_the_faults_are_told_by_engine(database: Database) -> None:
    for number, (engine, status) in enumerate(
        [("v1", "failed"), ("v1", "success"), ("v2", "success"), ("v2", "running")]
    ):
        database.execution(f"x{number}", engine, status, number)
    database.execution("late", "v2", "failed", 101)
    assert database.read().refused_before == {"v1": Share(1, 2), "v2": Share(0, 1)}


async def test_failures_by_the_faults_end_when_the_flag_is_gone(database: Database) -> None:
    for name, status, second in [
        ("a", "failed", 99),
        ("b", "failed", 101),
        ("c", "success", 102),
        ("d", "failed", 120),
    ]:
        database.execution(name, "v2", status, second)
    assert database.read(faults=100, gone=110).refused_by_faults == Share(1, 2)


async def test_what_failed_by_anything_else_is_no_refusal(database: Database) -> None:
    database.execution("a", "v1", "failed", 1, error="Timeout")
    found = database.read()
    assert (found.refused_before["v1"], found.failed_otherwise) == (Share(0, 1), {"v1": 1, "v2": 0})


async def test_every_execution_is_told_with_its_engine(database: Database) -> None:
    for name, engine in [("a", "v2"), ("b", "v1")]:
        database.execution(name, engine, "success", 1)
    assert books.engines(database.store) == {"a": "v2", "b": "v1"}


@pytest.mark.parametrize(
    ("fill", "wrong"),
    [
        (lambda d: d.completed("x", "ship", 2), 0),
        (lambda d: (d.completed("x", "ship", 2), d.completed("x", "ship", 3)), 2),  # twice, and a row that says once
        (lambda _: None, 1),  # the row says one step is done, no event does
    ],
)
async def test_steps_without_exactly_one_event_are_counted(
    database: Database, fill: Callable[[Database], object], wrong: int
) -> None:
    database.execution("x", "v2", "success", 1, done=1)
    fill(database)
    assert database.read().steps_not_once == wrong


async def test_a_completed_http_step_without_an_effect_is_missed(database: Database) -> None:
    database.execution("x", "v2", "success", 1, done=2)
    database.completed("x", "ship", 2)
    database.completed("x", "notify", 3)
    database.sell("x/ship")
    assert database.read().effects_missing == 1


async def test_lines_of_routing_decisions_are_counted_by_engine(database: Database) -> None:
    for text in (
        "Usando Orchestrator V1 for x",
        "Usando Orchestrator V2 for y",
        "Usando Orchestrator V2",
        "ERROR else",
    ):
        database.routed(text)
    assert database.read().routed_lines == {"v1": 1, "v2": 2}


async def test_what_is_not_over_is_unfinished(database: Database) -> None:
    for name, status in [("a", "waiting"), ("b", "running"), ("c", "cancelled")]:
        database.execution(name, "v2", status, 1)
    assert (books.unfinished(database.store), database.read().unfinished_v2) == (2, 2)
    assert books.unfinished(database.store, ("v1",)) == 0

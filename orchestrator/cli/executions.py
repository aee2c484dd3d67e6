"""`orchestrator executions`: what is there, how it stands, and everything that happened to it."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from orchestrator.cli.options import Database, Output, OutputOption, print_json
from orchestrator.errors import UnknownExecution
from orchestrator.model import Status
from orchestrator.settings import Settings
from orchestrator.store import Control, ExecutionRecord, Store, open_store
from orchestrator.store.codec import dump_data, dump_failure, type_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orchestrator.events import Recorded
    from orchestrator.model import Failure

app = typer.Typer(help="List and inspect executions in a database.", no_args_is_help=True, rich_markup_mode=None)

R = TypeVar("R")
Id = Annotated[str, typer.Argument(help="The execution's id.")]


def describe(record: ExecutionRecord) -> dict[str, Any]:
    """An execution as JSON."""
    return {
        "id": record.id,
        "workflow": record.workflow_id,
        "revision": record.revision,
        "engine": record.engine.value,
        "status": record.status.value,
        "node": record.current_node,
        "progress": f"{record.done}/{record.total}",
        "retries": record.retries,
        "created_at": record.created_at.isoformat(),
        "started_at": record.started_at.isoformat() if record.started_at else None,
        "finished_at": record.finished_at.isoformat() if record.finished_at else None,
        "output": record.output,
        "error": dump_failure(record.failure),
    }


def show_failure(failure: Failure) -> str:
    """A failure in one line."""
    where = f"node {failure.node}: " if failure.node else ""
    return f"{where}{failure.kind}: {failure.message}"


def _ask(database: str | None, question: Callable[[Store], Awaitable[R]]) -> R:
    settings = Settings.read()
    settings = replace(settings, database=database or settings.database)

    async def asked() -> R:
        store = await open_store(settings.database, schema=settings.schema)
        try:
            return await question(store)
        finally:
            await store.close()

    return asyncio.run(asked())


@app.command("list")
def list_(
    database: Database = None,
    workflow: Annotated[str | None, typer.Option(help="Only of this workflow, namespace/name.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only with this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, newest first.")] = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """The newest executions.

    Example: orchestrator executions list --status failed --limit 10
    """
    records = _ask(database, lambda store: store.executions(workflow_id=workflow, status=status, limit=limit))
    if output is Output.JSON:
        print_json([describe(record) for record in records])
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("ID", "WORKFLOW", "ENGINE", "STATUS", "NODE", "PROGRESS", "DURATION", "AGE"):
        table.add_column(column, no_wrap=True)
    now = datetime.now(UTC)
    for record in records:
        table.add_row(
            record.id,
            record.workflow_id,
            record.engine.value,
            record.status.value,
            record.current_node,
            f"{record.done}/{record.total}",
            _seconds(record.started_at, record.finished_at or now),
            _seconds(record.created_at, now),
        )
    Console(width=None if sys.stdout.isatty() else 200).print(table)


@app.command()
def show(execution_id: Id, database: Database = None, output: OutputOption = Output.TABLE) -> None:
    """One execution: where it stands and, when it failed, why.

    Example: orchestrator executions show 0b7c… --output json
    """
    record = _found(_ask(database, lambda store: store.get(execution_id)), execution_id)
    described = describe(record)
    if output is Output.JSON:
        print_json(described)
        return
    for name, value in described.items():
        if name == "error":
            value = show_failure(record.failure) if record.failure else None  # noqa: PLW2901 — the readable form
        if value is not None:
            typer.echo(f"{name:<12} {value}")


@app.command()
def events(execution_id: Id, database: Database = None, output: OutputOption = Output.TABLE) -> None:
    """Everything that happened to an execution, in order.

    Example: orchestrator executions events 0b7c…
    """

    async def both(store: Store) -> tuple[ExecutionRecord | None, list[Recorded]]:
        return await store.get(execution_id), await store.events(execution_id)

    record, history = _ask(database, both)
    _found(record, execution_id)
    rows = [_event(recorded) for recorded in history]
    if output is Output.JSON:
        print_json(rows)
        return
    for row in rows:
        node = f" {row['node']}" if row["node"] else ""
        attempt = f" attempt {row['attempt']}" if row["attempt"] else ""
        typer.echo(f"{row['seq']:>4} {row['at']} {row['type']}{node}{attempt}")


@app.command()
def cancel(execution_id: Id, database: Database = None) -> None:
    """Cancel an execution: no step starts after this; steps in flight end.

    Example: orchestrator executions cancel 0b7c…
    """
    _control(execution_id, database, Control.CANCEL)


@app.command()
def suspend(execution_id: Id, database: Database = None) -> None:
    """Suspend an execution until `resume`."""
    _control(execution_id, database, Control.SUSPEND)


@app.command()
def resume(execution_id: Id, database: Database = None) -> None:
    """Let a suspended execution go on, one that a restore held back too."""
    _control(execution_id, database, Control.RESUME)


def _control(execution_id: str, database: str | None, control: Control) -> None:
    async def asked(store: Store) -> tuple[ExecutionRecord | None, bool]:
        return await store.get(execution_id), await store.control(execution_id, control, datetime.now(UTC))

    record, changed = _ask(database, asked)
    found = _found(record, execution_id)
    typer.echo(f"{execution_id} {control}: {'recorded' if changed else f'nothing to do, it is {found.status}'}")


def _found(record: ExecutionRecord | None, execution_id: str) -> ExecutionRecord:
    if record is None:
        raise UnknownExecution(f"no execution {execution_id!r} in this database: see `orchestrator executions list`")
    return record


def _event(recorded: Recorded) -> dict[str, Any]:
    event = recorded.event
    return {
        "seq": recorded.seq,
        "at": event.at.isoformat(),
        "type": type_name(event),
        "node": getattr(event, "node", None),
        "attempt": getattr(event, "attempt", None),
        "data": dump_data(event),
    }


def _seconds(start: datetime | None, end: datetime) -> str:
    return "" if start is None else f"{max(0.0, (end - start).total_seconds()):.1f}s"

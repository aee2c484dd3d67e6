"""`orchestrator executions`: what is there, how it stands, and everything that happened to it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from orchestrator.cli.options import Database, Output, OutputOption, examples, print_json
from orchestrator.errors import InvalidInput, Problem, UnknownExecution
from orchestrator.model import Engine, Status
from orchestrator.settings import Settings
from orchestrator.store import Control, ExecutionRecord, Store, open_store
from orchestrator.store.codec import dump_data, dump_failure, type_name
from orchestrator.store.open import database_url

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
    _must_exist(settings.database)

    async def asked() -> R:
        store = await open_store(settings.database, schema=settings.schema)
        try:
            return await question(store)
        finally:
            await store.close()

    return asyncio.run(asked())


def _must_exist(database: str) -> None:
    """A question must not make a database: a misspelt path would be answered by an empty one."""
    url = database_url(database)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        message = f"there is no database {url.database}; `orchestrator run` makes one, --database names another"
        raise InvalidInput([Problem("--database", message)])


@app.command("list", epilog=examples("orchestrator executions list --status failed --limit 10"))
def list_(
    database: Database = None,
    workflow: Annotated[
        str | None, typer.Option(help="Only of this workflow: namespace/name, or a name in `default`.")
    ] = None,
    status: Annotated[Status | None, typer.Option(help="Only with this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, newest first.")] = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """The newest executions."""
    if workflow and "/" not in workflow:
        workflow = f"default/{workflow}"
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
    # In full on any terminal: an id that is cut is of no use.
    Console(width=max(Console().width, 200)).print(table)


@app.command(epilog=examples("orchestrator executions show 0b7c… --output json"))
def show(execution_id: Id, database: Database = None, output: OutputOption = Output.TABLE) -> None:
    """One execution: where it stands and, when it failed, why."""
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


@app.command(epilog=examples("orchestrator executions events 0b7c…"))
def events(execution_id: Id, database: Database = None, output: OutputOption = Output.TABLE) -> None:
    """Everything that happened to an execution, in order."""

    async def both(store: Store) -> tuple[ExecutionRecord | None, list[Recorded]]:
        return await store.get(execution_id), await store.events(execution_id)

    record, history = _ask(database, both)
    found = _found(record, execution_id)
    rows = [_event(recorded) for recorded in history]
    if output is Output.JSON:
        print_json(rows)
        return
    if found.engine is Engine.V1:
        typer.echo("V1 keeps no events; `orchestrator executions show` says where it stands", err=True)
    for row, recorded in zip(rows, history, strict=True):
        node = f" {row['node']}" if row["node"] else ""
        attempt = f" attempt {row['attempt']}" if row["attempt"] else ""
        typer.echo(f"{row['seq']:>4} {row['at']} {row['type']}{node}{attempt}{_detail(recorded)}")


@app.command(epilog=examples("orchestrator executions cancel 0b7c…"))
def cancel(execution_id: Id, database: Database = None) -> None:
    """Cancel an execution: no step starts after this; steps in flight end."""
    _control(execution_id, database, Control.CANCEL)


@app.command(epilog=examples("orchestrator executions suspend 0b7c…"))
def suspend(execution_id: Id, database: Database = None) -> None:
    """Suspend an execution until `resume`."""
    _control(execution_id, database, Control.SUSPEND)


@app.command(epilog=examples("orchestrator executions resume 0b7c…"))
def resume(execution_id: Id, database: Database = None) -> None:
    """Let a suspended execution go on, one that a restore held back too."""
    _control(execution_id, database, Control.RESUME)


def _control(execution_id: str, database: str | None, control: Control) -> None:
    async def asked(store: Store) -> tuple[ExecutionRecord | None, bool]:
        return await store.get(execution_id), await store.control(execution_id, control, datetime.now(UTC))

    record, changed = _ask(database, asked)
    said = "recorded" if changed else _why_not(_found(record, execution_id), control)
    typer.echo(f"{execution_id} {control}: {said}")


def _why_not(record: ExecutionRecord, control: Control) -> str:
    if record.finished_at is not None:
        return f"nothing to do, it is over: {record.status}"
    if record.engine is Engine.V1 and control is Control.SUSPEND:
        return "V1 cannot be suspended; cancel it, or wait for its end"
    return f"nothing to do, it is {record.status} and this was asked before or is the case"


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


def _detail(recorded: Recorded) -> str:
    """What a person wants to know of an event beside its kind: why, and until when."""
    event = recorded.event
    failure: Failure | None = getattr(event, "failure", None)
    moment: datetime | None = getattr(event, "retry_at", None)
    until: datetime | None = getattr(event, "until", None)
    parts = [
        f"{failure.kind}: {failure.message}" if failure else "",
        f"next attempt at {moment.isoformat()}" if moment else "",
        f"until {until.isoformat()}" if until else "",
    ]
    said = "; ".join(part for part in parts if part)
    return f" ({said})" if said else ""


def _seconds(start: datetime | None, end: datetime) -> str:
    return "" if start is None else f"{max(0.0, (end - start).total_seconds()):.1f}s"

"""`orchestrator executions list`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from orchestrator.cli.executions.common import app, ask, describe
from orchestrator.cli.executions.selecting import (
    EngineOption,
    KindOption,
    NewerOption,
    NodeOption,
    OlderOption,
    StalledOption,
    StatusOption,
    WorkflowOption,
    chosen,
    pages,
)
from orchestrator.cli.options import Database, Output, OutputOption, examples, print_json
from orchestrator.store import ExecutionRecord, Store


@app.command(
    "list",
    epilog=examples(
        "orchestrator executions list --status failed --limit 10",
        "orchestrator executions list --workflow orders --failed-node charge --newer-than 2h",
    ),
)
def list_(
    *,
    database: Database = None,
    workflow: WorkflowOption = None,
    status: StatusOption = None,
    engine: EngineOption = None,
    stalled: StalledOption = False,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    failed_kind: KindOption = None,
    failed_node: NodeOption = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, newest first.")] = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """The newest executions."""
    selection = chosen(
        workflow, status, older_than, newer_than, failed_kind, failed_node, limit, engine, stalled=stalled
    )
    now = datetime.now(UTC)
    selection.where(now)  # what is wrong with it is told before the database is opened

    async def listed(store: Store) -> list[ExecutionRecord]:
        return [record async for page in pages(store, selection, now) for record in page]

    records = ask(database, listed)
    if output is Output.JSON:
        print_json([describe(record) for record in records])
    else:
        print_table(records, now)


def print_table(records: list[ExecutionRecord], now: datetime) -> None:
    """Executions for people."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("ID", "WORKFLOW", "ENGINE", "STATUS", "NODE", "PROGRESS", "DURATION", "AGE"):
        table.add_column(column, no_wrap=True)
    for record in records:
        table.add_row(
            record.id,
            record.workflow_id,
            record.engine.value,
            "queued" if record.queued else record.status.value,
            record.current_node,
            f"{record.done}/{record.total}",
            _seconds(record.started_at, record.finished_at or now),
            _seconds(record.created_at, now),
        )
    # In full on any terminal: an id that is cut is of no use.
    Console(width=max(Console().width, 200)).print(table)


def _seconds(start: datetime | None, end: datetime) -> str:
    return "" if start is None else f"{max(0.0, (end - start).total_seconds()):.1f}s"

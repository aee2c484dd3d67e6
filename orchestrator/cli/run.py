"""`orchestrator run FILE`: one execution of a workflow file, here and now, without a cluster."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import structlog
import typer

from orchestrator import flag
from orchestrator.authoring import check_input, compile_workflow, read_document
from orchestrator.cli.executions import describe, show_failure
from orchestrator.cli.options import Database, Output, OutputOption, print_json
from orchestrator.cli.processes import opened, stop_on_signals
from orchestrator.clock import SystemClock
from orchestrator.errors import InvalidExecution, Problem
from orchestrator.model import Engine, Status, Workflow
from orchestrator.router import Routing, route
from orchestrator.settings import Settings
from orchestrator.store import ExecutionRecord, Store, Submission

if TYPE_CHECKING:
    from orchestrator.worker import Worker

log = structlog.get_logger(__name__)


class EngineChoice(StrEnum):
    """Which engine to run on; `auto` asks the flag in the environment."""

    AUTO = "auto"
    V1 = "v1"
    V2 = "v2"


app = typer.Typer(rich_markup_mode=None)


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="A Workflow resource, YAML or JSON.", exists=True, dir_okay=False)],
    input_: Annotated[str, typer.Option("--input", "-i", help="The input, JSON; @FILE reads it from a file.")] = "{}",
    engine: Annotated[
        EngineChoice, typer.Option(help="auto: by USE_ORCHESTRATOR_V2 in the environment.")
    ] = EngineChoice.V2,
    database: Database = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="A second run with the same key goes on, or gives the first one's result.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Run a workflow to its end. Exit code 0 on success only.

    Example: orchestrator run deploy/samples/fan-out.yaml --input '{"shop": "http://127.0.0.1:8080"}' --output json
    """
    namespace, name, spec = read_document(file)
    workflow = compile_workflow(spec, namespace=namespace, name=name)
    value = _read_input(input_)
    check_input(workflow, value)
    settings = Settings.read()
    settings = replace(settings, database=database or settings.database)
    record = asyncio.run(_run(settings, workflow, value, engine, idempotency_key))
    if output is Output.JSON:
        print_json(describe(record))
    else:
        typer.echo(f"{record.id} {record.workflow_id} on {record.engine}: {record.status}")
        if record.failure is not None:
            typer.echo(f"error: {show_failure(record.failure)}", err=True)
        elif record.output is not None:
            print_json(record.output)
    if record.status is not Status.SUCCESS:
        sys.exit(1)


def _read_input(text: str) -> Any:
    source = "--input"
    if text.startswith("@"):
        source = text[1:]
        try:
            text = Path(source).read_text(encoding="utf-8")
        except OSError as error:
            raise InvalidExecution([Problem("--input", f"cannot read {source}: {error.strerror}")]) from None
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidExecution([Problem("--input", f"{source} is not JSON: {error}")]) from None


async def _run(
    settings: Settings, workflow: Workflow, value: Any, choice: EngineChoice, idempotency_key: str | None
) -> ExecutionRecord:
    clock, uid = SystemClock(), uuid.uuid4().hex
    routing = await _route(uid, choice, v1_available=settings.v1 != "off")
    log.info(routing.announcement, execution=uid, reason=routing.reason)
    submission = Submission(
        id=uid,
        workflow=workflow,
        engine=routing.engine,
        assignment=routing.assignment,
        input=value,
        percent=routing.percent,
        idempotency_key=idempotency_key,
        log_line=f"{routing.announcement} execution={uid} workflow={workflow.id} reason={routing.reason}",
    )
    async with opened(settings) as (store, worker):
        submitted = (await store.submit([submission], clock.now()))[0]
        return await _finish(store, worker, submitted.id)


async def _route(uid: str, choice: EngineChoice, *, v1_available: bool) -> Routing:
    snapshot = await flag.EnvironmentFlagStore().read()
    state = flag.parse(snapshot.values, SystemClock().now())
    wanted = None if choice is EngineChoice.AUTO else Engine(choice.value)
    return route(state, uid=uid, engine=wanted, v1_available=v1_available)


async def _finish(store: Store, worker: Worker, execution_id: str) -> ExecutionRecord:
    """Work until the execution is over (others in the same database are worked on meanwhile)."""
    stop = stop_on_signals()
    working = asyncio.create_task(worker.run(stop))
    try:
        while True:
            record = await store.get(execution_id)
            if record is None or record.finished_at is not None or record.status is Status.SUSPENDED or stop.is_set():
                break
            done, _ = await asyncio.wait([working], timeout=0.05)
            if done:
                working.result()
    finally:
        stop.set()
        await working
    record = await store.get(execution_id)
    if record is None:
        raise InvalidExecution([Problem("", f"execution {execution_id} disappeared from the database")])
    return record

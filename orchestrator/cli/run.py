"""`orchestrator run FILE`: one execution of a workflow file, here and now, without a cluster."""

from __future__ import annotations

import asyncio
import sys
import uuid
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import structlog
import typer

from orchestrator import flag
from orchestrator.authoring import check_available, check_input, compile_workflow, read_document
from orchestrator.cli.executions import describe, show_failure
from orchestrator.cli.options import Database, Functions, Output, OutputOption, examples, print_json, read_json
from orchestrator.cli.processes import opened, stop_on_signals
from orchestrator.clock import SystemClock
from orchestrator.errors import OrchestratorError, UnknownExecution
from orchestrator.model import Engine, Status, Workflow
from orchestrator.router import Routing, route
from orchestrator.settings import Settings
from orchestrator.store import ExecutionRecord, Store, Submission

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.worker import Worker

log = structlog.get_logger(__name__)


class EngineChoice(StrEnum):
    """Which engine to run on; `auto` asks the flag in the environment."""

    AUTO = "auto"
    V1 = "v1"
    V2 = "v2"


app = typer.Typer(rich_markup_mode=None)


_INTERRUPTED = 130
_POLL = 0.05  # seconds


@app.command(
    epilog=examples(
        "orchestrator run workflow.yaml --input '{\"amount\": 12.5}'",
        "orchestrator run workflow.yaml --input @order.json --idempotency-key order-17 --output json",
        "orchestrator run parent.yaml --also child.yaml",
    )
)
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
    functions: Functions = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(
            help="Another Workflow that this one runs as a child; may be repeated.", exists=True, dir_okay=False
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Run a workflow to its end. Exit codes: 0 success, 1 any other end, 2 bad input, 130 interrupted.

    Ctrl-C loses nothing: a V2 execution goes on with the same --idempotency-key, or with `orchestrator worker`.
    """
    workflow, *children = [_compiled(path) for path in (file, *(also or ()))]
    value = read_json(input_, "--input")
    check_input(workflow, value)
    settings = Settings.read()
    for compiled in (workflow, *children):
        check_available(compiled, containers=settings.containers != "off")
    settings = replace(
        settings,
        database=database or settings.database,
        functions=functions if functions is not None else settings.functions,
    )
    record, interrupted = asyncio.run(_run(settings, workflow, children, value, engine, idempotency_key))
    if output is Output.JSON:
        print_json(describe(record))
    else:
        typer.echo(f"{record.id} {record.workflow_id} on {record.engine}: {record.status}")
        if record.failure is not None:
            typer.echo(f"error: {show_failure(record.failure)}", err=True)
        elif record.output is not None:
            print_json(record.output)
    if interrupted:
        typer.echo(f"interrupted: {_after_an_interruption(record)}", err=True)
        sys.exit(_INTERRUPTED)
    if record.status is not Status.SUCCESS:
        sys.exit(1)


def _after_an_interruption(record: ExecutionRecord) -> str:
    if _stays_behind(record):
        return f"{record.id} stays {record.status}, since V1 keeps no checkpoints; run it again from the start"
    return (
        f"{record.id} is kept and goes on with `orchestrator worker --until-idle`, or with this command and the same "
        "--idempotency-key"
    )


def _compiled(path: Path) -> Workflow:
    namespace, name, spec = read_document(path)
    return compile_workflow(spec, namespace=namespace, name=name)


async def _run(
    settings: Settings,
    workflow: Workflow,
    children: Sequence[Workflow],
    value: Any,
    choice: EngineChoice,
    idempotency_key: str | None,
) -> tuple[ExecutionRecord, bool]:
    """The execution as it stands in the end, and whether a signal was that end."""
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
    if routing.engine is Engine.V2 and settings.v1_http is not None:
        settings = replace(settings, v1="off", v1_http=None)  # no port is listened on for what this run does not need
    async with opened(settings) as (store, worker):
        for file in (*children, workflow):  # what a file says now is what children run from now on
            await store.put_workflow(file)
        submitted = (await store.submit([submission], clock.now()))[0]
        if not submitted.created:
            _can_go_on(await _read(store, submitted.id), settings)
        return await _finish(store, worker, submitted.id)


def _stays_behind(record: ExecutionRecord) -> bool:
    """Whether nobody takes it over from a process that ended: the built-in V1, which has no leases."""
    return record.engine is Engine.V1 and record.status is Status.RUNNING and record.due_at is None


def _can_go_on(record: ExecutionRecord, settings: Settings) -> None:
    if _stays_behind(record):
        raise OrchestratorError(
            f"execution {record.id} of this idempotency key is running on V1, which keeps no checkpoints: if its "
            "process died it stays so, and only a run with another key starts again"
        )
    if record.engine is Engine.V1 and record.finished_at is None and settings.v1 == "off":
        raise OrchestratorError(f"execution {record.id} of this idempotency key is on V1: run it with --engine v1")


async def _route(uid: str, choice: EngineChoice, *, v1_available: bool) -> Routing:
    snapshot = await flag.EnvironmentFlagStore().read()
    state = flag.parse(snapshot.values, SystemClock().now())
    wanted = None if choice is EngineChoice.AUTO else Engine(choice.value)
    return route(state, uid=uid, engine=wanted, v1_available=v1_available)


async def _finish(store: Store, worker: Worker, execution_id: str) -> tuple[ExecutionRecord, bool]:
    """Work until the execution is over (others in the same database are worked on meanwhile)."""
    stop = stop_on_signals()
    working = asyncio.create_task(worker.run(stop))
    try:
        while not _rests(await _read(store, execution_id)) and not stop.is_set():
            done, _ = await asyncio.wait([working], timeout=_POLL)
            if done:
                working.result()
    finally:
        signalled = stop.is_set()
        stop.set()
        await working
    record = await _read(store, execution_id)
    return record, signalled and not _rests(record)


def _rests(record: ExecutionRecord) -> bool:
    """Whether it is over, or waits for a person."""
    # Without the request it was resumed just now; with a cancel it ends.
    held = record.status is Status.SUSPENDED and record.suspend_requested and not record.cancel_requested
    return held or record.finished_at is not None


async def _read(store: Store, execution_id: str) -> ExecutionRecord:
    record = await store.get(execution_id)
    if record is None:
        raise UnknownExecution(f"execution {execution_id} has disappeared from the database")
    return record

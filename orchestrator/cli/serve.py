"""`orchestrator serve FILE…`: the HTTP door without a cluster, and a worker that runs what comes in."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator import durations, flag, telemetry
from orchestrator.authoring import compile_workflow, read_document
from orchestrator.cli.options import Database, Functions, examples
from orchestrator.cli.processes import opened, stop_on_signals
from orchestrator.cli.serving import serve_metrics
from orchestrator.cli.tuning import tune
from orchestrator.clock import SystemClock
from orchestrator.door import settings as texts
from orchestrator.door.accepting import StoreAcceptor
from orchestrator.door.problems import PATH
from orchestrator.door.server import Door, Inside
from orchestrator.door.settings import DoorSettings
from orchestrator.door.tokens import Tokens
from orchestrator.errors import InvalidInput, Problem
from orchestrator.intake import Intake, RoutingFacts
from orchestrator.journal import GroupCommit
from orchestrator.model import Workflow
from orchestrator.settings import Settings
from orchestrator.store import Store, Submission, Submitted
from orchestrator.wording import count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.worker import Worker

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=examples(
        "orchestrator serve workflows/*.yaml --tokens tokens",
        "orchestrator serve order.yaml --tokens tokens --database postgresql://localhost/orchestrator --no-worker",
    )
)
def serve(  # noqa: PLR0917 - one parameter a setting; on the command line each is named
    files: Annotated[list[Path], typer.Argument(help="Workflow resources, YAML or JSON.", exists=True, dir_okay=False)],
    tokens: Annotated[Path, typer.Option(help=texts.TOKENS, envvar="ORCHESTRATOR_DOOR_TOKENS")],
    listen: Annotated[str, typer.Option(help=texts.LISTEN, envvar="ORCHESTRATOR_DOOR_LISTEN")] = "127.0.0.1:8080",
    database: Database = None,
    functions: Functions = None,
    worker: Annotated[bool, typer.Option(help="Whether this process runs executions, too.")] = True,
    wait: Annotated[str, typer.Option(help=texts.WAIT, envvar="ORCHESTRATOR_DOOR_WAIT")] = "60s",
    waits: Annotated[int, typer.Option(help=texts.WAITS, envvar="ORCHESTRATOR_DOOR_WAITS", min=0, max=10_000)] = 500,
    backlog: Annotated[int, typer.Option(help=texts.BACKLOG, envvar="ORCHESTRATOR_DOOR_BACKLOG", min=1)] = 1000,
    metrics_port: Annotated[int, typer.Option(help="Serve /metrics there; 0: not at all.")] = 0,
    body: Annotated[int, typer.Option(help=texts.BODY, envvar="ORCHESTRATOR_DOOR_BODY", min=1024)] = 1 << 20,
) -> None:
    """Take executions by HTTP until SIGTERM or SIGINT, which drain: who waits is answered, what is in flight ends.

    Each is routed by USE_ORCHESTRATOR_V2 in the environment. The workflows are those of the files. A token is made by
    `openssl rand -hex 32 > tokens`.
    """
    known = _known(files)
    host, port = _address(listen)
    bounds = DoorSettings(longest_wait=_duration(wait), waits=waits, backlog=backlog, body=body)
    callers = Tokens(tokens)
    callers.check()
    settings = Settings.read()
    settings = replace(
        settings,
        database=database or settings.database,
        functions=functions if functions is not None else settings.functions,
    )
    if metrics_port:
        serve_metrics(metrics_port, host)
    asyncio.run(_serve(settings, known, bounds, callers, host, port, with_worker=worker))


@dataclass(frozen=True, slots=True)
class FromFiles:
    """Workflows by name."""

    by_name: Mapping[str, Workflow]

    async def find(self, name: str) -> Workflow:
        if name in self.by_name:
            return self.by_name[name]
        message = f"there is no workflow {name!r} here; there is {', '.join(sorted(self.by_name))}"
        raise InvalidInput([Problem("workflow", message)])


class FromEnvironment:
    """The flag as the environment has it, and no rollout."""

    def facts(self, now: datetime) -> RoutingFacts:
        return RoutingFacts(flag.parse(flag.FlagValues.of(os.environ), now))


async def _serve(
    settings: Settings,
    known: Mapping[str, Workflow],
    bounds: DoorSettings,
    callers: Tokens,
    host: str,
    port: int,
    *,
    with_worker: bool,
) -> None:
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        store, worker = await stack.enter_async_context(opened(settings))
        tracing = worker.tracing
        for workflow in known.values():
            await store.put_workflow(workflow)
        submissions = _submissions(store)
        stack.push_async_callback(submissions.aclose)
        intake = Intake(submissions, FromEnvironment(), clock, v1_available=settings.v1 != "off")
        door = Door(Inside(store, StoreAcceptor(store, intake), FromFiles(known), callers, clock), bounds, tracing)
        telemetry.begin_door()
        tune()
        stop = stop_on_signals()
        try:
            port = await door.serve(host, port)
            shown = f"[{host}]" if ":" in host else host
            typer.echo(f"{count(len(known), 'workflow')} at POST http://{shown}:{port}{PATH}", err=True)
            await _until(stop, worker if with_worker else None, door)
        finally:
            await door.aclose()


async def _until(stop: asyncio.Event, worker: Worker | None, door: Door) -> None:
    """Until it is stopped: then the door is shut, and after that the worker drains."""
    if worker is None:
        await stop.wait()
        return
    drain = asyncio.Event()
    working = asyncio.create_task(worker.run(drain), name="worker")
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await door.aclose()
    finally:
        stopping.cancel()
        drain.set()
        await working


def _submissions(store: Store) -> GroupCommit[Submission, Submitted]:
    clock = SystemClock()
    return GroupCommit(lambda batch: store.submit(batch, clock.now()))


def _known(files: Sequence[Path]) -> dict[str, Workflow]:
    """The workflows of files by name; raises InvalidInput."""
    known: dict[str, tuple[Path, Workflow]] = {}
    for path in files:
        namespace, name, spec = read_document(path)
        if name in known:
            message = f"is the name of two workflows, in {known[name][0]} and in {path}: callers could not tell them"
            raise InvalidInput([Problem(f"metadata.name {name}", message)])
        known[name] = path, compile_workflow(spec, namespace=namespace, name=name)
    return {name: workflow for name, (_, workflow) in known.items()}


def _address(listen: str) -> tuple[str, int]:
    try:
        return texts.address(listen)
    except ValueError as error:
        raise InvalidInput([Problem("--listen", str(error))]) from None


def _duration(text: str) -> timedelta:
    try:
        return durations.parse(text)
    except ValueError as error:
        raise InvalidInput([Problem("--wait", str(error))]) from None

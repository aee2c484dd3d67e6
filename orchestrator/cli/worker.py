"""`orchestrator worker`: a process that runs executions."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Final

import typer

from orchestrator.cli.options import Database, Functions, examples
from orchestrator.cli.pool import run_pool
from orchestrator.cli.processes import opened, signals_cancel, stop_on_signals
from orchestrator.cli.serving import serving
from orchestrator.cli.tuning import tune
from orchestrator.clock import SystemClock
from orchestrator.health import Health
from orchestrator.settings import Settings

app = typer.Typer(rich_markup_mode=None)

_STORE: Final = "store"


@app.command(
    epilog=examples(
        "orchestrator worker --database postgresql://localhost/orchestrator --functions shop.steps",
        "orchestrator worker --until-idle",
        "orchestrator worker --processes 4 --metrics-port 9090",
    )
)
def worker(
    database: Database = None,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="Exit when nothing is left to run, leases and timers included.")
    ] = False,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Executions of each engine at once.")
    ] = None,
    functions: Functions = None,
    processes: Annotated[
        int, typer.Option(min=1, max=256, help="So many worker processes; each has its own --concurrency.")
    ] = 1,
    metrics_port: Annotated[int, typer.Option(help="Serve /metrics, /healthz and /livez there; 0: not at all.")] = 0,
    metrics_address: Annotated[str, typer.Option(help="The address to serve /metrics on.")] = "0.0.0.0",  # noqa: S104 — a Pod's probes and scrapes come from outside
) -> None:
    """Run executions until SIGTERM, which drains: steps in flight end, everything else is let go.

    A database that cannot be reached is waited for; with --until-idle it is an error. With --processes there is one
    page of metrics, and /healthz says whether all of them run.
    """
    settings = Settings.read()
    if processes > 1:
        arguments = _arguments(database, until_idle=until_idle, concurrency=concurrency, functions=functions)
        run_pool(processes, arguments, metrics_port=metrics_port, metrics_address=metrics_address)
        return
    settings = replace(
        settings,
        database=database or settings.database,
        concurrency=concurrency or settings.concurrency,
        functions=functions if functions is not None else settings.functions,
    )
    asyncio.run(_work(settings, until_idle, metrics_port, metrics_address))


def _arguments(database: str | None, *, until_idle: bool, concurrency: int | None, functions: str | None) -> list[str]:
    """What a process of a pool is told; its metrics are served by the parent."""
    arguments = ["--until-idle"] if until_idle else []
    for name, value in (("database", database), ("concurrency", concurrency), ("functions", functions)):
        if value is not None:
            arguments += [f"--{name}", str(value)]
    return arguments


async def _work(settings: Settings, until_idle: bool, metrics_port: int, metrics_address: str) -> None:
    health = Health(SystemClock())
    async with AsyncExitStack() as stack:
        health.expect(_STORE, timedelta())  # not ready before it has one
        if metrics_port:
            await stack.enter_async_context(serving(health, metrics_port, metrics_address))
        with signals_cancel():  # process 1 of a container hears no signal that it has no handler for
            opening = opened(settings, health, patient=not until_idle)
            _store, worker_ = await stack.enter_async_context(opening)
            tune()
            stop = stop_on_signals()
            health.forget(_STORE)  # from here on its claims tell
            await worker_.run(stop, until_idle=until_idle)

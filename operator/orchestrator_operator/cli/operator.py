"""`orchestrator operator`: the process that watches Workflows, Executions and EngineRollouts."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import Annotated, Any

import structlog
import typer
from rich.console import Console
from rich.table import Table

from orchestrator.cli.logs import STANDARD_ERROR, masked
from orchestrator.cli.tuning import tune
from orchestrator_operator import settings as settings_

app = typer.Typer(
    help="Run the Kubernetes operator.", no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
)


def _help(name: str) -> str:
    info = settings_.fields()[name]
    words = f" [{'|'.join(choices)}]" if (choices := settings_.choices(info)) else ""
    return f"{info.description}{words} (${settings_.variable(name)}; default: {info.default or 'none'})"


def _option(name: str, *others: str) -> Any:
    return typer.Option(f"--{name.replace('_', '-')}", *others, help=_help(name), show_default=False)


@app.command()
def run(  # noqa: PLR0917 - one parameter a setting; on the command line each is named
    namespace: Annotated[str | None, _option("namespace", "-n")] = None,
    scope: Annotated[str | None, _option("scope")] = None,
    database: Annotated[str | None, _option("database", "-d")] = None,
    schema: Annotated[str | None, _option("schema")] = None,
    patience: Annotated[str | None, _option("patience")] = None,
    flag_secret: Annotated[str | None, _option("flag_secret")] = None,
    prometheus: Annotated[str | None, _option("prometheus")] = None,
    http_allow: Annotated[str | None, _option("http_allow")] = None,
    v1: Annotated[str | None, _option("v1")] = None,
    embedded_worker: Annotated[str | None, _option("embedded_worker")] = None,
    containers: Annotated[str | None, _option("containers")] = None,
    kubeconfig: Annotated[str | None, _option("kubeconfig")] = None,
    metrics_host: Annotated[str | None, _option("metrics_host")] = None,
    metrics_port: Annotated[int | None, _option("metrics_port")] = None,
    leader_election: Annotated[str | None, _option("leader_election")] = None,
    lease_name: Annotated[str | None, _option("lease_name")] = None,
    lease_duration: Annotated[int | None, _option("lease_duration")] = None,
    identity: Annotated[str | None, _option("identity")] = None,
    resync_interval: Annotated[str | None, _option("resync_interval")] = None,
    watch_silence: Annotated[str | None, _option("watch_silence")] = None,
    status_interval: Annotated[str | None, _option("status_interval")] = None,
    status_writes: Annotated[int | None, _option("status_writes")] = None,
    door_listen: Annotated[str | None, _option("door_listen")] = None,
    door_tokens: Annotated[str | None, _option("door_tokens")] = None,
    door_address: Annotated[str | None, _option("door_address")] = None,
    door_executions: Annotated[str | None, _option("door_executions")] = None,
    door_ttl: Annotated[str | None, _option("door_ttl")] = None,
    door_wait: Annotated[str | None, _option("door_wait")] = None,
    door_waits: Annotated[int | None, _option("door_waits")] = None,
    door_backlog: Annotated[int | None, _option("door_backlog")] = None,
    door_body: Annotated[int | None, _option("door_body")] = None,
    tracing: Annotated[str | None, _option("tracing")] = None,
    log_level: Annotated[str | None, _option("log_level")] = None,
    log_format: Annotated[str | None, _option("log_format")] = None,
) -> None:
    """Watch resources until SIGTERM or SIGINT, which drain: status writes in flight end, nothing new begins.

    Every option is also an environment variable; options win.

    Example: orchestrator operator run --namespace shop --database postgresql://localhost/orchestrator
    """
    given = {name: value for name, value in locals().items() if name in settings_.fields()}
    settings = settings_.read(**given)
    configure_logs(settings.log_level, settings.log_format)
    if settings.kubeconfig:  # kopf logs in by the variable alone
        os.environ["KUBECONFIG"] = settings.kubeconfig
    asyncio.run(_run(settings))


@app.command("settings")
def show() -> None:
    """Print every setting, its variable and its value in this environment.

    Example: ORCHESTRATOR_NAMESPACE=shop orchestrator operator settings
    """
    found = settings_.read()
    table = Table("setting", "value", "meaning", box=None)
    for name, info in settings_.fields().items():
        value = getattr(found, name, None) if name != "schema" else found.schema_
        shown = "***" if name == "database" and "@" in str(value) else str(value)
        table.add_row(settings_.variable(name), shown, info.description)
    Console().print(table)


async def _run(settings: settings_.Settings) -> None:
    from orchestrator_operator.app import run as run_operator  # noqa: PLC0415 - kopf takes a second to import: not for other commands

    tune()
    await run_operator(settings)


def configure_logs(level: str, form: str) -> None:
    """One line an event on standard error; libraries speak up from WARNING on."""
    least = logging.getLevelName(level.upper())
    logging.basicConfig(
        level=max(least, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        renderer,
    ]
    if form == "json":
        processors.insert(-1, structlog.processors.format_exc_info)
    processors.insert(-1, masked)  # the tokens of the HTTP door
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.PrintLoggerFactory(STANDARD_ERROR),
        cache_logger_on_first_use=True,
    )


if __name__ == "__main__":
    app()

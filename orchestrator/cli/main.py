"""`orchestrator`: the engine's own commands, and those that other packages add by an entry point."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points, version
from typing import Annotated

import typer

from orchestrator.cli import executions, logs, route, run, worker
from orchestrator.errors import InvalidInput, OrchestratorError

app = typer.Typer(
    name="orchestrator",
    help="Durable workflows: run them, watch them, move traffic to them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("worker")(worker.worker)
app.command("route")(route.route)
app.add_typer(executions.app, name="executions")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"orchestrator {version('orchestrator')}")
        raise typer.Exit


@app.callback()
def root(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens, to standard error.")] = False,
    _version_: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Durable workflows: run them, watch them, move traffic to them."""
    logs.configure(verbose=verbose)


def main() -> None:
    """The console script. Exit codes: 0 done, 1 it failed, 2 bad input, 130 interrupted."""
    for entry in sorted(entry_points(group="orchestrator.commands"), key=lambda entry: entry.name):
        app.add_typer(entry.load(), name=entry.name)
    try:
        app()
    except InvalidInput as error:
        for problem in error.problems:
            typer.echo(f"error: {problem}", err=True)
        sys.exit(2)
    except OrchestratorError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()

"""`orchestrator`: every command is loaded when it is asked for, so that none waits for another's imports."""

from __future__ import annotations

import sys
from importlib import import_module, metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from orchestrator.cli import logs
from orchestrator.cli.options import examples
from orchestrator.errors import InvalidInput, OrchestratorError

_OWN = {
    name: f"orchestrator.cli.{name}"
    for name in ("run", "worker", "serve", "executions", "report", "lint", "route", "db")
}
_COMPLETION = {"install_completion", "show_completion"}
_EXIT_BAD_INPUT, _EXIT_INTERRUPTED = 2, 130
_EXAMPLES = examples(
    "orchestrator run workflow.yaml --input '{\"amount\": 12.5}'",
    "orchestrator executions list --status failed",
)


class Commands(TyperGroup):
    """Our own commands, and those that other packages add by the entry point group `orchestrator.commands`."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 — the signature is click's
        return [*_OWN, *sorted(entry.name for entry in metadata.entry_points(group="orchestrator.commands"))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 — the signature is click's
        if cmd_name in _OWN:
            app = import_module(_OWN[cmd_name]).app
        else:
            added = {entry.name: entry for entry in metadata.entry_points(group="orchestrator.commands")}
            if cmd_name not in added:
                return None
            try:
                app = added[cmd_name].load()
            except ImportError as error:
                return _broken(cmd_name, added[cmd_name].value, error)
        command = typer.main.get_command(app)
        command.name = cmd_name
        # Typer gives them to every app; completion is installed once, for the program.
        command.params = [param for param in command.params if param.name not in _COMPLETION]
        return command


def _broken(name: str, value: str, error: ImportError) -> Any:
    """In place of a command that cannot be loaded: one package's fault must not take the others' commands away."""
    app = typer.Typer(rich_markup_mode=None)

    @app.command(help=f"(cannot be loaded: {error})", context_settings={"ignore_unknown_options": True})
    def broken(_arguments: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> None:
        raise OrchestratorError(f"`{name}` cannot be loaded from {value}: {error}; reinstall the package it comes from")

    command = typer.main.get_command(app)
    command.name = name
    return command


app = typer.Typer(
    name="orchestrator",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"orchestrator {metadata.version('orchestrator')}")
        raise typer.Exit


@app.callback(epilog=_EXAMPLES)
def root(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens, to standard error.")] = False,
    version: Annotated[  # noqa: ARG001 — its callback does the work
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Durable workflows: run them, watch them, move traffic to them."""
    logs.configure(verbose=verbose)


def main() -> None:
    """The console script. Exit codes: 0 done, 1 it failed, 2 bad input, 130 interrupted."""
    try:
        app()
    except InvalidInput as error:
        for problem in error.problems:
            typer.echo(f"error: {problem}", err=True)
        sys.exit(_EXIT_BAD_INPUT)
    except OrchestratorError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(_EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()

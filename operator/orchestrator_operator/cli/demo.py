"""`orchestrator demo`: the main job, done for real on this machine, watched and checked."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from orchestrator.cli.options import examples
from orchestrator_operator.demo import run

_RATE = 20.0
_INTERRUPTED = 130

app = typer.Typer(rich_markup_mode=None)


class Output(StrEnum):
    """Where the answer goes: a story for a person, or one JSON document on standard output."""

    TEXT = "text"
    JSON = "json"


_EXAMPLES = examples(
    "orchestrator demo",
    "orchestrator demo --keep",
    "orchestrator demo --keep --grafana",
    "orchestrator demo --output json | jq .claims",
    "orchestrator demo down",
)


@app.callback(invoke_without_command=True, epilog=_EXAMPLES)
def demo(
    context: typer.Context,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything up at the end, and print where it is.")
    ] = False,
    grafana: Annotated[
        bool, typer.Option("--grafana", help="With Grafana and its dashboards: the official image, by Docker.")
    ] = False,
    rate: Annotated[
        float,
        typer.Option(
            min=5, max=200, help="Executions created a second; two cores with nothing else to do carry some thirty."
        ),
    ] = _RATE,
    output: Annotated[Output, typer.Option("--output", "-o", help="The form of the answer.")] = Output.TEXT,
) -> None:
    """Set up a control plane, roll V2 out to 100 %, then roll a failing V2 back, and check what was seen.

    About four minutes, after the binaries are there. Ends every process it started, also on Ctrl-C.

    Exit codes: 0 all was seen to happen, 1 something was not, 130 interrupted.
    """
    if context.invoked_subcommand is not None:
        return
    console = Console(stderr=output is Output.JSON)
    result = run.perform(rate=rate, keep=keep, console=console, grafana=grafana)
    if result is None:
        console.print("interrupted: everything has been ended")
        raise typer.Exit(_INTERRUPTED)
    run.tell(result, console)
    if output is Output.JSON:
        typer.echo(json.dumps(result.to_json(), indent=2, ensure_ascii=False))
    raise typer.Exit(0 if result.ok else 1)


@app.command(epilog=examples("orchestrator demo down"))
def down(
    output: Annotated[Output, typer.Option("--output", "-o", help="The form of the answer.")] = Output.TEXT,
) -> None:
    """End what `orchestrator demo --keep` left up. Nothing to end is fine too."""
    ended = run.end()
    if output is Output.JSON:
        typer.echo(json.dumps({"ended": ended}))
    else:
        typer.echo("the demo has been ended" if ended else "no demo was up")


if __name__ == "__main__":
    app()

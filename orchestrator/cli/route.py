"""`orchestrator route`: which engine a key falls on at a percent, by the bucketing of the contract."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator import flag
from orchestrator.cli.options import examples
from orchestrator.errors import InvalidFlag, Problem
from orchestrator.router import falls_on_v2

app = typer.Typer(rich_markup_mode=None)


@app.command(epilog=examples("orchestrator route customer-17 customer-18 --percent 12.5"))
def route(
    keys: Annotated[list[str], typer.Argument(help="Execution uids or routing keys.")],
    percent: Annotated[str, typer.Option("--percent", help="V2's share, 0 to 100, two decimal places at most.")],
) -> None:
    """Print `KEY v1|v2` for each key, as a router would decide at that percent."""
    try:
        share = flag.parse_percent(percent)
    except InvalidFlag as error:
        raise InvalidFlag([Problem("--percent", problem.message) for problem in error.problems]) from None
    for key in keys:
        typer.echo(f"{key} {'v2' if falls_on_v2(key, share) else 'v1'}")

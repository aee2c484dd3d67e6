"""`orchestrator rollout verify`, and the options that it shares with `rollout history`."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import Output, OutputOption, print_json
from orchestrator.errors import InvalidInput, Problem
from orchestrator_operator.cli.connecting import Context, Namespace

Database = Annotated[
    str | None,
    typer.Option(
        "--database", "-d", help="The operator's store (default: $ORCHESTRATOR_DATABASE).", show_default=False
    ),
]


class History(StrEnum):
    """How the decisions are printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"  # the whole log out of the store, as `rollout verify --file` reads it


def verify(
    name: Annotated[str, typer.Argument(help="The EngineRollout's name.")],
    namespace: Namespace = "",
    context: Context = None,
    attempt: Annotated[int | None, typer.Option(help="Derive again what this attempt decided, no other.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="Check a file of `rollout history --output jsonl`, without a cluster.")
    ] = None,
    uid: Annotated[str | None, typer.Option(help="Of a resource that is gone: only the store is asked.")] = None,
    database: Database = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check a rollout's log of decisions: no row was changed, removed or inserted, and every verdict and action follows
    from the inputs that the log records. Prints the first difference; exit code 1 if there is one.

    Example: orchestrator rollout verify v2 --namespace shop
    """
    # Imported here: the judge's libraries take a second to import, which `--help` should not pay.
    from orchestrator_operator.cli import rollout_log as log  # noqa: PLC0415 - see above
    from orchestrator_operator.rollout.log.verify import verify as check  # noqa: PLC0415 - see above

    if file is not None:
        rows, published = log.from_file(file, name)
    else:
        rows, published = asyncio.run(log.from_store(name, namespace, context, uid, database))
    wanted = None if attempt is None or not rows else f"{rows[0].rollout[:8]}-{attempt}"
    if wanted is not None and all(row.attempt != wanted for row in rows):
        raise InvalidInput([Problem("--attempt", f"the log of {name} has no row of attempt {attempt}")])
    found = check(rows, published, wanted)
    if output is Output.JSON:
        print_json(log.as_json(name, found, published))
    else:
        typer.echo("\n".join(log.as_text(name, found, published)))
    if found.difference:
        raise typer.Exit(1)

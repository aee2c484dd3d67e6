"""`orchestrator db`: the database itself, its schema and what a restore asks for."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from orchestrator.cli.executions.common import ask, must_exist
from orchestrator.cli.options import Database, Output, OutputOption, examples, print_json
from orchestrator.restoring import Held, hold
from orchestrator.settings import Settings
from orchestrator.store import Store
from orchestrator.store.about import about

app = typer.Typer(help="Look after the database.", no_args_is_help=True, rich_markup_mode=None)

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before.")]


@app.command(epilog=examples("orchestrator db status", "orchestrator db status --output json"))
def status(*, database: Database = None, output: OutputOption = Output.TABLE) -> None:
    """Tell the database's schema and this version's; nothing is migrated. Exit code 1 if they do not go together."""
    settings = Settings.read()
    where = database or settings.database
    must_exist(where)
    found = about(where, settings.schema)
    newer = found.revision is not None and found.revision > found.known
    works = found.revision is not None and (not newer or (found.readable_from or found.revision) <= found.known)
    if output is Output.JSON:
        answer = {"schema": found.revision, "readableFrom": found.readable_from, "known": found.known}
        print_json({**answer, "works": works, "epoch": found.epoch})
    else:
        typer.echo(f"schema {found.revision or 'none: these are no tables of ours'}, this version knows {found.known}")
        if found.readable_from:
            typer.echo(f"versions from schema {found.readable_from} on work with it")
        if found.epoch:
            typer.echo(f"Execution resources from before {found.epoch} that it does not know wait for a person")
        if not works:
            typer.echo("this version does not work with it: upgrade it" if newer else "a worker makes the tables")
    if not works:
        raise typer.Exit(1)


@app.command(epilog=examples("orchestrator db restored --yes"))
def restored(*, database: Database = None, yes: Yes = False, output: OutputOption = Output.TABLE) -> None:
    """After a restore from a backup, before any worker or operator is started: let nothing run again by itself.

    Everything that is not over waits for a person (`orchestrator executions resume`), and so does every Execution
    resource that is older than this moment and that the database does not know. The same again does no harm.
    """
    if not yes and sys.stdin.isatty():
        typer.confirm("hold everything that is not over, until a person resumes it?", abort=True, err=True)
    # Kubernetes tells whole seconds: what was created in this one counts as older.
    now = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)

    async def asked(store: Store) -> Held:
        return await hold(store, now)

    held = ask(database, asked)
    if output is Output.JSON:
        answer: dict[str, Any] = {"epoch": now.isoformat(), "suspended": held.suspended, "putAway": held.put_away}
        print_json({**answer, "lost": held.lost})
        return
    typer.echo(f"held: {held.suspended + held.put_away} executions wait for `orchestrator executions resume`")
    if held.lost:
        typer.echo(f"{held.lost} of V1 were running: V1 keeps no checkpoints, they stay so and never go on")
    typer.echo(f"the store's epoch is {now.isoformat(timespec='seconds')}: older resources wait, too")

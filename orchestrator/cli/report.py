"""`orchestrator report`: the monitoring questions, answered as tables, as JSON, or as the SQL that asks them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer

from orchestrator.cli.options import Database, Output, OutputOption, duration, examples, print_json
from orchestrator.cli.report_showing import described, print_answers
from orchestrator.dialect import Dialect
from orchestrator.errors import InvalidInput, Problem
from orchestrator.reports import REPORTS, Answer, Report, ask, render
from orchestrator.settings import Settings
from orchestrator.store.open import check_schema, database_url
from orchestrator.store.readonly import open_reader

app = typer.Typer(rich_markup_mode=None)

_SHORTEST = timedelta(seconds=1)
_CLEAR = "\x1b[2J\x1b[H"  # the terminal's screen, and its cursor at the top


class Which(StrEnum):
    """What is asked."""

    ACTIVE = "active"
    SUCCESS = "success"
    CHECKPOINTS = "checkpoints"
    RETRIES = "retries"
    SLOW = "slow"
    STUCK = "stuck"
    ERRORS = "errors"
    ALL = "all"


@app.command(
    epilog=examples(
        "orchestrator report",
        "orchestrator report errors --since 30m --limit 50",
        "orchestrator report success --since 1d --output json",
        "orchestrator report all --watch 5s",
        "orchestrator report stuck --sql --dialect postgresql | psql orchestrator",
    )
)
def report(
    which: Annotated[Which, typer.Argument(help="Which question; each is explained below.")] = Which.ALL,
    *,
    since: Annotated[
        str | None,
        typer.Option(help="How far to look back: 30m, 2h, 7d (default: 1h, errors 10m); `stuck` asks for now."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The longest list of slow, stuck or errors.")] = 10,
    database: Database = None,
    output: OutputOption = Output.TABLE,
    watch: Annotated[str | None, typer.Option(help="Ask again every so often, such as 5s, until Ctrl-C.")] = None,
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL in place of its answer; no database is asked.")] = (
        False
    ),
    dialect: Annotated[
        Dialect | None,
        typer.Option(help="With --sql: for psql or for sqlite3 (default: as the database is).", show_default=False),
    ] = None,
) -> None:
    """How executions do: shares, times, failures, and what hangs. Reads only, with any login that may SELECT.

    \b
    active       which engine is in use: executions routed, and in flight
    success      executions by status, with their shares, on V1 and on V2
    checkpoints  what checkpoints took, by type of node
    retries      steps by how often they were retried, and how many succeeded
    slow         the checkpoints that took more than 100 ms
    stuck        executions that have been running for more than 10 minutes
    errors       ERROR lines of executions

    A rollout's own story, with evidence and decisions, is another command: `orchestrator rollout report`.

    Exit codes: 0 answered, also when there is nothing to show; 1 the database cannot be read; 2 bad input.
    """  # noqa: D301 - click's mark for lines that are kept as they are
    asked = tuple(REPORTS.values()) if which is Which.ALL else (REPORTS[which.value],)
    window, every = _duration("--since", since), _duration("--watch", watch)
    settings = Settings.read()
    settings = replace(settings, database=database or settings.database)
    if sql:
        _print_sql(asked, dialect or _dialect_of(settings.database), window, limit, settings.schema)
        return
    if dialect is not None:
        raise InvalidInput([Problem("--dialect", "says which SQL --sql prints: give that, too")])
    if every is None:
        _print(asyncio.run(_answers(settings, asked, window, limit)), output)
        return
    try:
        _watch(settings, asked, window, limit, output, every.total_seconds())
    except KeyboardInterrupt:
        return  # that is how a watch ends


async def _answers(
    settings: Settings, asked: Sequence[Report], since: timedelta | None, limit: int
) -> tuple[datetime, list[Answer]]:
    now = datetime.now(UTC)
    async with open_reader(settings.database, schema=settings.schema, patience=settings.patience) as reader:
        return now, [await ask(reader, one, now, since=since, limit=limit) for one in asked]


def _watch(
    settings: Settings, asked: Sequence[Report], since: timedelta | None, limit: int, output: Output, every: float
) -> None:
    while True:
        found = asyncio.run(_answers(settings, asked, since, limit))
        if output is Output.TABLE and os.isatty(1):
            typer.echo(_CLEAR, nl=False)
        _print(found, output)
        time.sleep(every)


def _print(found: tuple[datetime, list[Answer]], output: Output) -> None:
    now, answers = found
    if output is Output.JSON:
        print_json(described(now, answers))
    else:
        print_answers(now, answers)


def _print_sql(asked: Sequence[Report], dialect: Dialect, since: timedelta | None, limit: int, schema: str) -> None:
    check_schema(schema)
    texts = [
        f"-- {one.titled(one.since(since))}\n{render(one, dialect, since=since, limit=limit, schema=schema)};"
        for one in asked
    ]
    typer.echo("\n\n".join(texts))


def _dialect_of(database: str) -> Dialect:
    return Dialect(database_url(database).get_backend_name())


def _duration(option: str, text: str | None) -> timedelta | None:
    if text is None:
        return None
    found = duration(text, option)
    if found < _SHORTEST:
        raise InvalidInput([Problem(option, f"{text} is shorter than a second")])
    return found

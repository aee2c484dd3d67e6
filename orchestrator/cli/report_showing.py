"""The answers of `orchestrator report` for people, and as JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator import durations, wording
from orchestrator.reports import Answer, Column, Kind

_WIDE = 200  # columns of a line that no terminal bounds
_WHOLE = frozenset({"id", "execution_id"})  # what is cut in two cannot be copied


def described(now: datetime, answers: Sequence[Answer]) -> dict[str, Any]:
    """Every answer by its report's name, with the columns as SQL names them."""
    return {
        "asked_at": now.isoformat(),
        "reports": {
            answer.report.name: {
                "title": answer.report.titled(answer.since),
                "since": None if answer.since is None else durations.show(answer.since),
                "rows": [_row(answer, row) for row in answer.rows],
                "more": answer.more,
            }
            for answer in answers
        },
    }


def _row(answer: Answer, row: Sequence[Any]) -> dict[str, Any]:
    values = (value.isoformat() if isinstance(value, datetime) else value for value in row)
    return {column.name: value for column, value in zip(answer.report.columns, values, strict=True)}


def print_answers(now: datetime, answers: Sequence[Answer]) -> None:
    """Tables, one below the other; an answer without rows says so in a sentence."""
    bounded = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(width=None if bounded else _WIDE, highlight=False)
    for number, answer in enumerate(answers):
        if number:
            typer.echo()
        console.print(Text(answer.report.titled(answer.since), style="bold"))
        if answer.rows:
            console.print(_table(answer))
        else:
            console.print(Text(answer.report.nothing(answer.since)))
        if answer.more:
            console.print(Text(f"These are the first {len(answer.rows)}; --limit shows more."))
    typer.echo()
    console.print(Text(f"asked at {wording.moment(now)}", style="dim"))


def _table(answer: Answer) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in answer.report.columns:
        right = column.kind in (Kind.COUNT, Kind.NUMBER)
        table.add_column(
            Text(column.heading),
            justify="right" if right else "left",
            no_wrap=right or column.kind is Kind.MOMENT or column.name in _WHOLE,
            overflow="fold",
        )
    for row in answer.rows:
        cells = (_cell(column, value) for column, value in zip(answer.report.columns, row, strict=True))
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _cell(column: Column, value: Any) -> str:
    if value is None:
        return "-"
    match column.kind:
        case Kind.MOMENT:
            return wording.moment(value)
        case Kind.NUMBER:
            return f"{value:,.1f}" if column.name == "minutes" else f"{value:,.2f}"
        case Kind.COUNT:
            return f"{value:,}"
        case Kind.TEXT:
            return str(value)

"""The answers of `orchestrator report` for people, and as JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator import durations, wording
from orchestrator.reports import Answer, Column, Kind

_WIDE = 200  # columns of a line that no terminal bounds
_GAP = 2  # columns between two columns
_NARROWEST = 24  # of a long text that goes on in the next line
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
        for shown in _shown(answer, console.width):
            console.print(shown)
        if answer.more:
            console.print(Text(f"These are the first {len(answer.rows)}; --limit shows more."))
    typer.echo()
    console.print(Text(f"asked at {wording.moment(now)}", style="dim"))


def _shown(answer: Answer, width: int) -> Iterator[Table | Text]:
    """A table where it fits, else a few lines for each row: a column that is squeezed says nothing."""
    rows = [
        [_cell(column, value) for column, value in zip(answer.report.columns, row, strict=True)] for row in answer.rows
    ]
    if not rows:
        yield Text(answer.report.nothing(answer.since))
    elif sum(_widths(answer, rows)) + _GAP * (len(answer.report.columns) - 1) <= width:
        yield _table(answer, rows)
    else:
        for row in rows:
            yield from _lines(answer, row, width)


def _widths(answer: Answer, rows: Sequence[Sequence[str]]) -> Iterator[int]:
    """What each column needs: its longest cell, but for long texts, which may go on in the next line."""
    for number, column in enumerate(answer.report.columns):
        longest = max(len(column.heading), *(len(row[number]) for row in rows))
        yield longest if _is_whole(column) else min(longest, _NARROWEST)


def _is_whole(column: Column) -> bool:
    return column.kind is not Kind.TEXT or column.name in _WHOLE


def _table(answer: Answer, rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, _GAP, 0, 0))
    for column in answer.report.columns:
        right = column.kind in (Kind.COUNT, Kind.NUMBER)
        justify: Literal["left", "right"] = "right" if right else "left"
        table.add_column(Text(column.heading), justify=justify, no_wrap=_is_whole(column), overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _lines(answer: Answer, row: Sequence[str], width: int) -> Iterator[Text]:
    """The first column by itself, the others below it, each behind its heading."""
    yield Text(row[0])
    pairs = [f"{column.heading} {cell}" for column, cell in zip(answer.report.columns[1:], row[1:], strict=True)]
    line = ""
    for pair in pairs:
        if line and len(line) + _GAP + len(pair) > width:
            yield Text(line)
            line = ""
        line = f"{line}  {pair}"
    yield Text(line, overflow="fold")


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

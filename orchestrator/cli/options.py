"""Options that several commands share, and the forms of their output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator import durations
from orchestrator.errors import InvalidExecution, InvalidInput, Problem

DATABASE_FORMS = "A path, sqlite:///… or postgresql://… (default: $ORCHESTRATOR_DATABASE, else ./orchestrator.db)."


def examples(*lines: str) -> str:
    """A help's epilog that keeps its lines, so that they can be copied."""
    return "\b\n" + "\n".join(["Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)])


Database = Annotated[str | None, typer.Option("--database", "-d", help=DATABASE_FORMS, show_default=False)]
Functions = Annotated[
    str | None,
    typer.Option(
        help="Modules that register python functions, separated by commas; the working directory counts as installed.",
        show_default=False,
    ),
]


class Output(StrEnum):
    """How an answer is printed."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="The form of the answer.")]


def duration(text: str, option: str) -> timedelta:
    """A duration that an option gives. Raises InvalidInput, with the option's name."""
    try:
        return durations.parse(text)
    except ValueError as error:
        raise InvalidInput([Problem(option, str(error))]) from None


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, width: int) -> None:
    """A table as wide as the terminal; `width` characters where the answer goes into a file or a pipe."""
    # Imported here: it takes a while to import, which `--help` and JSON should not pay.
    from rich.console import Console  # noqa: PLC0415 - see above
    from rich.table import Table  # noqa: PLC0415 - see above

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(str(value) for value in row))
    Console(width=None if sys.stdout.isatty() else width).print(table)


def print_json(value: Any) -> None:
    """One JSON document, readable and stable."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def read_json(text: str, option: str) -> Any:
    """The value of an option that is JSON, or @FILE; raises InvalidExecution."""
    source = option
    if text.startswith("@"):
        source = text[1:]
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise InvalidExecution([Problem(option, f"cannot read {source}: {why}")]) from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidExecution([Problem(option, f"{source} is not JSON: {error}")]) from None

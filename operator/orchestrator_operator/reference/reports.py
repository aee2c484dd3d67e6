"""Every report of `orchestrator report`: its columns, and its SQL for each database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator import durations
from orchestrator.dialect import Dialect
from orchestrator.reports import REPORTS
from orchestrator.reports import render as sql
from orchestrator_operator.reference.markdown import block, code, page, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.reports import Report

_INTRODUCTION: Final = """\
What `orchestrator report` asks, and what it prints with `--sql`. [Reports](../reports.md) tells what to make of the
answers. In a schema other than `public` the tables' names need it in front: `--sql` writes it there. Moments are in
UTC."""


def render() -> str:
    """The page."""
    return page("Reports and their SQL", _INTRODUCTION, *(part for one in REPORTS.values() for part in _parts(one)))


def _parts(report: Report) -> Iterator[str]:
    yield f"## {code(report.name)}"
    back = (
        "It asks how things are now."
        if report.window is None
        else f"Looks back {durations.show(report.window)} by itself."
    )
    yield f"{report.titled(report.window)}. {back}"
    yield table(("column", "meaning"), ((code(one.name), one.meaning) for one in report.columns))
    for dialect in Dialect:
        yield block(f"sql {dialect.value}", f"{sql(report, dialect)};")

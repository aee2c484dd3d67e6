"""What a report is, and what an answer to it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from orchestrator import durations

if TYPE_CHECKING:
    from datetime import timedelta

LONGEST_RUN_MINUTES = 10  # from then on an execution that runs counts as stuck, as orchestrator_executions_long_running
SLOW_MS = 100  # a checkpoint's commit that took longer is slow, as the bucket's edge at 0.1 s


class Kind(StrEnum):
    """How a column's values are read from a database, and shown."""

    TEXT = "text"
    COUNT = "count"
    NUMBER = "number"  # a float, rounded by the query
    MOMENT = "moment"  # an aware datetime in UTC


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an answer: its name in SQL and JSON, the heading for people, and one sentence."""

    name: str
    heading: str
    kind: Kind
    meaning: str


@dataclass(frozen=True, slots=True)
class Report:
    """A question. `title` and `empty` may hold `{window}`; `sql` is a template, see sql.py."""

    name: str
    title: str
    empty: str  # the sentence for an answer without rows
    window: timedelta | None  # how far it looks back by default; None: it asks how things are now
    listed: bool  # a list of single things, of which a limit shows the first; otherwise a summary
    columns: tuple[Column, ...]
    sql: str

    def since(self, wanted: timedelta | None) -> timedelta | None:
        """How far back it looks if that far was asked for."""
        return self.window and (wanted or self.window)

    def titled(self, since: timedelta | None) -> str:
        return _said(self.title, since)

    def nothing(self, since: timedelta | None) -> str:
        return _said(self.empty, since)


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a report, each as its columns have it; `more`: the limit left some out."""

    report: Report
    since: timedelta | None
    rows: tuple[tuple[Any, ...], ...]
    more: bool = False


def _said(sentence: str, since: timedelta | None) -> str:
    return sentence if since is None else sentence.replace("{window}", durations.show(since))

"""How the store stands: its schema, the reports, what hangs and what failed, and what happened there. No payloads."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from orchestrator import events
from orchestrator.reports import REPORTS, ask
from orchestrator.store.migrate import known_head
from orchestrator.store.open import database_url, without_secrets
from orchestrator.store.readonly import open_reader
from orchestrator.support import questions
from orchestrator.support.bundle import Section
from orchestrator.support.lines import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from orchestrator.reports import Answer
    from orchestrator.settings import Settings
    from orchestrator.store.readonly import Reader
    from orchestrator.support.bundle import Bundle
    from orchestrator.support.questions import Question

_REPORT_ROWS: Final = 100
_HISTORIES: Final = 20  # of executions that hang or failed, each with its own events


def store_section(settings: Settings, since: timedelta) -> Section:
    """What the database of these settings tells; raises StoreError when it does not answer."""

    async def collect(bundle: Bundle) -> None:
        async with open_reader(settings.database, schema=settings.schema, patience=settings.patience) as reader:
            asking = _Asking(bundle, reader, bundle.made_at - since)
            await asking.everything(since, without_secrets(database_url(settings.database)))

    return Section("store", "reading the store", collect)


class _Asking:
    def __init__(self, bundle: Bundle, reader: Reader, since: datetime) -> None:
        self._bundle, self._reader, self._since = bundle, reader, since

    async def everything(self, since: timedelta, url: str) -> None:
        await self._database(url)
        await self._reports(since)
        await self._executions()
        self._bundle.add_lines("store/events.jsonl", await self._rows(questions.EVENTS))
        lines = await self._rows(questions.LOG_LINES)
        self._bundle.add("store/edge_logs.txt", "".join(f"{self._line(row)}\n" for row in reversed(lines)))
        self._bundle.add_lines("store/decisions.jsonl", await self._rows(questions.DECISIONS))
        self._bundle.add(
            "store/rollouts.json",
            {
                "decision_log_heads": await self._rows(questions.HEADS),
                "cohorts": await self._rows(questions.COHORTS),
                "restarts": await self._rows(questions.RESTARTS),
            },
        )

    async def _database(self, url: str) -> None:
        """First of all: whether it answers, and whose it is."""
        (version,) = await self._rows(questions.SCHEMA)
        known = known_head()
        found = {
            "url": url,
            "schema": self._reader.schema,
            "schema_version": version["schema_version"],
            "this_program_knows": known,
            "event_schema_of_this_program": events.SCHEMA_VERSION,
        }
        for name, question in questions.ABOUT[self._reader.dialect].items():
            found[name] = await self._rows(question)
        found["facts"] = await self._rows(questions.FACTS)
        found["event_schemas"] = await self._rows(questions.EVENT_SCHEMAS)
        self._bundle.add("store/database.json", found)
        if version["schema_version"] != known:
            self._bundle.note(f"the database's schema is {version['schema_version']}, this program's {known}")

    async def _reports(self, since: timedelta) -> None:
        answers = [
            await ask(self._reader, report, self._bundle.made_at, since=since, limit=_REPORT_ROWS)
            for report in REPORTS.values()
        ]
        self._bundle.add("store/reports.json", {answer.report.name: self._described(answer) for answer in answers})

    def _described(self, answer: Answer) -> list[dict[str, Any]]:
        names = [column.name for column in answer.report.columns]
        rows = [dict(zip(names, row, strict=True)) for row in answer.rows]
        return [row | ({"event_message": self._line(row)} if "event_message" in row else {}) for row in rows]

    async def _executions(self) -> None:
        """Counts of all, rows of those that are open or failed lately, and the histories of the first of them."""
        asked = [questions.OPEN, questions.FAILED]
        if self._bundle.with_messages:
            asked = [question.also("message", "error ->> 'message'") for question in asked]
        is_open, failed = [await self._rows(question) for question in asked]
        self._bundle.add(
            "store/executions.json",
            {"counts": await self._rows(questions.COUNTS), "open": is_open, "failed": failed},
        )
        wanted = [*is_open[: _HISTORIES // 2], *failed[: _HISTORIES // 2]]
        histories = [await self._rows(questions.HISTORY, id=row["id"]) for row in wanted]
        self._bundle.add_lines("store/histories.jsonl", [event for history in histories for event in history])

    def _line(self, row: dict[str, Any]) -> str:
        message = str(row["event_message"])
        said = message if self._bundle.with_messages else shortened(message)
        return f"{row['timestamp']} {said}" if "id" in row else said

    async def _rows(self, question: Question, **values: Any) -> list[dict[str, Any]]:
        sql = question.sql(self._reader.dialect, self._reader.schema)
        given = {"since": self._reader.moment(self._since), "schema": self._reader.schema} | values
        rows = await self._reader.rows(sql, {name: value for name, value in given.items() if f":{name}" in sql})
        return [_named(question, row) for row in rows]


def _named(question: Question, row: Sequence[Any]) -> dict[str, Any]:
    """A row by its columns, without those that say nothing."""
    named = dict(zip(question.columns, row, strict=True))
    return {
        name: float(value) if isinstance(value, Decimal) else value
        for name, value in named.items()
        if value is not None
    }

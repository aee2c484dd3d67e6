"""Every ```sql block of the docs runs, on both databases, and finds something in a store in which something happened.

A word behind `sql` says more: `postgresql` or `sqlite` for a block that only one of them understands, `may-be-empty`
for one that depends on more than what happened. What only other products' databases understand is listed below.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import pytest_asyncio

from tests.support import monitored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.postgres import LocalPostgres

    Run = Callable[[str], list[Any] | None]

ROOT = Path(__file__).resolve().parents[2]
DATABASES = ("postgresql", "sqlite")
ELSEWHERE = {"clickhouse": "the hosted log explorer's own language"}
FENCE = re.compile(r"^```sql\b([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ASKS = re.compile(r"\s*(--[^\n]*\n\s*)*(SELECT|WITH|VALUES)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Block:
    """SQL as it stands in a document."""

    place: str
    words: frozenset[str]
    sql: str

    @property
    def databases(self) -> tuple[str, ...]:
        named = tuple(name for name in DATABASES if name in self.words)
        return () if self.words & ELSEWHERE.keys() else named or DATABASES


def blocks_of(document: Path) -> Iterator[Block]:
    text = document.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(f"{document.relative_to(ROOT)}:{line}", frozenset(found[1].split()), found[2])


DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")])
BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]


def statements(sql: str) -> Iterator[str]:
    """One after the other; a semicolon within a text or a comment ends none."""
    pending = ""
    for piece in re.split(r"(?<=;)", sql):
        pending += piece
        if sqlite3.complete_statement(pending):
            yield pending.strip()
            pending = ""
    if re.sub(r"--[^\n]*", "", pending).strip():
        yield pending.strip()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def urls(postgres: LocalPostgres, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The story on both databases."""
    file = tmp_path_factory.mktemp("store") / "store.db"
    found = {"sqlite": f"sqlite:///{file}", "postgresql": postgres.create_database()}
    for url in found.values():
        await monitored.fill(url)
        await monitored.end_one_on_v1(url)
    return found


@contextmanager
def undone(kind: str, url: str) -> Iterator[Run]:
    """Runs statements, and takes back what they did."""
    if kind == "sqlite":
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as file:
            file.execute("BEGIN")
            yield lambda sql: _rows(file.execute(sql))
            file.execute("ROLLBACK")
    else:
        with psycopg.connect(url.replace("+psycopg", "")) as server:
            yield lambda sql: _rows(server.execute(sql.encode()))
            server.rollback()


def _rows(cursor: Any) -> list[Any] | None:
    return cursor.fetchall() if cursor.description else None


@pytest.mark.parametrize(
    ("block", "kind"),
    [pytest.param(block, kind, id=f"{block.place}-{kind}") for block in BLOCKS for kind in block.databases],
)
def test_sql_in_the_docs_runs_and_finds_something(urls: dict[str, str], block: Block, kind: str) -> None:
    with undone(kind, urls[kind]) as run:
        answers = {sql: run(sql) for sql in statements(block.sql)}
    asked = {sql: rows for sql, rows in answers.items() if ASKS.match(sql)}
    assert [sql for sql, rows in asked.items() if not rows and "may-be-empty" not in block.words] == []


def test_every_word_behind_a_fence_is_known() -> None:
    known = {*DATABASES, *ELSEWHERE, "may-be-empty"}
    assert [(block.place, block.words - known) for block in BLOCKS if block.words - known] == []


def test_sql_is_taken_apart_where_its_statements_end() -> None:
    sql = "-- one; two\nSELECT ';';\nUPDATE a SET b = 'c;d';\n\nSELECT 2\n-- the end"
    assert list(statements(sql)) == [
        "-- one; two\nSELECT ';';", "UPDATE a SET b = 'c;d';", "SELECT 2\n-- the end"
    ]  # fmt: skip


def test_a_statement_that_asks_is_told_from_one_that_does() -> None:
    assert ASKS.match("-- why\n\nWITH a AS (SELECT 1) SELECT * FROM a")
    assert not ASKS.match("GRANT SELECT ON ALL TABLES IN SCHEMA public TO watcher")

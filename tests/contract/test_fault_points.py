"""A commit without a fault point cannot come into the stores unnoticed.

Two nets: this one reads the code for whatever can begin or end a transaction. The other one counts what really was
committed: `conftest.py` after every test of the suite, `test_boundaries.py` for each kind of commit.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.faults import Moment

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2] / "orchestrator"
FOLDERS = (ROOT / "store", ROOT / "testing")

#: Where transactions are made, in the code of the stores; each has to announce what it commits, by a boundary that
#: its caller names. A new place fails a test until it stands here and announces, too.
PLACES = {
    "store/open.py:_migrate_postgres": "begin",
    "store/open.py:_migrate_sqlite": "begin",
    "store/postgres/lines.py:Lines._connect": "autocommit",
    "store/postgres/store.py:PostgresStore._writing": "begin",
    "store/sqlite/thread.py:Thread._commit": "BEGIN IMMEDIATE",
    "store/sqlite/thread.py:Thread.commit_by_sqlalchemy.done": "begin",
    "store/sqlite/thread.py:sqlalchemy_begin": "BEGIN IMMEDIATE",
}
_CALLS = {"begin", "commit", "begin_nested", "transaction"}
_WORDS = ("BEGIN", "COMMIT", "AUTOCOMMIT")


def places(source: str, path: str) -> Iterator[tuple[str, str]]:
    """Each function that begins or commits a transaction, or opens a connection that does so by itself; and how."""

    def walk(node: ast.AST, inside: str) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from walk(child, f"{inside}.{child.name}".lstrip("."))
                continue
            if how := _transaction(child):
                yield f"{path}:{inside}", how
            yield from walk(child, inside)

    yield from walk(ast.parse(source), "")


def _transaction(node: ast.AST) -> str | None:
    match node:
        case ast.Call(func=ast.Attribute(attr=name), args=[]) if name in _CALLS:
            return name
        case ast.keyword(arg="autocommit" | "isolation_level" as name, value=value):
            return name if getattr(value, "value", None) is not None else None
        case ast.Constant(value=str(text)) if text.isupper() and text.startswith(_WORDS) and "\n" not in text:
            return text if text != "BEGIN" else None  # a reader's
        case _:
            return None


def found() -> dict[str, str]:
    return {
        place: how
        for folder in FOLDERS
        for path in sorted(folder.rglob("*.py"))
        if "migrations" not in path.parts  # they run inside _migrate_…
        for place, how in places(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))
    }


def test_transactions_are_made_in_known_places_alone() -> None:
    assert found() == PLACES


@pytest.mark.parametrize(
    "code",
    [
        "async def sneaky(self):\n  async with self._engine.begin() as c: ...",
        "def sneaky(c):\n  c.commit()",
        "def sneaky(c):\n  with c.begin_nested(): ...",
        "def sneaky(c):\n  c.execute('BEGIN IMMEDIATE')",
        "def sneaky(e):\n  e.connect().execution_options(isolation_level='AUTOCOMMIT')",
        "def sneaky():\n  return connect(autocommit=True)",
    ],
)
def test_a_new_place_would_be_found(code: str) -> None:
    assert {place for place, _ in places(code, "new.py")} == {"new.py:sneaky"}


@pytest.mark.parametrize("place", [place for place in PLACES if not place.endswith(("_connect", "sqlalchemy_begin"))])
def test_each_place_announces_the_moments_of_its_commit(place: str) -> None:
    """By the boundary that it is given; what opens a connection is used by functions that announce."""
    path, _, name = place.partition(":")
    functions = {
        node.name: ast.unparse(node)
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    code = functions[name.rpartition(".")[2]]
    code += functions.get("_migrated", "") * ("_migrated()" in code)
    assert [moment for moment in Moment if f"Moment.{moment.name})" not in code] == []


def test_whoever_uses_an_autocommitting_connection_to_write_announces_it() -> None:
    """PostgreSQL's functions are called in one place; nothing else that goes over those connections writes."""
    tree = ast.parse((ROOT / "store/postgres/store.py").read_text(encoding="utf-8"))
    asking = {
        function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.AsyncFunctionDef) and "self._lines.ask(" in ast.unparse(function)
    }
    assert asking == {"_call", "_events"}  # the second one reads

"""`orchestrator db`: what it says of databases of several versions."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from orchestrator.cli.main import app
from orchestrator.store import migrate, open_store
from tests.support.next_release import migrations

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = migrate.known_head()
NEXT = f"{int(KNOWN) + 1:04d}"


async def make(path: Path) -> None:
    await (await open_store(str(path))).close()


def status(path: Path, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["db", "status", "--database", str(path), *arguments])
    return done.exit_code, done.stdout


def test_this_versions_database_works(tmp_path: Path) -> None:
    asyncio.run(make(tmp_path / "s.db"))
    code, said = status(tmp_path / "s.db")
    assert code == 0
    assert f"schema {KNOWN}, this version knows {KNOWN}" in said


@pytest.mark.parametrize(("readable_from", "works"), [(KNOWN, True), (NEXT, False)])
def test_a_newer_one_works_if_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readable_from: str, *, works: bool
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "SCRIPTS", migrations(tmp_path / "next", readable_from))
        asyncio.run(make(tmp_path / "s.db"))
    code, said = status(tmp_path / "s.db", "--output", "json")
    assert code == (0 if works else 1)
    told = json.loads(said)
    assert (told["schema"], told["readableFrom"], told["known"], told["works"]) == (NEXT, readable_from, KNOWN, works)


def test_a_file_without_our_tables_is_told_and_not_migrated(tmp_path: Path) -> None:
    (tmp_path / "s.db").touch()
    code, said = status(tmp_path / "s.db")
    assert (code, (tmp_path / "s.db").read_bytes()) == (1, b"")
    assert "these are no tables of ours" in said


def test_restored_says_how_many_wait(tmp_path: Path) -> None:
    asyncio.run(make(tmp_path / "s.db"))
    done = CliRunner().invoke(app, ["db", "restored", "--yes", "--database", str(tmp_path / "s.db")])
    assert done.exit_code == 0
    assert "held: 0 executions wait" in done.stdout

"""One SQLite file, one operator with a worker inside."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from orchestrator_operator.sole import Scaled, sole

from orchestrator.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys, time
from orchestrator_operator.sole import sole
with sole(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_on_the_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'store.db'}"
    with subprocess.Popen([sys.executable, "-c", HOLD, database], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(Scaled, match="SQLite is for one replica") as refused, sole(database):
            pass
        other.kill()
    assert "deploy/overlays/ha" in str(refused.value)


def test_the_place_of_a_process_that_was_killed_is_free_at_once(tmp_path: Path) -> None:
    database = str(tmp_path / "store.db")
    with subprocess.Popen([sys.executable, "-c", HOLD, database], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        other.kill()
        other.wait()
        with sole(database):
            pass


def test_a_postgresql_is_shared() -> None:
    with sole("postgresql://host/name"), sole("postgresql://host/name"):
        pass


def test_a_folder_that_is_not_there_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="missing cannot be written to"), sole(str(tmp_path / "missing" / "a.db")):
        pass

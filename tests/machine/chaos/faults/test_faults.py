"""A process ends at every commit, before it, after it, and with the answer lost: what follows keeps every promise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.faults import Boundary
from orchestrator.nodes.registry import NODE_TYPES
from tests.machine.chaos.faults.shapes import SHAPES
from tests.support.ledger import LedgerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.chaos import Chaos
    from tests.support.postgres import LocalPostgres

ROOT = Path(__file__).parents[4]
_BOUNDED = 22  # faults of a shape in `make test`; `make chaos` tries every one
_BRIEFLY_ON_POSTGRES = ("everything", "cancelled")


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LedgerProcess]:
    with LedgerProcess(tmp_path_factory.mktemp("ledger")) as ledger:
        yield ledger


def judged(shape: str, folder: Path, ledger: LedgerProcess, database: str, cases: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.machine.chaos.faults.runner", shape, "--folder", str(folder)]
    command += ["--service", ledger.url, "--cases", str(cases), "--database", database]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["cases"] >= 3, answer
    return answer


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory, ledger: LedgerProcess) -> Callable[[str, int], dict[str, Any]]:
    """The answer for a shape on SQLite, played once for all tests of this module."""
    answers: dict[tuple[str, int], dict[str, Any]] = {}

    def of(shape: str, cases: int) -> dict[str, Any]:
        if (shape, cases) not in answers:
            answers[shape, cases] = judged(shape, tmp_path_factory.mktemp(shape), ledger, "sqlite", cases)
        return answers[shape, cases]

    return of


@pytest.mark.parametrize("shape", SHAPES)
def test_every_promise_holds_after_a_fault_at_any_commit_on_sqlite(
    shape: str, on_sqlite: Callable[[str, int], dict[str, Any]], chaos: Chaos
) -> None:
    answer = on_sqlite(shape, 0 if chaos.long else _BOUNDED)
    assert answer["wrong"] == []
    assert {"submit", "claim", "append"} <= set(answer["boundaries"])


def test_the_shapes_reach_every_commit_that_a_worker_and_its_clients_make(
    on_sqlite: Callable[[str, int], dict[str, Any]], chaos: Chaos
) -> None:
    elsewhere = {  # commits of V1, of the operator, and of housekeeping: their own tests reach them
        *(boundary for boundary in Boundary if boundary.startswith("watch")),
        Boundary.V1_UPDATE,
        Boundary.WRITTEN,
        Boundary.DROP_LOGS,
        Boundary.DROP_FINISHED,
        Boundary.COUNT_COHORTS,
        Boundary.SAVE_TOTALS,
        Boundary.SAVE_BINS,
        Boundary.TAKE_BASELINES,
        Boundary.DROP_EVIDENCE,
        Boundary.APPEND_DECISION,
    }
    cases = 0 if chaos.long else _BOUNDED
    reached = {boundary for shape in SHAPES for boundary in on_sqlite(shape, cases)["boundaries"]}
    assert set(Boundary) - elsewhere - reached <= {Boundary.RELEASE, Boundary.RENEW}  # these depend on the moment


@pytest.mark.parametrize("shape", SHAPES)
def test_every_promise_holds_after_a_fault_at_any_commit_on_postgres(
    shape: str, tmp_path: Path, ledger: LedgerProcess, chaos: Chaos, postgres: LocalPostgres
) -> None:
    if not chaos.long and shape not in _BRIEFLY_ON_POSTGRES:
        pytest.skip("only make chaos plays this one on PostgreSQL, too")
    cases = 0 if chaos.long else 1
    assert judged(shape, tmp_path, ledger, postgres.create_database(), cases)["wrong"] == []


def test_an_effect_of_an_http_step_is_one_however_often_it_was_asked_for(ledger: LedgerProcess) -> None:
    assert ledger.books().doubled == ()


def test_the_shapes_cover_every_node_type() -> None:
    used = {node["type"] for shape in SHAPES.values() for node in shape.spec["nodes"]}
    assert used == set(NODE_TYPES) - {"container"}  # tests/e2e/test_container_nodes.py kills workers around their Jobs

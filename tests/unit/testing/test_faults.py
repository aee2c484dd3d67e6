"""Fault points: a process that ends at a commit, a commit whose answer is lost, and what is counted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import StoreUnavailable
from orchestrator.faults import Boundary, Moment, reach
from orchestrator.testing import MemoryStore, faults
from orchestrator.testing.builders import START, submission

ROOT = Path(__file__).resolve().parents[3]
WORKFLOW = ROOT / "tests" / "unit" / "testing" / "hello.yaml"


def run(tmp_path: Path, fault: str, *program: str) -> subprocess.CompletedProcess[str]:
    """`run` a workflow twice at most, with the same key and database."""
    command = [sys.executable, *program, "run", str(WORKFLOW), "--database", str(tmp_path / "x.db")]
    environment = os.environ | {faults.VARIABLE: fault}
    return subprocess.run(
        [*command, "--idempotency-key", "k", "--output", "json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


async def test_what_is_reached_is_counted() -> None:
    store = MemoryStore()
    with faults.record() as reached:
        await store.submit([submission("x1")], START)
        await store.submit([submission("x1")], START)  # changes nothing: there is nothing to commit
    assert reached == {(Boundary.SUBMIT, moment): 1 for moment in Moment}


async def test_nothing_is_counted_afterwards() -> None:
    store = MemoryStore()
    with faults.record() as reached:
        pass
    await store.submit([submission("x1")], START)
    assert not reached


async def test_a_lost_answer_is_of_a_commit_that_took_place() -> None:
    store = MemoryStore()
    with faults.lose(Boundary.SUBMIT), pytest.raises(StoreUnavailable, match="submit was lost after its commit"):
        await store.submit([submission("x1")], START)
    assert await store.known(["x1"]) == {"x1"}


async def test_a_refused_commit_did_not_take_place() -> None:
    store = MemoryStore()
    with faults.refuse(Boundary.SUBMIT), pytest.raises(StoreUnavailable, match="submit was refused"):
        await store.submit([submission("x1")], START)
    assert await store.known(["x1"]) == set()


async def test_a_fault_comes_at_its_occurrence_and_so_many_times() -> None:
    store, answers = MemoryStore(), []
    with faults.refuse(Boundary.LOG, occurrence=2, times=2):
        for _ in range(5):
            try:
                await store.log_edge(["line"], START)
            except StoreUnavailable:
                answers.append("refused")
            else:
                answers.append("written")
    assert answers == ["written", "refused", "refused", "written", "written"]


async def test_faults_nest() -> None:
    store = MemoryStore()
    with faults.record() as reached, faults.lose(Boundary.SUBMIT), faults.refuse(Boundary.LOG):
        with pytest.raises(StoreUnavailable):
            await store.submit([submission("x1")], START)
        with pytest.raises(StoreUnavailable):
            await store.log_edge(["line"], START)
        await store.log_edge(["line"], START)
    assert (reached[Boundary.SUBMIT, Moment.LOST], reached[Boundary.LOG, Moment.BEFORE]) == (1, 2)


def test_without_a_plan_a_moment_is_nothing() -> None:
    reach(Boundary.APPEND, Moment.LOST)


@pytest.mark.parametrize(
    "text", ["", "append", "append:during", "nothing:before", "append:before:0", "append:before:x", "append:before:1:2"]
)
def test_a_malformed_fault_says_what_there_is(text: str) -> None:
    with pytest.raises(ValueError, match=faults.VARIABLE):
        faults.parse(text)


def test_a_fault_is_spelt_boundary_moment_occurrence() -> None:
    assert faults.parse("drop-logs:after") == (Boundary.DROP_LOGS, Moment.AFTER, 1)
    assert faults.parse("append:lost:3") == (Boundary.APPEND, Moment.LOST, 3)


def test_a_process_that_crashed_goes_on_where_it_was(tmp_path: Path) -> None:
    crashed = run(tmp_path, "submit:after", "-m", "orchestrator.testing")
    assert (crashed.returncode, crashed.stdout) == (faults.CRASHED, "")
    again = run(tmp_path, "", "-m", "orchestrator.testing")
    assert (again.returncode, '"status": "success"' in again.stdout) == (0, True), again.stderr


def test_the_program_itself_knows_nothing_of_faults(tmp_path: Path) -> None:
    program = ("-c", "from orchestrator.cli.main import main; main()")
    assert run(tmp_path, "append:before:1", *program).returncode == 0

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from orchestrator_operator.local import launcher, processes
from orchestrator_operator.local.processes import Process, Records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

READY = "trap '' TERM; echo ready; while :; do sleep 600; done"


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start a program under our care; whatever happens, it ends with the test."""
    running: list[Process] = []

    def start(*command: str, detached: bool = False, name: str = "child") -> Process:
        running.append(
            processes.start(
                name, command, records=Records(tmp_path / "run"), log=tmp_path / "child.log", detached=detached
            )
        )
        return running[-1]

    yield start
    for process in running:
        processes.stop(process, grace=0)


def test_a_running_process_is_alive_until_it_is_stopped(started: Callable[..., Process]) -> None:
    process = started("/bin/sleep", "600")
    assert process.alive()
    processes.stop(process, grace=10)
    assert not process.alive()
    assert process.memory() == 0


def test_a_process_that_ignores_sigterm_is_killed(started: Callable[..., Process], tmp_path: Path) -> None:
    process = started("/bin/sh", "-c", READY)
    while "ready" not in (tmp_path / "child.log").read_text():
        assert processes.first_exit([process], 0.01) is None
    processes.stop(process, grace=0.2)
    assert not process.alive()


def test_a_reused_pid_is_never_killed(started: Callable[..., Process]) -> None:
    process = started("/bin/sleep", "600")
    processes.stop(replace(process, started=process.started - 1), grace=0)
    processes.stop(replace(process, boot="another boot"), grace=0)
    assert process.alive()


def test_a_process_is_recorded_when_start_returns(tmp_path: Path) -> None:
    """Who stops everything in the next moment must not overlook it."""
    records = Records(tmp_path / "run")
    process = processes.start("at-once", ["/bin/sleep", "600"], records=records, log=tmp_path / "log", detached=False)
    found = records.read("at-once")
    processes.stop(process, grace=0)
    assert found == process


def test_the_child_itself_records_who_it_is(started: Callable[..., Process], tmp_path: Path) -> None:
    process = started("/bin/sh", "-c", "exit 0")
    assert processes.first_exit([process], 10) == process
    assert Records(tmp_path / "run").read("child") == process


def test_a_broken_record_is_no_process(tmp_path: Path) -> None:
    (tmp_path / "child.json").write_text('{"pid": ')
    assert Records(tmp_path).read("child") is None


def test_the_first_that_ends_is_named(started: Callable[..., Process]) -> None:
    lasting, short = started("/bin/sleep", "600"), started("/bin/sh", "-c", "read x; exit 1", name="short")
    assert processes.first_exit([lasting, short], 10) == short
    assert processes.first_exit([lasting], 0.01) is None


def test_a_program_that_does_not_exist_ends_and_its_log_says_why(
    started: Callable[..., Process], tmp_path: Path
) -> None:
    process = started("/nowhere/program")
    assert processes.first_exit([process], 10) == process
    assert (
        "/nowhere/program" in (tmp_path / "child.log").read_text()
        or "No such file" in (tmp_path / "child.log").read_text()
    )


@pytest.mark.parametrize("detached", [True, False])
def test_only_a_detached_child_outlives_its_killed_parent(
    tmp_path: Path, ends: Callable[[int], bool], *, detached: bool
) -> None:
    program = textwrap.dedent(f"""
        import pathlib, sys
        from orchestrator_operator.local import processes
        folder = pathlib.Path({str(tmp_path)!r})
        child = processes.start("child", ["/bin/sh", "-c", "echo ready; exec sleep 600"],
            records=processes.Records(folder), log=folder / "log", detached={detached})
        while "ready" not in (folder / "log").read_text():
            assert processes.first_exit([child], 0.01) is None
        print(child.pid, flush=True)
        sys.stdin.read()
    """)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    child = Records(tmp_path).read("child")
    assert child is not None
    if detached:
        assert child.alive()
        processes.stop(child, grace=0)
    assert ends(pid)
    assert not child.alive()


def test_the_start_time_is_read_past_a_name_with_spaces_and_parentheses(tmp_path: Path) -> None:
    odd = tmp_path / "a) R (b"
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([odd, "600"]) as process:
        try:
            assert 0 < launcher.start_time(os.getpid()) <= launcher.start_time(process.pid)
        finally:
            process.send_signal(signal.SIGKILL)

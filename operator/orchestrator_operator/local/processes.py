"""Child processes that are known by more than a number, and that never outlive whom they should not."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator_operator.local import launcher

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_LAUNCHER = Path(launcher.__file__).resolve()
_KILLED_WITHIN = 10.0  # seconds that the kernel may take to end a killed process (it may be in the middle of a write)


@dataclass(frozen=True, slots=True)
class Process:
    """One process for good: a pid alone would name another one after a while."""

    name: str
    pid: int
    started: int  # clock ticks since boot
    boot: str

    def alive(self) -> bool:
        """Whether it still runs (a zombie does not)."""
        _reap(self.pid)
        try:
            with Path(f"/proc/{self.pid}/stat").open("rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return False
        same = int(fields[19]) == self.started and launcher.boot_id() == self.boot
        return same and fields[0] not in {b"Z", b"X"}

    def memory(self) -> int:
        """Resident memory in bytes; 0 if it does not run."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]) if self.alive() else 0
        except (FileNotFoundError, ProcessLookupError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Records:
    """The folder that remembers which processes were started: one small file each, written by the child itself."""

    folder: Path

    def path(self, name: str) -> Path:
        """The record of the process of that name."""
        return self.folder / f"{name}.json"

    def read(self, name: str) -> Process | None:
        """The process that was started last under this name and not forgotten; it may have ended since."""
        try:
            found = json.loads(self.path(name).read_bytes())
            return Process(name, int(found["pid"]), int(found["started"]), str(found["boot"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def remember(self, name: str, pid: int) -> Process:
        """What the child writes too, a moment later: so that it is known as soon as it was started."""
        found = launcher.remember(str(self.path(name)), str(self.folder / f"{name}.known"), pid)
        return Process(name, pid, int(found["started"]), str(found["boot"]))

    def forget(self, name: str) -> None:
        """Remove a record."""
        self.path(name).unlink(missing_ok=True)


def start(
    name: str,
    command: Sequence[str],
    *,
    records: Records,
    log: Path,
    detached: bool,
    environ: Mapping[str, str] | None = None,
) -> Process:
    """Start a program in a session of its own, its output appended to `log`.

    Detached, it lives on when we end; otherwise the kernel kills it with us. Does not wait for the program: one that
    cannot be run at all ends at once, and its log says why.
    """
    records.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    log.parent.mkdir(parents=True, exist_ok=True)
    records.forget(name)
    death_signal = 0 if detached else signal.SIGKILL
    prefix = [sys.executable, "-I", "-S", str(_LAUNCHER), str(records.path(name)), str(int(death_signal))]
    arguments = [*prefix, str(os.getpid()), *command]
    # "The parent" of PR_SET_PDEATHSIG is the thread that starts the child, so that must be one that lasts as we do.
    pid = _spawner().submit(_spawn, arguments, log, dict(os.environ if environ is None else environ)).result()
    return records.remember(name, pid)


def stop(process: Process, grace: float) -> None:
    """End a process and wait until it is gone: SIGTERM, after `grace` seconds SIGKILL."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        # Asked after the descriptor is held: from here on the pid cannot become another process' under our hands.
        if not process.alive():
            return
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, _KILLED_WITHIN)):
            if patience <= 0:
                continue
            signal.pidfd_send_signal(descriptor, number)
            if _wait_for_exit([descriptor], patience):
                break
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)
        _reap(process.pid)


def first_exit(processes: Iterable[Process], timeout: float) -> Process | None:
    """Wait until one of them ends, and say which; None when `timeout` seconds passed before."""
    watched: dict[int, Process] = {}
    try:
        for process in processes:
            try:
                watched[os.pidfd_open(process.pid)] = process
            except ProcessLookupError:
                return process
            if not process.alive():
                return process
        if not watched:
            time.sleep(timeout)
            return None
        ended = _wait_for_exit(watched, timeout)
        return watched[ended[0]] if ended else None
    finally:
        for descriptor in watched:
            os.close(descriptor)


def _wait_for_exit(descriptors: Iterable[int], timeout: float) -> list[int]:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(timeout * 1000)]


def _spawn(arguments: list[str], log: Path, environ: dict[str, str]) -> int:
    actions = (
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    )
    return os.posix_spawn(arguments[0], arguments, environ, file_actions=actions)


def _reap(pid: int) -> None:
    """Take the exit status of a child of ours that ended, so that it leaves the process table."""
    with suppress(ChildProcessError):  # not our child (an earlier process started it), or reaped already
        os.waitpid(pid, os.WNOHANG)


@cache
def _spawner() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="local-control-plane")

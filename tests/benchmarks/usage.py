"""CPU time and memory of processes, children that ended included."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path

import psutil


def own_cpu() -> float:
    """Seconds of CPU that this process took, all threads, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def own_peak_mb() -> float:
    """The most memory that this process ever had resident, in MB.

    Not from getrusage: that remembers what the process was before it became this program, a copy of its parent.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kilobytes) * 1024 / 1e6


def tree_cpu(pid: int) -> float:
    """Seconds of CPU of a process and all its descendants: those that live, and those that ended and were waited for.

    PostgreSQL's first process waits for its backends, so a connection that was closed is not forgotten.
    """
    total = 0.0
    for process in _tree(pid):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
            if process.pid == pid:
                total += times.children_user + times.children_system
    return total


def tree_memory_mb(pid: int) -> float:
    """Memory of a process and its descendants in MB; what they share counts once (the kernel's PSS)."""
    total = 0
    for process in _tree(pid):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += process.memory_full_info().pss
    return total / 1e6


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []

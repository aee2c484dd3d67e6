"""The first moments of a child process: `python -I -S launcher.py RECORD SIGNAL PARENT PROGRAM [ARGUMENT…]`.

Runs in the child, before the program takes its place by exec (the pid stays). Doing this here, and not between fork
and exec of the parent, is safe in a program with threads. Standard library only, and little of it: it runs in 20 ms.

- A session of its own, so that Ctrl-C on the terminal reaches the parent alone, which then stops its children in order.
- SIGNAL other than 0 is what the kernel sends this process when its parent's thread ends, however it ends.
- RECORD is written before the program starts, so that no crash can leave a process that nobody knows of.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

_PR_SET_PDEATHSIG = 1


def main(record: str, death_signal: int, parent: int, command: list[str]) -> None:
    """Become the program; only returns by an exception."""
    os.setsid()
    if death_signal:
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        if os.getppid() != parent:
            sys.exit("the parent ended before its child had started")
    remember(record, f"{record}.partial", os.getpid())
    os.chdir("/")
    os.execv(command[0], command)  # noqa: S606 - an argument list of ours, no shell


def remember(record: str, partial: str, pid: int) -> dict[str, int | str]:
    """Write down which process this is: first under a name of the writer's own, so that no half record is ever read."""
    found: dict[str, int | str] = {"pid": pid, "started": start_time(pid), "boot": boot_id()}
    with open(partial, "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib would triple the start-up time
        json.dump(found, file)
    os.rename(partial, record)  # noqa: PTH104 - as above
    return found


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot: with the pid it names one process for good."""
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - as above
        # The second field is the program's name in parentheses, which may hold spaces and parentheses itself.
        return int(file.read().rpartition(b")")[2].split()[19])


def boot_id() -> str:
    """This boot of the machine: ticks and pids start again with each."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 - as above
        return file.read().strip()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])

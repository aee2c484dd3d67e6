"""A reader who types what a page says, block by block, in one shell."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.support.pages import Block

MARK = "-- end of block --"


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of it: the output of each block that ended well, in order, and how the shell ended."""

    printed: Sequence[str]
    code: int
    said: str  # standard error, and what the block that failed had printed

    def of(self, number: int, block: Block) -> str:
        """What a block printed; AssertionError that names it when it failed, or was not reached."""
        done = len(self.printed)
        assert number <= done, f"{block.place} was not reached: a block before it failed"
        assert number < done, f"{block.place} failed with exit code {self.code}:\n{block.text}\n{self.said}"
        return self.printed[number]


def read_along(
    scripts: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    *,
    within: float,
    path: Sequence[str] = (),
    program: Path | None = None,
) -> Reading:
    """Run scripts one after the other in one shell, in a checkout's likeness, until one fails.

    The shell knows nothing of our own settings but `environment`; folders of `path` come before the machine's.
    `program` is the program `orchestrator`; by default an interpreter starts for each command.
    Everything that was started in the background ends with it.
    """
    for name in ("deploy", "docs", "crds"):
        (folder / name).symlink_to(ROOT / name)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "USE_ORCH"))}
    searched = os.pathsep.join([str(programs(folder / "bin", program)), *path, os.environ["PATH"]])
    script = "set -euo pipefail\n" + "".join(f"{script}\necho '{MARK}'\n" for script in scripts)
    with (
        (folder / "stderr").open("wb") as errors,
        subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=kept | {"PYTHONPATH": str(ROOT), **environment, "PATH": searched},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            text=True,
        ) as shell,
    ):
        try:
            out, _ = shell.communicate(timeout=within)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    *printed, rest = out.split(f"{MARK}\n")
    return Reading(printed, shell.returncode, rest + (folder / "stderr").read_text(encoding="utf-8", errors="replace"))


def programs(folder: Path, program: Path | None) -> Path:
    """What a reader has on PATH in the active environment; where there is no `curl`, what pages need of it."""
    folder.mkdir()
    scripts = {
        "python": f'exec "{sys.executable}" "$@"',
        "orchestrator": f'exec {program or f"{sys.executable} -m orchestrator.cli.main"} "$@"',
    }
    scripts["kubectl-orchestrator"] = scripts["orchestrator"]
    if shutil.which("curl") is None:
        fetch = "import sys, urllib.request as u; print(u.urlopen(sys.argv[-1]).read().decode())"
        scripts["curl"] = f'exec "{sys.executable}" -c \'{fetch}\' "$@"'
    for name, command in scripts.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
        path.chmod(0o755)
    return folder


def normalised(text: str) -> list[str]:
    """Lines without what differs from run to run: ids, receipts, moments, seconds and padding."""
    for pattern, stands_for in (
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "ID"),
        (r"\b[0-9a-f]{32}\b", "ID"),
        (r"(order-\d+:)[0-9a-f]+", r"\1RECEIPT"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(\+00(:00)?|Z)?", "MOMENT"),
        (r"\b\d+(\.\d+)?s\b", "SECONDS"),
    ):
        text = re.sub(pattern, stands_for, text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def missing(wanted: str, printed: str) -> list[str]:
    """The lines that a page shows and that were not printed, as far as they are the same every time.

    A shown line may end earlier than the printed one; `…` in it stands for anything.
    """
    found = normalised(printed)
    patterns = [re.escape(line).replace("…", ".*") for line in normalised(wanted)]
    return [pattern for pattern in patterns if not any(re.match(pattern, line) for line in found)]

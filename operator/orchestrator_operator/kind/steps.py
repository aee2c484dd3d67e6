"""Programs that take a while: run with progress, their output kept in a log, their failure told with its last lines."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from orchestrator_operator.local import LocalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path

    from orchestrator_operator.local import Reporter

_TOLD = 15  # lines of a failed program's output


class StepFailed(LocalError):
    """A program did not do what it was run for; the message holds the end of what it said."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Runs one program after the other."""

    report: Reporter
    logs: Path
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def run(
        self,
        label: str,
        command: Sequence[object],
        *,
        expected: timedelta | None = None,
        feed: Callable[[IO[bytes]], None] | None = None,
        folder: Path | None = None,
    ) -> None:
        """Run a program to its end; `feed` writes its standard input. Raises StepFailed."""
        log = self.logs / f"{_name(label)}.log"
        with self.report.task(label, expected) as tick, self._opened(log) as output:
            process = subprocess.Popen(
                [str(word) for word in command],
                cwd=folder,
                env=dict(self.environ),
                stdin=subprocess.DEVNULL if feed is None else subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            with _ended(process):
                if feed is not None and process.stdin is not None:
                    _fed(process.stdin, feed)
                _wait(process, log, tick)
        if process.returncode != 0:
            raise StepFailed(f"{label} failed: {command[0]} said (whole log: {log})\n{tail(log)}")

    def ask(self, command: Sequence[object], *, within: float = 60.0) -> str:
        """What a quick program says on its standard output; StepFailed with its errors."""
        said = self.try_(command, within=within)
        if said.returncode != 0:
            words = " ".join(str(word) for word in command)
            raise StepFailed(f"`{words}` failed: {(said.stderr or said.stdout).strip()[-2000:]}")
        return said.stdout.strip()

    def try_(self, command: Sequence[object], *, within: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a quick program whose failure is an answer."""
        try:
            return subprocess.run(
                [str(word) for word in command],
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=within,
                check=False,
            )
        except FileNotFoundError:
            return subprocess.CompletedProcess([], 127, "", f"{command[0]} is not installed")
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess([], 124, "", f"{command[0]} did not answer within {within:.0f} s")

    @contextmanager
    def _opened(self, log: Path) -> Iterator[IO[bytes]]:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            yield output


def tail(log: Path) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TOLD:])


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever happens, Ctrl-C included, the program and its children are gone afterwards."""
    try:
        yield
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _fed(pipe: IO[bytes], feed: Callable[[IO[bytes]], None]) -> None:
    try:
        feed(pipe)
        pipe.close()
    except BrokenPipeError:
        pass  # it ended: its exit code and its log say why


def _wait(process: subprocess.Popen[bytes], log: Path, tick: Callable[[str], None]) -> None:
    while True:
        try:
            process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            tick(_last(log))
        else:
            return


def _last(log: Path) -> str:
    """The last line of a log that goes on growing, cut to what fits beside a label."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 400))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip()[:60] for line in reversed(lines) if line.strip()), "")


def _name(label: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in label.lower())

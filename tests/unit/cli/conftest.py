"""The command line in this process, with its exit code and what it printed; and as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from orchestrator.cli import logs, main
from orchestrator.store import open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from orchestrator.store import Store

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """A folder to work in, with the commands that are typed there."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._capture, self._monkeypatch = folder, capture, monkeypatch
        self.database = folder / "orchestrator.db"

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def __call__(self, *arguments: str | Path) -> Answer:
        """Run a command in this process."""
        self._monkeypatch.setattr(sys, "argv", ["orchestrator", *map(str, arguments)])
        self._capture.readouterr()
        code: Any = 0
        try:
            main.main()
        except SystemExit as end:
            code = end.code or 0
        out, err = self._capture.readouterr()
        return Answer(int(code), out, err)

    @contextmanager
    def process(self, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
        """Run a command as a process of its own; killed at the end if it is still there."""
        command = [sys.executable, "-m", "orchestrator.cli.main", *map(str, arguments)]
        pipe = subprocess.PIPE
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=pipe, stderr=pipe, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def ask(self, question: Callable[[Store], Awaitable[Any]]) -> Any:
        """Look into the database behind the command line's back."""

        async def asked() -> Any:
            store = await open_store(str(self.database))
            try:
                return await question(store)
            finally:
                await store.close()

        return asyncio.run(asked())


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    for name in [name for name in os.environ if name.startswith(("ORCHESTRATOR_", "USE_ORCHESTRATOR_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    # The real one hands structlog this test's standard error for good, to the loggers of all later tests, too.
    monkeypatch.setattr(logs, "configure", lambda **_: None)
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield Shell(tmp_path, capsys, monkeypatch)
    structlog.reset_defaults()


def effects(folder: Path) -> list[str]:
    """The idempotency keys that a step of `count_steps` had when it ran, in order."""
    path = folder / "effects"
    return path.read_text(encoding="utf-8").split() if path.exists() else []


@pytest.fixture
def counting(shell: Shell) -> str:
    """The name of a module in the working directory whose function `count` leaves a line for each of its runs."""
    name = f"steps_{shell.folder.name}".replace("-", "_")
    shell.write(
        f"{name}.py",
        f"""
from pathlib import Path
from orchestrator.functions import NonRetryable, function

EFFECTS = Path({str(shell.folder / "effects")!r})

@function(name="{name}:count")
def count(context):
    with EFFECTS.open("a") as file:
        file.write(context.idempotency_key + "\\n")
    return len(EFFECTS.read_text().split())

@function(name="{name}:fail")
def fail():
    raise NonRetryable("no such customer", kind="NoCustomer")
""",
    )
    return name

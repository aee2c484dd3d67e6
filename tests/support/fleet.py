"""Real worker processes that can be killed, stopped in mid-instruction, and asked for their metrics."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import httpx

from tests.support.polling import eventually
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
FENCED = "orchestrator_fenced_writes_total"


class Member:
    """One worker process."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], port: int) -> None:
        self.name, self.process, self._port = name, process, port

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL, as the kernel does when memory is short."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """SIGSTOP: it runs no instruction, and everybody else sees a connection on which nothing comes."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self, within: float = 60) -> int:
        """SIGTERM, and its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within)

    def metric(self, name: str) -> float | None:
        """The sum of a metric's samples; None while it does not answer."""
        try:
            text = httpx.get(f"http://127.0.0.1:{self._port}/metrics", timeout=10, trust_env=False).text
        except httpx.HTTPError:
            return None
        samples = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(map(float, samples))


class Fleet:
    """Workers on one database, each with a log file. Use it in a `with`: none outlives it."""

    def __init__(
        self, database: str, folder: Path, *, lease: str = "2s", environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.members: list[Member] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._environment = os.environ | {
            "ORCHESTRATOR_DATABASE": database,
            "ORCHESTRATOR_LEASE": lease,
            "ORCHESTRATOR_HTTP_ALLOW": "127.0.0.1",
            "ORCHESTRATOR_V1": "off",
            "ORCHESTRATOR_PATIENCE": "2s",
            "PYTHONPATH": str(ROOT),
            **(environment or {}),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.process.kill()
        for member in self.members:
            member.process.wait()

    def start(self, *, functions: str = "", lease: str | None = None) -> Member:
        """One more worker; it may take a second until it claims."""
        name = f"worker-{len(self.members) + 1}"
        port = free_port()
        command = [sys.executable, "-m", "orchestrator.cli.main", "--verbose", "worker", "--metrics-port", str(port)]
        command += ["--metrics-address", "127.0.0.1", *(["--functions", functions] if functions else [])]
        environment = self._environment | ({"ORCHESTRATOR_LEASE": lease} if lease else {}) | {"PGAPPNAME": name}
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, cwd=self.folder, stdout=log, stderr=log)
        member = Member(name, process, port)
        self.members.append(member)
        return member

    def started(self, *, functions: str = "", lease: str | None = None) -> Member:
        """One more worker that is up."""
        member = self.start(functions=functions, lease=lease)
        eventually(lambda: member.metric(FENCED) is not None or not member.alive, f"{member.name} is up")
        assert member.alive, f"{member.name} ended: {self.log(member)[-3000:]}"
        return member

    @property
    def alive(self) -> list[Member]:
        return [member for member in self.members if member.alive]

    def log(self, member: Member) -> str:
        """What it said."""
        return (self.folder / f"{member.name}.log").read_text(errors="replace")

"""A Docker daemon: the one that answers, else one of our own, with its data in our cache."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from orchestrator_operator.kind import capabilities
from orchestrator_operator.kind.host import DAEMON, Host
from orchestrator_operator.kind.steps import tail
from orchestrator_operator.local import StartFailed, processes
from orchestrator_operator.local.processes import Records

if TYPE_CHECKING:
    from orchestrator_operator.kind.places import Places
    from orchestrator_operator.kind.steps import Steps

_NAME = "dockerd"
_READY = 60.0  # seconds
_GRACE = 30.0
_RUNTIME = "fewer-capabilities"
_A_REGISTRY = (200, 401)  # it wants a token first
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


@dataclass(frozen=True, slots=True)
class Daemon:
    """Docker, as the commands of `steps` find it."""

    places: Places
    steps: Steps

    @property
    def socket(self) -> Path:
        return self.places.run / "docker.sock"

    def reached(self) -> Steps:
        """Steps whose commands reach a daemon, which is started if need be. Raises ToolUnavailable, StartFailed."""
        if self._answers(self.steps):
            return self.steps
        ours = self._ours()
        if self._answers(ours):
            return ours
        Host(self.steps).require(DAEMON)
        with self.steps.report.task("starting a Docker daemon of our own"):
            self._start(ours)
        return ours

    def end(self) -> bool:
        """End the daemon that we started, if we did, and take back what it left on the machine."""
        process = self._records.read(_NAME)
        if process is None or not process.alive():
            return False
        self._ours().try_(["docker", "network", "rm", "kind"])
        processes.stop(process, _GRACE)
        self._records.forget(_NAME)
        self._tidy()
        return True

    @property
    def _records(self) -> Records:
        return Records(self.places.run)

    def _ours(self) -> Steps:
        return replace(self.steps, environ={**self.steps.environ, "DOCKER_HOST": f"unix://{self.socket}"})

    @staticmethod
    def _answers(steps: Steps) -> bool:
        return steps.try_(["docker", "version"], within=20).returncode == 0

    def _start(self, ours: Steps) -> None:
        log = self.places.logs / "dockerd.log"
        self.places.docker.mkdir(parents=True, exist_ok=True)
        self.places.run.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        self._note_machine()
        command = [
            *("dockerd", "--host", f"unix://{self.socket}", "--data-root", str(self.places.docker)),
            *("--exec-root", str(self.places.run / "exec"), "--pidfile", str(self.places.run / "dockerd.pid")),
            *("--storage-driver", "overlay2", *self._runtime()),
        ]
        path = f"{self.steps.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        command[0] = shutil.which("dockerd", path=path) or "dockerd"
        process = processes.start(
            _NAME, command, records=self._records, log=log, detached=True, environ={**self.steps.environ, "PATH": path}
        )
        deadline = time.monotonic() + _READY
        while not self._answers(ours):
            if not process.alive() or time.monotonic() > deadline:
                processes.stop(process, 0)
                raise StartFailed(f"dockerd did not get ready; its log is {log}, and ends with:\n{tail(log)}")
            time.sleep(0.2)

    def _runtime(self) -> list[str]:
        """runc, or a wrapper of it where the machine withholds capabilities."""
        names = capabilities.missing(Path("/proc/self/status").read_text(encoding="ascii"))
        runc = shutil.which("runc", path=f"{os.defpath}:/usr/sbin:/sbin")
        if not names or runc is None:
            return []
        script = self.places.run / "runc"
        script.write_text(capabilities.wrapper(Path(runc), names), encoding="utf-8")
        script.chmod(0o755)
        return ["--add-runtime", f"{_RUNTIME}={script}", "--default-runtime", _RUNTIME]

    def _note_machine(self) -> None:
        """What must be as it was when the daemon is gone."""
        saved = self.steps.try_(["iptables-save"])
        ruled = any(line.startswith("-A") for line in saved.stdout.splitlines())
        (self.places.run / "rules.before").write_text("some" if ruled else "none", encoding="ascii")
        (self.places.run / "forwarding.before").write_bytes(_FORWARDING.read_bytes())

    def _tidy(self) -> None:
        """Docker leaves its bridge, its rules, an open forwarding and a mount behind, which would keep our folder from
        being deleted. Rules go only where all were Docker's.
        """
        for kept in (self.places.run / "exec" / "netns").glob("*"):
            self.steps.try_(["umount", str(kept)])
        self.steps.try_(["ip", "link", "delete", "docker0"])
        if (self.places.run / "rules.before").read_text(encoding="ascii") == "none":
            for table in ("nat", "filter"):
                for words in (("-P", "FORWARD", "ACCEPT"), ("-F",), ("-X",)):
                    self.steps.try_(["iptables", "-t", table, *words])
        _FORWARDING.write_bytes((self.places.run / "forwarding.before").read_bytes())


@cache
def pullable(address: str = "https://registry-1.docker.io/v2/") -> bool:
    """Whether images can be pulled: whether the registry of kind's and Python's images answers as a registry does."""
    try:
        return httpx.get(address, timeout=5).status_code in _A_REGISTRY
    except httpx.HTTPError:
        return False

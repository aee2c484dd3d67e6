"""Start and stop the parts of a control plane, and wait until each is ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator_operator.local import commands, kubeconfig, ports, processes
from orchestrator_operator.local.commands import LOOPBACK
from orchestrator_operator.local.errors import LocalError, PortTaken, StartFailed
from orchestrator_operator.local.health import Health
from orchestrator_operator.local.processes import Process, Records

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator_operator.local.commands import Layout
    from orchestrator_operator.local.progress import Reporter
    from orchestrator_operator.local.record import Record

CORE = ("etcd", "kube-apiserver", "kube-controller-manager")
PARTS = (*CORE, "prometheus")  # in the order of the start; the stop goes the other way
GRACE = 10.0  # seconds between SIGTERM and SIGKILL
REPAIR_GRACE = 1.0  # the same for what a crash left: without etcd the API server would use up any grace

_POLL = 0.1  # seconds between two questions whether a part is ready
_SLOW = 20.0  # seconds that a running API server may take to answer before it counts as broken
_ATTEMPTS = 3  # at finding ports that are still free when the parts listen

Checks = Mapping[str, Callable[[], bool]]


def checks(health: Health) -> Checks:
    """How each part is asked whether it is ready."""
    return {
        "etcd": health.apiserver,  # the API server's readiness includes its connection to etcd
        "kube-apiserver": health.apiserver,
        "kube-controller-manager": health.controller_manager,
        "prometheus": health.prometheus,
    }


@dataclass(frozen=True, slots=True)
class Parts:
    """The processes of the control plane whose files are in `layout`. The caller holds its lock."""

    layout: Layout
    report: Reporter

    @property
    def records(self) -> Records:
        """Which processes were started."""
        return Records(self.layout.records)

    def alive(self, name: str) -> bool:
        """Whether the process of a part runs."""
        process = self.records.read(name)
        return process is not None and process.alive()

    def core_ready(self, known: Record) -> bool:
        """Whether everything but Prometheus runs and serves; a busy machine is given time to answer."""
        deadline = time.monotonic() + _SLOW
        with Health(self.layout, known.ports) as health:
            while all(self.alive(name) for name in CORE):
                if health.apiserver():
                    return True
                if time.monotonic() > deadline:
                    return False
                time.sleep(_POLL)
        return False

    def start_all(self, start: Record, timeout: float) -> None:
        """Start every part and wait until all are ready; on any failure nothing is left running."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._start_once(start, timeout)
            except PortTaken:
                if attempt == _ATTEMPTS:
                    raise
                start = replace(start, ports=ports.choose())
            else:
                return

    def start(self, name: str, start: Record, timeout: float) -> None:
        """Start one part alone, on the port and the data it had."""
        with Health(self.layout, start.ports) as health, self.report.task(f"starting {name}") as tick:
            process = self._spawn(name, start)
            try:
                self._await([process], name, checks(health)[name], time.monotonic() + timeout, tick)
            except BaseException:
                self.stop(name, grace=0)
                raise

    def stop_all(self, grace: float = GRACE) -> bool:
        """Stop every part, in the reverse order of the start; says whether one was running."""
        stopped = [self.stop(name, grace) for name in reversed(PARTS)]
        return any(stopped)

    def stop(self, name: str, grace: float = GRACE) -> bool:
        """Stop one part, and return when it is gone; says whether it was running."""
        process = self.records.read(name)
        alive = process is not None and process.alive()
        if process is not None and alive:
            processes.stop(process, grace)
        self.records.forget(name)
        return alive

    def _start_once(self, start: Record, timeout: float) -> None:
        self._prepare(start)
        deadline = time.monotonic() + timeout
        try:
            with (
                Health(self.layout, start.ports) as health,
                self.report.task("starting the control plane") as tick,
            ):
                ready = checks(health)
                running = [self._spawn(name, start) for name in ("etcd", "prometheus", "kube-apiserver")]
                self._await(running, "kube-apiserver", ready["kube-apiserver"], deadline, tick)
                # Not earlier: it gives up when there is no API server for ten seconds.
                running.append(self._spawn("kube-controller-manager", start))
                for name in ("kube-controller-manager", "prometheus"):
                    self._await(running, name, ready[name], deadline, tick)
        except BaseException:
            self.stop_all(grace=0)
            raise

    def _prepare(self, start: Record) -> None:
        """Everything that the parts read when they start."""
        layout = self.layout
        layout.pki.ensure(datetime.now(UTC))
        start.write(layout.record)
        for path, identity, user in (
            (layout.admin_kubeconfig, "admin", "admin"),
            (layout.controller_manager_kubeconfig, "controller-manager", "system:kube-controller-manager"),
        ):
            write_kubeconfig(layout, start, path, identity, user)

    def _spawn(self, name: str, start: Record) -> Process:
        if name not in start.binaries:
            raise LocalError(f"no binary for {name} was given: get all of them with `orchestrator local tools`")
        self.layout.data(name).mkdir(parents=True, exist_ok=True, mode=0o700)
        log = self.layout.log(name)
        if log.is_file():
            log.replace(log.with_suffix(".previous.log"))
        command = _command(name, self.layout, start)
        return processes.start(name, command, records=self.records, log=log, detached=start.detached)

    def _await(
        self,
        running: Sequence[Process],
        name: str,
        ready: Callable[[], bool],
        deadline: float,
        tick: Callable[[str], None],
    ) -> None:
        while not ready():
            tick(f"waiting for {name}")
            if ended := processes.first_exit(running, _POLL):
                raise self._failure(ended.name, "ended while the control plane started")
            if time.monotonic() > deadline:
                raise self._failure(name, "was not ready in time")

    def _failure(self, name: str, what: str) -> StartFailed:
        log = self.layout.log(name)
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]) if log.is_file() else ""
        kind = PortTaken if "address already in use" in tail else StartFailed
        return kind(f"{name} {what}; its log is {log}, and ends with:\n{tail}")


def write_kubeconfig(layout: Layout, start: Record, path: Path, identity: str, user: str) -> Path:
    """Write a kubeconfig of one of the identities in the control plane's PKI."""
    return kubeconfig.write(
        path,
        server=f"https://{LOOPBACK}:{start.ports.apiserver}",
        authority=layout.pki.ca.certificate,
        identity=layout.pki.pair(identity),
        user=user,
        cluster=f"orchestrator-{layout.folder.name}",
    )


def _command(name: str, layout: Layout, start: Record) -> list[str]:
    binary = start.binaries[name]
    if name == "etcd":
        return commands.etcd(binary, layout, start.ports, fsync=start.fsync)
    build = {
        "kube-apiserver": commands.apiserver,
        "kube-controller-manager": commands.controller_manager,
        "prometheus": commands.prometheus,
    }[name]
    return build(binary, layout, start.ports)

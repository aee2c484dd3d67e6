"""What of a control plane runs and answers now: asks, and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator_operator.local.commands import LOOPBACK
from orchestrator_operator.local.health import Health
from orchestrator_operator.local.parts import PARTS, checks
from orchestrator_operator.local.processes import Records

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator_operator.local.commands import Layout, Ports
    from orchestrator_operator.local.processes import Process
    from orchestrator_operator.local.record import Record


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the control plane, as it is now."""

    name: str
    pid: int | None  # None: it does not run
    ready: bool
    version: str
    address: str
    memory: int  # bytes, resident


@dataclass(frozen=True, slots=True)
class Status:
    """The control plane as it is now; up when every part is ready."""

    parts: tuple[Part, ...]

    @property
    def up(self) -> bool:
        """Whether everything runs and answers."""
        return bool(self.parts) and all(part.ready for part in self.parts)


def look(layout: Layout, known: Record) -> Status:
    """Ask the kernel which parts run, and those whether they are ready."""
    records = Records(layout.records)
    with Health(layout, known.ports) as health:
        ready = checks(health)
        return Status(tuple(_part(name, records.read(name), known, ready[name]) for name in PARTS))


def _part(name: str, process: Process | None, known: Record, ready: Callable[[], bool]) -> Part:
    running = process if process is not None and process.alive() else None
    return Part(
        name=name,
        pid=running.pid if running else None,
        ready=running is not None and ready(),
        version=known.versions.get(name, ""),
        address=_address(name, known.ports),
        memory=running.memory() if running else 0,
    )


def _address(name: str, ports: Ports) -> str:
    scheme, port = {
        "etcd": ("https", ports.etcd),
        "kube-apiserver": ("https", ports.apiserver),
        "kube-controller-manager": ("https", ports.controller_manager),
        "prometheus": ("http", ports.prometheus),
    }[name]
    return f"{scheme}://{LOOPBACK}:{port}"

"""What a load cost: the API server's own count of requests, and the processor time and memory of each process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator_operator.local.processes import Records

from tests.benchmarks import usage
from tests.support.api_requests import answered, reads, writes

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping

    from tests.support.live import ControlPlane

_PARTS = ("etcd", "kube-apiserver", "kube-controller-manager")


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters at one moment."""

    requests: Counter[str]
    cpu: dict[str, float]  # seconds, by process


@dataclass(frozen=True, slots=True)
class Meter:
    """Reads one control plane and the named processes beside it."""

    plane: ControlPlane
    pids: Mapping[str, int]

    def read(self) -> Reading:
        """The counters now."""
        return Reading(answered(self.plane), {name: usage.tree_cpu(pid) for name, pid in self._all()})

    def since(self, before: Reading, executions: int) -> dict[str, Any]:
        """What so many executions cost since then."""
        now = self.read()
        requests = now.requests - before.requests
        thousands = executions / 1000
        return {
            "requests": {what: count for what, count in sorted(requests.items()) if count * 100 >= executions},
            "writes_per_execution": writes(requests) / executions,
            "reads_per_execution": reads(requests) / executions,
            "cpu_s_per_1000": {name: (now.cpu[name] - before.cpu[name]) / thousands for name in now.cpu},
            "memory_mb": self.memory_mb(),
            "peak_mb": {name: round(_peak_mb(pid), 1) for name, pid in self.pids.items()},
        }

    def memory_mb(self) -> dict[str, float]:
        """What each process holds now; what several share counts once."""
        return {name: round(usage.tree_memory_mb(pid), 1) for name, pid in self._all()}

    def _all(self) -> Iterator[tuple[str, int]]:
        records = Records(self.plane.cluster.folder / "run")
        for part in _PARTS:
            if (found := records.read(part)) is not None:
                yield part, found.pid
        yield from self.pids.items()


def _peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024 / 1e6

"""What a load cost: the API server's own count of requests, and the processor time and memory of each process."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator_operator.local.processes import Records

from tests.benchmarks import usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.live import ControlPlane

_SAMPLE = re.compile(r"^apiserver_request_total\{([^}]*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_WRITES = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
_READS = frozenset({"GET", "LIST"})
_PARTS = ("etcd", "kube-apiserver", "kube-controller-manager")


def counted(text: str) -> Counter[str]:
    """Requests that the server answered, by `POST executions` or `PATCH executions/status`; refused ones: `… 409`.

    Leases are left out: those are the parts' own heartbeats, by the clock and not by the load.
    """
    found: Counter[str] = Counter()
    for labels, value in _SAMPLE.findall(text):
        said = dict(_LABEL.findall(labels))
        if said["resource"] in ("", "leases") or said["verb"] not in _WRITES | _READS:
            continue
        place = "/".join(filter(None, (said["resource"], said["subresource"])))
        code = "" if said["code"].startswith("2") else f" {said['code']}"
        found[f"{said['verb']} {place}{code}"] += round(float(value))
    return found


def writes(requests: Mapping[str, int]) -> int:
    """How many of them ask for a change, refused ones too."""
    return sum(count for what, count in requests.items() if what.partition(" ")[0] in _WRITES)


def reads(requests: Mapping[str, int]) -> int:
    """How many of them only ask; those of watches are not among them."""
    return sum(count for what, count in requests.items() if what.partition(" ")[0] in _READS)


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
        text = self.plane.background.run(self.plane.kubernetes.text("/metrics", query={}))
        return Reading(counted(text), {name: usage.tree_cpu(pid) for name, pid in self._all()})

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

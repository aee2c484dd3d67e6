"""The local control plane: a real Kubernetes API server and a real Prometheus on one machine, without Docker.

with running(folder) as cluster:
    subprocess.run([cluster.kubectl, "--kubeconfig", cluster.kubeconfig, "get", "namespaces"])
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from orchestrator_operator.local.cluster import DEFAULT_INTERVAL, LocalCluster
from orchestrator_operator.local.errors import (
    BuildFailed,
    Busy,
    LocalError,
    NotUp,
    PortTaken,
    StartFailed,
    ToolUnavailable,
)
from orchestrator_operator.local.places import cache_root, state_folder
from orchestrator_operator.local.progress import ConsoleReporter, Reporter, Silent
from orchestrator_operator.local.scraping import Target
from orchestrator_operator.local.sources import Found, Source
from orchestrator_operator.local.status import Part, Status
from orchestrator_operator.local.tools import Toolbox

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import timedelta
    from pathlib import Path

__all__ = [
    "DEFAULT_INTERVAL",
    "BuildFailed",
    "Busy",
    "ConsoleReporter",
    "Found",
    "LocalCluster",
    "LocalError",
    "NotUp",
    "Part",
    "PortTaken",
    "Reporter",
    "Silent",
    "Source",
    "StartFailed",
    "Status",
    "Target",
    "ToolUnavailable",
    "Toolbox",
    "cache_root",
    "running",
    "state_folder",
]


@contextmanager
def running(
    folder: Path,
    *,
    report: Reporter | None = None,
    fsync: bool = True,
    targets: Iterable[Target] | None = None,
    interval: timedelta = DEFAULT_INTERVAL,
) -> Iterator[LocalCluster]:
    """A control plane for the length of a `with`; it also ends when this process does. Gets the binaries first."""
    cluster = LocalCluster(folder, report=report)
    binaries = Toolbox(report=report or Silent()).get()
    try:
        cluster.up(binaries, fsync=fsync, targets=targets, interval=interval)
        yield cluster
    finally:
        cluster.down()

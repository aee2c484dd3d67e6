"""This operator under load: a namespace of a real control plane, one operator, one worker, PostgreSQL as it comes."""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator_operator.local import running

from tests.benchmarks import child, machine, servers
from tests.benchmarks.cluster.meter import Meter
from tests.benchmarks.load import STEPS
from tests.benchmarks.ours import chain
from tests.support.live import ControlPlane
from tests.support.site import execution, workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.support.site import Site

NAMESPACE, ALONE, WORKFLOW = "bench", "alone", "chain"
_SETTINGS = {
    "ORCHESTRATOR_V1": "off",  # everything runs on V2: what is measured is the operator, not the baseline
    "ORCHESTRATOR_LEASE": "15s",
    "ORCHESTRATOR_LOG_FORMAT": "json",  # as deploy/ has it
}
_PATIENCE = 120.0  # seconds without any end
_SETTLED = 6.0  # seconds: what kopf keeps of an object is gone then, and so is what a start costs


@dataclass(frozen=True, slots=True)
class Loads:
    """How much of each load. A count of 0 leaves it out."""

    alone: int = 1000  # resources that nobody handles, before and after: what the API server takes
    at_once: int = 16  # requests on their way
    paced: int = 1000  # resources at a steady rate
    rate: float = 50.0  # of them a second
    swept: int = 1000  # resources with a time to live
    swept_rate: float = 1000 / 60  # of them a second
    ttl: int = 20  # seconds
    profile: str = ""  # a file: cProfile's of the operator, which takes a third of its time


def measure(count: int, loads: Loads, tell: Callable[[str], None]) -> dict[str, Any]:
    """One size on a fresh control plane: the flood, then, with all of it present, the other loads."""
    with opened(loads, tell) as run:
        on = machine.describe()
        row: dict[str, Any] = {"resources": count, "at": on["at"], "load_average": on["load_average"]}
        row["alone_before"] = run.alone("before")
        row["idle"] = run.meter.memory_mb()
        row["idle_cpu_share"] = run.idle_cpu()
        row["flood"] = run.flood(count)
        row["alone_after"] = run.alone("after")
        row["paced"] = run.paced()
        row["restart"] = run.restart()
        row["swept"] = run.swept()
    return row


@dataclass(frozen=True, slots=True)
class Run:
    """The loads, on one site."""

    site: Site
    database_pid: int
    loads: Loads
    tell: Callable[[str], None]

    @property
    def meter(self) -> Meter:
        """Of the processes that run now."""
        pids = {name: self.site.process(name).pid for name in ("operator", "worker")}
        return Meter(self.site.plane, pids | {"postgresql": self.database_pid})

    def alone(self, when: str) -> dict[str, Any] | None:
        """The rate at which resources can be created where no operator looks."""
        if not self.loads.alone:
            return None
        found = self._load(f"alone-{when}", self.loads.alone, namespace=ALONE, until="answered")
        self.tell(f"  created alone, {when}: {found['created_per_second']:.0f}/s")
        return found

    def idle_cpu(self) -> dict[str, float]:
        """The share of a core that each process takes while nobody wants anything."""
        began, before = time.monotonic(), self.meter.read().cpu
        time.sleep(_SETTLED)  # what is measured is a span of time
        after, seconds = self.meter.read().cpu, time.monotonic() - began
        return {name: (after[name] - before[name]) / seconds for name in after}

    def flood(self, count: int, prefix: str = "flood") -> dict[str, Any]:
        """As many as the server takes, until all have ended."""
        before, stored = self.meter.read(), self._stored()
        found = self._load(prefix, count)
        found |= self.meter.since(before, count)
        found["stored_bytes_per_execution"] = (self._stored() - stored) / count
        self.tell(
            f"  {count} at once: created {found['created_per_second']:.0f}/s, ended {found['ended_per_second']:.0f}/s, "
            f"{found['writes_per_execution']:.2f} writes each"
        )
        return found

    def paced(self) -> dict[str, Any] | None:
        """A steady rate beside what is there: how long does one take when nobody is in its way?"""
        if not self.loads.paced:
            return None
        before = self.meter.read()
        found = self._load("paced", self.loads.paced, rate=self.loads.rate)
        found |= self.meter.since(before, self.loads.paced) | {"rate": self.loads.rate}
        took = found["to_end"]
        self.tell(f"  {self.loads.rate:g}/s: p50 {took['p50_s']:.2f} s, p99 {took['p99_s']:.2f} s")
        return found

    def restart(self) -> dict[str, Any]:
        """From the start of an operator's process to the end of an execution that was created before it."""
        self.site.stop("operator")
        self.site.create(execution("probe", WORKFLOW))
        before = self.meter.read()
        began = time.monotonic()
        self.site.start("operator")
        ready = time.monotonic() - began
        self.site.until_phase("probe", "Success")
        found: dict[str, Any] = {"ready_s": round(ready, 2), "first_end_s": round(time.monotonic() - began, 2)}
        time.sleep(_SETTLED)
        spent = self.meter.since(before, 1)
        found |= {"requests": spent["requests"]}
        found |= {what: spent[what]["operator"] for what in ("memory_mb", "peak_mb")}
        self.tell(f"  restart: ready after {ready:.1f} s, first execution over after {found['first_end_s']:.1f} s")
        return found

    def swept(self) -> dict[str, Any] | None:
        """A steady rate of executions that are deleted soon after their end."""
        if not self.loads.swept:
            return None
        before = self.meter.read()
        spec = {"ttlSecondsAfterFinished": self.loads.ttl}
        found = self._load("swept", self.loads.swept, rate=self.loads.swept_rate, until="gone", spec=spec)
        found |= self.meter.since(before, self.loads.swept) | {"rate": self.loads.swept_rate, "ttl_s": self.loads.ttl}
        late = found["after_due"]
        self.tell(f"  swept: gone {late['p50_s']:.2f} s after it was due, p99 {late['p99_s']:.2f} s")
        return found

    def _stored(self) -> int:
        """Bytes of the database, indexes included."""
        return int(self.site.query("SELECT pg_database_size(current_database()) AS bytes")[0]["bytes"])

    def _load(
        self,
        prefix: str,
        count: int,
        *,
        namespace: str = NAMESPACE,
        rate: float = 0.0,
        until: str = "over",
        spec: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        body = execution("", WORKFLOW, **(spec or {}))
        found = child.call(
            "tests.benchmarks.cluster.client:load",
            {
                "kubeconfig": str(self.site.plane.cluster.kubeconfig),
                "path": f"/apis/{body['apiVersion']}/namespaces/{namespace}/executions",
                "body": body,
                "prefix": prefix,
                "count": count,
                "at_once": self.loads.at_once,
                "rate": rate,
                "until": until,
                "patience": _PATIENCE,
            },
            patience=120 + count * 0.2 + (count / rate if rate else 0),
        )
        if "error" in found:
            raise RuntimeError(f"the load {prefix} failed: {found['error']}\nthe logs are in {self.site.logs}")
        if found["failed"]:
            raise RuntimeError(f"{found['failed']} executions of {prefix} ended {', '.join(found['phases'])}")
        return found


@contextmanager
def opened(loads: Loads, tell: Callable[[str], None]) -> Iterator[Run]:
    """A fresh control plane and PostgreSQL; the workflow is there, and one execution of it is over."""
    with (
        tempfile.TemporaryDirectory(prefix="orchestrator-cluster-") as scratch,
        servers.postgres() as server,
        running(Path(scratch) / "cluster", targets=(), interval=timedelta(seconds=15)) as cluster,
        ControlPlane(cluster, Path(scratch)).opened() as plane,
        plane.site(NAMESPACE, database=server.create_database(), operator=_SETTINGS, worker=_SETTINGS) as site,
    ):
        plane.kubectl("create", "namespace", ALONE)
        _start(site, loads)
        site.apply(workflow(WORKFLOW, *chain("transform", STEPS)["nodes"]))
        site.until_condition("Workflow", WORKFLOW, "Valid", "True")
        site.create(execution("warm", WORKFLOW))
        site.until_phase("warm", "Success")
        yield Run(site, server.pid, loads, tell)


def _start(site: Site, loads: Loads) -> None:
    site.start("worker")
    if not loads.profile:
        site.start("operator")
        return
    profiled = [sys.executable, "-m", "cProfile", "-o", str(Path(loads.profile).absolute())]
    site.start_instead("operator", command=[*profiled, "-m", "orchestrator.cli.main", "operator", "run"])

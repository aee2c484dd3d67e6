"""This engine beside its peers, on one PostgreSQL, in one run: rounds of short loads, interleaved, medians."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa

from tests.benchmarks import cell as cells
from tests.benchmarks import machine, pgbench, servers
from tests.benchmarks.cell import Cell
from tests.benchmarks.figures import best_limit, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.support.postgres import LocalPostgres

WORKLOADS = ("trivial", "http")
AT_ONCE = (1, 32, 256)
CONTENDERS = (
    "ours",
    "ours-transform",
    "ours-sqlite",
    "group-commit",
    "http-client",
    "dbos",
    "dbos-threads",
    "temporal",
    "temporal-memory",
)
TRIVIAL_ONLY = frozenset({"ours-transform", "ours-sqlite", "group-commit"})  # no HTTP step, or nothing new
HTTP_ONLY = frozenset({"http-client"})
_WARM_UP_LONGER = {"temporal": 4, "temporal-memory": 4}  # times: its server takes long to start many workflows at once
_BUSY = 0.5  # processes that want to run before we begin: above it, others take part in what is measured


@dataclass(frozen=True)
class Plan:
    """What to measure, and for how long."""

    contenders: Sequence[str] = CONTENDERS
    workloads: Sequence[str] = WORKLOADS
    at_once: Sequence[int] = AT_ONCE
    rounds: int = 3
    warmup: float = 2.0
    measured: float = 5.0
    drain: float = 4.0
    limit_seconds: float = 3.0  # for each number of pgbench's clients; 0: do not measure the limit
    profile: str = ""

    def loads(self) -> Iterator[tuple[str, int, str]]:
        """Workload, executions at once, contender: in the order of a round."""
        for workload in self.workloads:
            for at_once in self.at_once:
                for name in self.contenders:
                    if name not in (HTTP_ONLY if workload == "trivial" else TRIVIAL_ONLY):
                        yield workload, at_once, name


@dataclass(slots=True)
class Bench:
    """Runs a plan; `tell` gets a line for each load."""

    plan: Plan
    tell: Callable[[str], None]
    cells: list[dict[str, Any]] = field(default_factory=list)
    limits: list[dict[str, Any]] = field(default_factory=list)

    def run(self) -> dict[str, Any]:
        """Everything that was measured, and on what: JSON."""
        described = machine.describe()
        if (load := described["load_average"][0]) > _BUSY:
            self.tell(f"load average {load}: this machine is busy, so these numbers are a look and no result")
        began = time.monotonic()
        with ExitStack() as stack:
            server = stack.enter_context(servers.postgres())
            url = stack.enter_context(servers.http_service()) if "http" in self.plan.workloads else ""
            for number in range(1, self.plan.rounds + 1):
                self._limits(server, number)
                for workload, at_once, name in self.plan.loads():
                    self._load(server, url, number, workload, at_once, name)
            database = machine.postgres(_plain(server.url()))
        return {
            "machine": described,
            "minutes": round((time.monotonic() - began) / 60, 1),
            "postgresql": database,
            "versions": machine.versions() | {"temporal": servers.temporal_version()},
            "method": {
                "rounds": self.plan.rounds,
                "warmup_s": self.plan.warmup,
                "measured_s": self.plan.measured,
                "pgbench_table": pgbench.TABLE,
                "pgbench_script": pgbench.SCRIPT.strip(),
            },
            "configuration": cells.configurations(),
            "limit": {"rounds": self.limits, "best": best_limit(self.limits)},
            "summary": summary(self.cells),
            "rounds": self.cells,
        }

    def _limits(self, server: LocalPostgres, number: int) -> None:
        if not self.plan.limit_seconds:
            return
        for clients in pgbench.CLIENTS:
            measured = pgbench.measure(server, clients, self.plan.limit_seconds)
            self.limits.append({"round": number, **measured})
            self.tell(f"{number}/{self.plan.rounds} pgbench {clients} clients: {measured['commits_per_second']:,.0f}/s")

    def _load(self, server: LocalPostgres, url: str, number: int, workload: str, at_once: int, name: str) -> None:
        label = {"round": number, "contender": name, "workload": workload, "at_once": at_once}
        with _home(server, name) as (address, pid):
            cell = Cell(
                contender=name,
                workload=workload,
                at_once=at_once,
                address=address,
                server_pid=pid,
                warmup=self.plan.warmup * (_WARM_UP_LONGER.get(name, 1) if at_once > 1 else 1),
                measured=self.plan.measured,
                drain=self.plan.drain,
                url=url,
                profile=self.plan.profile,
            )
            measured = cells.run(cell)
        self.cells.append(label | measured)
        told = (
            f"{measured['steps_per_second']:,.0f} steps/s, p50 {measured['p50_ms']:,.0f} ms, "
            f"p99 {measured['p99_ms']:,.0f} ms"
            if "error" not in measured
            else f"FAILED: {measured['error'].splitlines()[-1]}"
        )
        self.tell(f"{number}/{self.plan.rounds} {workload} x{at_once} {name}: {told}")


@contextmanager
def _home(server: LocalPostgres, contender: str) -> Iterator[tuple[str, int]]:
    """Where a contender keeps its state: an address and the process to watch. Fresh, and gone afterwards."""
    if contender.startswith("temporal"):
        with servers.temporal(in_memory=contender.endswith("memory")) as home:
            yield home
        return
    if contender.endswith("sqlite"):
        folder = Path(tempfile.mkdtemp(prefix="orchestrator-sqlite-"))
        try:
            yield f"sqlite:///{folder / 'bench.db'}", 0
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    url = server.create_database()
    with _admin(server) as connection:
        connection.execute("CHECKPOINT")  # nobody pays for the writes of the one before
    try:
        yield url, server.pid
    finally:
        with _admin(server) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{sa.make_url(url).database}" WITH (FORCE)'.encode())


def _admin(server: LocalPostgres) -> psycopg.Connection:
    return psycopg.connect(_plain(server.url()), autocommit=True)


def _plain(url: str) -> str:
    return url.replace("+psycopg", "")

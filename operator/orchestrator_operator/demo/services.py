"""The demo's own three processes beside the control plane: the shop, the operator and a worker."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from orchestrator_operator.local import LocalError, Target, processes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestrator_operator.local.processes import Process, Records

HOST = "127.0.0.1"
NAMESPACE = "orchestrator"
SERVICE_ACCOUNT = "orchestrator-operator"
FLAG_SECRET = "orchestrator-flags"  # noqa: S105 - the name of the Secret, not what is in it

_READY = 60.0  # seconds until a service answers
_POLL = 0.1
_GRACE = 15.0  # seconds between SIGTERM and SIGKILL: a worker lets its steps end


@dataclass(frozen=True, slots=True)
class Ports:
    """Where each service listens."""

    shop: int
    operator: int
    worker: int

    @classmethod
    def choose(cls) -> Ports:
        """Three ports that are free now; held all at once, so that none is chosen twice."""
        sockets = [socket.socket() for _ in range(3)]
        try:
            for one in sockets:
                one.bind((HOST, 0))
            return cls(*(one.getsockname()[1] for one in sockets))
        finally:
            for one in sockets:
                one.close()


@dataclass(frozen=True, slots=True)
class Service:
    """One process: its command line, its settings, and the address that tells when it is ready."""

    name: str
    command: Sequence[str]
    ready: str
    environ: Mapping[str, str] = field(default_factory=dict)


def services(folder: Path, ports: Ports, *, kubeconfig: Path, prometheus: str) -> list[Service]:
    """All three, in the order of their start."""
    database = f"sqlite:///{folder / 'store.db'}"
    orchestrator = [sys.executable, "-m", "orchestrator.cli.main"]
    return [
        Service(
            "shop",
            [
                *(sys.executable, "-m", "orchestrator_operator.demo.shop"),
                *("--port", str(ports.shop), "--database", str(folder / "ledger.db")),
            ],
            f"http://{HOST}:{ports.shop}/healthz",
        ),
        Service(
            "operator",
            [*orchestrator, "operator", "run"],
            f"http://{HOST}:{ports.operator}/healthz",
            {
                "KUBECONFIG": str(kubeconfig),
                "ORCHESTRATOR_NAMESPACE": NAMESPACE,
                "ORCHESTRATOR_DATABASE": database,
                "ORCHESTRATOR_FLAG_SECRET": FLAG_SECRET,
                "ORCHESTRATOR_PROMETHEUS": prometheus,
                "ORCHESTRATOR_METRICS_PORT": str(ports.operator),
                "ORCHESTRATOR_IDENTITY": "operator",
            },
        ),
        Service(
            "worker",
            [*orchestrator, "worker", "--database", database, "--metrics-port", str(ports.worker)],
            f"http://{HOST}:{ports.worker}/metrics",
            {
                "ORCHESTRATOR_HTTP_ALLOW": f"{HOST}:{ports.shop}"
            },  # that one port of this machine, and nothing else of it
        ),
    ]


def targets(ports: Ports, namespace: str) -> list[Target]:
    """What Prometheus scrapes, labelled as in a cluster."""
    return [
        Target("operator", f"{HOST}:{ports.operator}", namespace),
        Target("worker", f"{HOST}:{ports.worker}", namespace),
    ]


async def start(service: Service, *, records: Records, logs: Path, detached: bool) -> Process:
    """Start a service and wait until it answers; LocalError with the end of its log when it does not."""
    log = logs / f"{service.name}.log"
    process = processes.start(
        service.name,
        service.command,
        records=records,
        log=log,
        detached=detached,
        environ={**os.environ, "PYTHONUNBUFFERED": "1", **service.environ},
    )
    async with httpx.AsyncClient(trust_env=False, timeout=2.0) as client:
        for _ in range(int(_READY / _POLL)):
            if not process.alive():
                raise LocalError(f"the {service.name} ended at once; its log is {log}, and ends with:\n{tail(log)}")
            if await _answers(client, service.ready):
                return process
            await asyncio.sleep(_POLL)
    raise LocalError(
        f"the {service.name} did not get ready in {_READY:.0f} s; its log is {log}, ends with:\n{tail(log)}"
    )


def stop_all(records: Records) -> bool:
    """Stop what runs, the worker first, so that nobody is asked for what is gone already; whether anything ran."""
    ran = False
    for name in ("worker", "operator", "shop"):
        process = records.read(name)
        if process is not None and process.alive():
            ran = True
            processes.stop(process, _GRACE)
        records.forget(name)
    return ran


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return "\n".join(text.splitlines()[-lines:])


async def _answers(client: httpx.AsyncClient, address: str) -> bool:
    try:
        return (await client.get(address)).is_success
    except httpx.HTTPError:
        return False

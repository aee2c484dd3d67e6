"""A ledger behind HTTP in a process of its own: the demo's shop, whose books tell requests from effects.

It honours `Idempotency-Key`. Its books are read from its database, so they can be read while it is down.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import httpx

from tests.support.fleet import ROOT, free_port
from tests.support.polling import eventually
from tests.support.stores import workflow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.model import Workflow

# Patient enough to outlive whatever a test does to the ledger or to what lies between.
_PATIENT = {"maxAttempts": 1000, "initialInterval": "50ms", "maxInterval": "500ms"}


@dataclass(frozen=True, slots=True)
class Books:
    """What the ledger received and what it did: keys by execution."""

    requests: int
    repeats: int  # requests whose key had had its effect before
    effects: Mapping[str, frozenset[str]]
    doubled: tuple[str, ...]  # keys that had more than one effect


class LedgerProcess:
    """The service. Use it in a `with`; `kill` and `start` keep the books."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._database, self._log = folder / "ledger.db", folder / "ledger.log"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        return self._port

    def start(self) -> None:
        """Start it on the same port; returns when it answers."""
        command = [sys.executable, "-m", "orchestrator_operator.demo.shop", "--port", str(self._port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--database", str(self._database)],
                env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'operator'}"},
                stdout=log,
                stderr=log,
            )
        eventually(self._answers, "the ledger answers")

    def kill(self) -> None:
        """SIGKILL: requests that it committed and did not answer are for their callers to repeat."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def requests(self) -> int:
        """How many requests it has received so far."""
        return int(self._ask("SELECT coalesce(max(id), 0) FROM requests")[0][0])

    def books(self) -> Books:
        effects: dict[str, set[str]] = defaultdict(set)
        for order, key in self._ask('SELECT "order", key FROM effects'):
            effects[order].add(key)
        ((requests, repeats),) = self._ask("SELECT count(*), coalesce(sum(replayed), 0) FROM requests")
        doubled = self._ask(
            "SELECT key FROM requests WHERE status = 200 AND NOT replayed GROUP BY key HAVING count(*) > 1"
        )
        return Books(requests, repeats, {o: frozenset(k) for o, k in effects.items()}, tuple(k for (k,) in doubled))

    def _ask(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self._database, timeout=30)) as database:
            return database.execute(query).fetchall()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=5, trust_env=False).is_success
        except httpx.HTTPError:
            return False


def rounds(ledger: str, length: int, width: int, name: str = "rounds") -> Workflow:
    """`length` rounds, one after the other, of `width` ledger calls side by side."""
    nodes = []
    for number in range(length):
        needs = [f"r{number - 1}s{step}" for step in range(width)] if number else []
        body = {"order": "${execution.id}"}
        with_ = {"method": "POST", "url": f"{ledger}/reserve", "body": body}
        nodes += [{"id": f"r{number}s{step}", "type": "http", "needs": needs, "with": with_} for step in range(width)]
    return workflow({"nodes": nodes, "defaults": {"timeout": "5s", "retry": _PATIENT}}, name)


def keys(execution_id: str, length: int, width: int) -> frozenset[str]:
    """The idempotency keys that an execution of `rounds` has to have used, each once."""
    return frozenset(f"{execution_id}/r{number}s{step}" for number in range(length) for step in range(width))

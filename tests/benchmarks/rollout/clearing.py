"""From clearing the flag to the last start on V2: many clears on a real API server, under a stream of Executions.

Each way of clearing has a namespace with an operator and a worker of its own; all of them share the machine. A clear is
measured from the moment at which a watch of the Secret tells that no key is left, to the moment at which the router
sent its last execution to V2 (0 if that was before); it is over when 2.5 seconds went by without one.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator_operator.local import running

from orchestrator.flag import KEYS
from tests.benchmarks import machine
from tests.benchmarks.report import number, table
from tests.support.flag_tape import FlagTape, State
from tests.support.live import ControlPlane
from tests.support.polling import eventually
from tests.support.rollout_documents import rollout
from tests.support.site import execution, orders
from tests.support.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.support.site import Site

RATE = 8.0  # executions a second, of each way
PERCENT = 50.0
_QUIET = timedelta(seconds=2.5)
_WITNESSES = 4  # starts on V2 before a clear, and on V1 after it, without which it shows nothing
_SHOWN = (50, 99, 100)


def patched(site: Site) -> None:
    """A person's `kubectl patch`."""
    site.set_flag(dict.fromkeys(KEYS))


def unset(site: Site) -> None:
    """A person's `orchestrator flag unset`."""
    command = [sys.executable, "-m", "orchestrator.cli.main", "flag", "unset", "--namespace", site.namespace]
    environ = os.environ | {"KUBECONFIG": str(site.plane.cluster.kubeconfig)}
    subprocess.run(command, env=environ, check=True, capture_output=True, timeout=120)


def failing(site: Site) -> None:
    """V2 fails from now on: the controller convicts it."""
    site.set_faults(1.0)


WAYS: dict[str, Callable[[Site], None]] = {
    "kubectl patch": patched,
    "orchestrator flag unset": unset,
    "rollback by the controller": failing,
}


def run(tell: Callable[[str], None], seconds: float) -> dict[str, Any]:
    """Every way for so long, at once."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orchestrator-clearing-")))
        second = timedelta(seconds=1)
        cluster = stack.enter_context(running(folder / "cluster", fsync=False, targets=(), interval=second))
        plane = stack.enter_context(ControlPlane(cluster, folder).opened())
        clears = [
            _Clears(stack.enter_context(plane.site(f"clears-{place}")), way, tell) for place, way in enumerate(WAYS)
        ]
        with ThreadPoolExecutor(len(clears)) as pool:
            rows = list(pool.map(lambda one: one.run(time.monotonic() + seconds), clears))
    return {"machine": machine.describe(), "rate": RATE, "percent": PERCENT, "rows": rows}


@dataclass
class _Clears:
    """One way of clearing, again and again on one rollout."""

    site: Site
    way: str
    tell: Callable[[str], None]
    seconds: list[float] = field(default_factory=list)  # of each clear
    starts: list[int] = field(default_factory=list)  # on V2 after each clear

    def run(self, deadline: float) -> dict[str, Any]:
        site = self.site
        site.start()
        site.apply(orders(site.shop, steps=1))
        site.until_condition("Workflow", "orders", "Valid", "True")
        stages = (int(PERCENT), "1h"), (100, "1h")
        site.apply(rollout("v2", *stages, rollback={"inFlight": "Drain", "cooldown": "0s"}))
        make = Stream(site, lambda n: execution(f"order-{n}", "orders", {"order": f"order-{n}"}), RATE)
        with FlagTape(site) as tape, make:
            while time.monotonic() < deadline or not self.seconds:
                self._clear(tape)
                self._arm_again()
        return {"way": self.way, "seconds": [round(one, 3) for one in self.seconds], "starts": self.starts}

    def _clear(self, tape: FlagTape) -> None:
        on = eventually(lambda: state if (state := tape.states[-1]).percent == PERCENT else None, "a flag that is set")
        eventually(lambda: len(self._routed("v2", on.at)) >= _WITNESSES, "starts on V2")
        before = len(tape.states)
        WAYS[self.way](self.site)
        cleared = eventually(lambda: _clear_one(tape.states[before:]), "a flag that is clear")
        self.site.set_faults(0.0)
        late = eventually(lambda: self._over(cleared.at), "V1 alone")
        self.seconds.append(max([0.0, *((moment - cleared.at).total_seconds() for moment in late)]))
        self.starts.append(len(late))
        self.tell(f"{self.way}: {self.seconds[-1]:.2f} s, {len(late)} starts on V2")

    def _over(self, cleared: datetime) -> _Found | None:
        """The starts on V2 after a moment, when there are no more of them; None before that."""
        late = self._routed("v2", cleared)
        last = max(late, default=cleared)
        since = self._routed("v1", last)
        if datetime.now(UTC) - last < _QUIET or len(since) < _WITNESSES:
            return None
        return _Found(late)

    def _arm_again(self) -> None:
        status = self.site.until_status("EngineRollout", "v2", lambda s: s["phase"] == "RolledBack", "RolledBack")
        patch = json.dumps({"spec": {"attempt": status["attempt"] + 1}})
        self.site.kubectl("patch", "enginerollout", "v2", "--type=merge", "-p", patch)

    def _routed(self, engine: str, since: datetime) -> list[datetime]:
        """When the router sent executions to an engine, newest first, after a moment."""
        rows = self.site.query(
            "SELECT created_at FROM workflow_executions "
            f"WHERE engine = '{engine}' AND assignment = 'execution' ORDER BY created_at DESC LIMIT 200"
        )
        found = [datetime.fromisoformat(str(row["created_at"])) for row in rows]
        moments = [one if one.tzinfo else one.replace(tzinfo=UTC) for one in found]
        return [moment for moment in moments if moment > since]


class _Found(list[datetime]):
    """A list that is true even when it is empty: there was an answer."""

    def __bool__(self) -> bool:
        return True


def _clear_one(states: list[State]) -> State | None:
    return next((state for state in states if state.clear), None)


def percentile(values: list[float], share: int) -> float:
    """By nearest rank."""
    return sorted(values)[max(0, math.ceil(len(values) * share / 100) - 1)]


def as_table(result: Mapping[str, Any]) -> str:
    """The published table."""
    rows = [*result["rows"]]
    everything = {
        "way": "all of them",
        "seconds": [one for row in rows for one in row["seconds"]],
        "starts": [one for row in rows for one in row["starts"]],
    }
    header = (
        "way",
        "clears",
        *("the longest" if share == _SHOWN[-1] else f"{share} % within" for share in _SHOWN),
        "most starts on V2",
    )
    lines = [
        (
            row["way"],
            number(len(row["seconds"])),
            *(f"{percentile(row['seconds'], share):.2f} s" for share in _SHOWN),
            number(max(row["starts"])),
        )
        for row in [*rows, everything]
    ]
    return f"{_on(result['machine'])}\n\n{table(header, lines)}\n"


def _on(on: Mapping[str, Any]) -> str:
    return f"Measured {on['at']}: {on['cpu']}, {on['cores']} cores, {on['memory_gb']} GB, load {on['load_average'][0]}."

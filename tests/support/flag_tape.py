"""Every state that the flag's Secret ever had, as the API server tells it: no look comes too late."""

from __future__ import annotations

import json
import subprocess
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

from orchestrator_operator.adapters.flag import snapshot
from orchestrator_operator.demo.services import FLAG_SECRET

from orchestrator.flag import ENABLED, PERCENT, is_on
from tests.support.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.site import Site

RAISING = frozenset({"Start", "Promote", "Complete", "SetPercent"})  # decisions that may raise what V2 gets
OPERATOR = "orchestrator-operator"  # the manager of the fields that the operator writes


@dataclass(frozen=True, slots=True)
class State:
    """The flag at one version of its Secret."""

    at: datetime  # when we were told
    percent: float  # that routers send to V2, had it not expired
    clear: bool  # no key is left
    manager: str  # who wrote the percent last; "" where there is no key


class FlagTape:
    """`kubectl get --watch` of the Secret until the block ends."""

    def __init__(self, site: Site) -> None:
        cluster = site.plane.cluster
        command = [str(cluster.kubectl), "--kubeconfig", str(cluster.kubeconfig), f"--namespace={site.namespace}"]
        watch = ("get", "secret", FLAG_SECRET, "--watch", "--show-managed-fields", "--output=json")
        self._command = [*command, *watch]
        self._states: list[State] = []
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()
        eventually(lambda: self._states, "the flag as it is now")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def states(self) -> list[State]:
        return list(self._states)

    def until_clear(self, what: str) -> State:
        """The last state, when it is one without any key."""
        return eventually(lambda: self._states[-1] if self._states[-1].clear else None, what)

    def _read(self, output: Any) -> None:
        """An object ends with a brace at the beginning of a line: kubectl indents all others."""
        lines: list[str] = []
        for line in output:
            lines.append(line)
            if line.startswith("}"):
                self._states.append(_state(json.loads("".join(lines))))
                lines = []


def _state(secret: Mapping[str, Any]) -> State:
    found = snapshot(secret)
    values = found.values
    percent = float(values.percent or 100) if is_on(values) else 0.0
    manager = found.managers.get(PERCENT) or found.managers.get(ENABLED, "")
    return State(datetime.now(UTC), percent, values.clear, manager)


def unexplained(site: Site, states: Sequence[State]) -> list[float]:
    """The percents that the operator raised the flag to more often than its log says that it decided to."""
    rises = Counter(
        now.percent for before, now in pairwise(states) if now.percent > before.percent and now.manager == OPERATOR
    )
    decided = Counter(
        float(row["planned"]["status"]["percent"])
        for row in recorded(site)
        if row["action"] in RAISING and row.get("planned")
    )
    return [percent for percent, often in rises.items() if often > decided[percent]]


def undone(site: Site) -> list[str]:
    """The decisions by which a rollout went on after its rollback without a person who armed it anew.

    The log's own order counts: a clock may have been turned back between two of its rows.
    """
    over: dict[str, bool] = {}
    found = []
    for row in sorted(recorded(site), key=lambda one: (one["rollout"], one["number"])):
        if row["action"] in RAISING and over.get(row["rollout"]):
            found.append(f"row {row['number']}: {row['action']} ({row['reason']})")
        if row["action"] in ("RollBack", "Rearm"):
            over[row["rollout"]] = row["action"] == "RollBack"
    return found


def recorded(site: Site) -> list[dict[str, Any]]:
    """The log of decisions, oldest first: each row with its content; what was decided in one breath shares it."""
    found: list[dict[str, Any]] = []
    for row in site.query("SELECT rollout, number, action, reason, content FROM rollout_decisions ORDER BY at, number"):
        content = json.loads(row["content"])
        if "same" in content:
            whole = next(one for one in found if (one["rollout"], one["number"]) == (row["rollout"], content["same"]))
            content = {key: whole[key] for key in ("planned",)}
        found.append({**content, **{key: row[key] for key in ("rollout", "number", "action", "reason")}})
    return found

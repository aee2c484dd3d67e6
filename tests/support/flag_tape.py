"""Every state that the flag's Secret ever had, as the API server tells it: no look comes too late."""

from __future__ import annotations

import json
import subprocess
import threading
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
_AGAIN, _WITHIN = 0.1, 30.0  # seconds until the API server is asked again, and that it may take
OPERATOR = "orchestrator-operator"  # the manager of the fields that the operator writes


@dataclass(frozen=True, slots=True)
class State:
    """The flag at one version of its Secret."""

    at: datetime  # when we were told
    percent: float  # that routers send to V2, had it not expired
    clear: bool  # no key is left
    manager: str  # who wrote the percent last; "" where there is no key
    data: Any = None  # the Secret's own


class FlagTape:
    """A watch of the Secret until the block ends; one that breaks is taken up where it was.

    Where the API server does not know that version any more, after a restart of its own, the tape goes on with the
    Secret as it is then: while the server was away nobody could write.
    """

    def __init__(self, site: Site) -> None:
        cluster = site.plane.cluster
        self._command = [str(cluster.kubectl), "--kubeconfig", str(cluster.kubeconfig), "get", "--raw"]
        self._secrets = f"/api/v1/namespaces/{site.namespace}/secrets"
        self._states: list[State] = []
        self._process: subprocess.Popen[str] | None = None
        self._over = threading.Event()
        self._version = ""  # the Secret's, of the last state; "" while it must be read first

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, daemon=True).start()
        eventually(lambda: self._states, "the flag as it is now")
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def states(self) -> list[State]:
        return list(self._states)

    def until_clear(self, what: str) -> State:
        """The last state, when it is one without any key."""
        return eventually(lambda: self._states[-1] if self._states[-1].clear else None, what)

    def _watch(self) -> None:
        while not self._over.is_set():
            if not self._version:
                self._read()
            elif not self._follow():
                self._over.wait(_AGAIN)

    def _read(self) -> None:
        """The Secret as it is now."""
        url = f"{self._secrets}?fieldSelector=metadata.name%3D{FLAG_SECRET}"
        said = subprocess.run([*self._command, url], capture_output=True, text=True, check=False, timeout=_WITHIN)
        if said.returncode:  # the API server is away
            self._over.wait(_AGAIN)
            return
        found = json.loads(said.stdout)
        self._version = found["metadata"]["resourceVersion"]
        for secret in found["items"] or [{}]:
            if not self._states or secret.get("data") != self._states[-1].data:
                self._states.append(_state(secret))

    def _follow(self) -> bool:
        """Each change as a line of its own, until the watch breaks; whether any came."""
        watch = f"?watch=true&resourceVersion={self._version}&fieldSelector=metadata.name%3D{FLAG_SECRET}"
        command = [*self._command, self._secrets + watch]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            self._process, any_came = process, False
            for line in process.stdout or ():
                if not line.endswith("\n"):  # cut off in the middle: it comes again
                    break
                event = json.loads(line)
                if event["type"] == "ERROR":
                    self._version = ""
                    break
                self._version, any_came = event["object"]["metadata"]["resourceVersion"], True
                self._states.append(_state({} if event["type"] == "DELETED" else event["object"]))
            process.kill()
        return any_came


def _state(secret: Mapping[str, Any]) -> State:
    found = snapshot(secret)
    values = found.values
    percent = float(values.percent or 100) if is_on(values) else 0.0
    manager = found.managers.get(PERCENT) or found.managers.get(ENABLED, "")
    return State(datetime.now(UTC), percent, values.clear, manager, secret.get("data"))


def unexplained(site: Site, states: Sequence[State], of: str = "") -> list[float]:
    """The percents to which the operator raised the flag without a row of their own in the log of decisions.

    The states must begin before the first of these rows was written: with the rollout whose uid is `of`, or with all.
    """
    return unmatched([row for row in recorded(site) if of in ("", row["rollout"])], states)


def unmatched(rows: Sequence[Mapping[str, Any]], states: Sequence[State]) -> list[float]:
    """The operator's rises, in their order, each to the next row that can have been its reason; what is left over.

    A row by which the flag was set back after an edit explains a rise from what somebody else had written, and no
    other. So many as there are of them, none makes up for a decision that is missing.
    """
    waiting = iter([row for row in rows if row["action"] in RAISING and row.get("planned")])
    found = []
    for before, now in pairwise(states):
        if now.percent <= before.percent or now.manager != OPERATOR:
            continue
        set_back = before.manager not in (OPERATOR, "")
        if not any(_explains(row, now.percent, set_back=set_back) for row in waiting):
            found.append(now.percent)
    return found


def _explains(row: Mapping[str, Any], percent: float, *, set_back: bool) -> bool:
    return float(row["planned"]["status"]["percent"]) == percent and (set_back or row["reason"] != "FlagEdited")


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
    """The log of decisions, rollout by rollout, the oldest first, each in the order of its own numbers.

    Each row with its content; what was decided in one breath shares it.
    """
    found: list[dict[str, Any]] = []
    rows = site.query("SELECT rollout, number, at, action, reason, content FROM rollout_decisions ORDER BY number")
    began = {row["rollout"]: row["at"] for row in reversed(rows)}
    for row in sorted(rows, key=lambda row: (began[row["rollout"]], row["rollout"], row["number"])):
        content = json.loads(row["content"])
        if "same" in content:
            whole = next(one for one in found if (one["rollout"], one["number"]) == (row["rollout"], content["same"]))
            content = {key: whole[key] for key in ("planned",)}
        found.append({**content, **{key: row[key] for key in ("rollout", "number", "action", "reason")}})
    return found

"""One namespace on a real API server with its own operator, worker, shop, store and flag."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
from orchestrator_operator.adapters.kubernetes import NotFound, decode
from orchestrator_operator.demo import services
from orchestrator_operator.demo.ledger import Summary
from orchestrator_operator.demo.services import FLAG_SECRET, HOST, Ports
from orchestrator_operator.local import Target, processes
from orchestrator_operator.local.processes import Process, Records
from orchestrator_operator.specs import EXECUTIONS, GROUP, ROLLOUTS, VERSION, WORKFLOWS, Resource
from psycopg.rows import dict_row

from orchestrator.flag import KEYS
from tests.support.polling import PATIENCE, eventually
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator_operator.demo.services import Service

    from tests.support.live import ControlPlane, Said

KINDS = {"Workflow": WORKFLOWS, "Execution": EXECUTIONS, "EngineRollout": ROLLOUTS}
PERCENT = "USE_ORCHESTRATOR_V2_PERCENT"
EXPIRES = "USE_ORCHESTRATOR_V2_EXPIRES"
ENABLED = "USE_ORCHESTRATOR_V2"
OVER = frozenset({"Success", "Failed", "Cancelled"})

_GRACE = 20.0  # seconds between SIGTERM and SIGKILL
_LEASE = "2s"  # a killed worker's executions are another's so soon


class Site:
    """Processes by name (`shop`, `operator`, `worker`), resources by kubectl and by the administrator's client."""

    def __init__(
        self,
        plane: ControlPlane,
        namespace: str,
        folder: Path,
        account: Path,
        *,
        database: str | None,
        operator: Mapping[str, str],
        worker: Mapping[str, str],
    ) -> None:
        self.plane, self.namespace, self.folder, self.account = plane, namespace, folder, account
        self.ports = Ports.choose()
        self.second_port = 0  # of the second operator, once there was one
        self._sqlite = f"sqlite:///{folder / 'store.db'}"  # as demo.services has it
        self.database = database or self._sqlite
        self.notes: dict[str, Any] = {}  # what a fixture remembers for its tests
        self.logs = folder / "logs"
        self._records = Records(folder / "run")
        self._settings = {
            "operator": {"ORCHESTRATOR_NAMESPACE": namespace, "ORCHESTRATOR_DATABASE": self.database, **operator},
            "worker": {"ORCHESTRATOR_LEASE": _LEASE, **worker},
            "shop": {},
        }

    @property
    def shop(self) -> str:
        return f"http://{HOST}:{self.ports.shop}"

    # -- processes
    def start(self, *names: str) -> None:
        """Start these at once, and return when each answers; by default all three."""
        chosen = names or ("shop", "operator", "worker")
        prometheus = self.plane.cluster.prometheus_url
        known = services.services(self.folder, self.ports, kubeconfig=self.account, prometheus=prometheus)

        async def start() -> None:
            await asyncio.gather(*(self._start(service) for service in known if service.name in chosen))

        self.plane.background.run(start())

    def start_instead(
        self, name: str, *, command: Sequence[str] = (), environ: Mapping[str, str] | None = None
    ) -> None:
        """A process of that name by another command, or with more settings; killed and stopped by its name."""
        prometheus = self.plane.cluster.prometheus_url
        known = services.services(self.folder, self.ports, kubeconfig=self.account, prometheus=prometheus)
        service = next(service for service in known if service.name == name)
        instead = replace(service, command=list(command) or service.command)
        self.plane.background.run(self._start(instead, environ or {}))

    def start_second_operator(self, environ: Mapping[str, str] | None = None) -> None:
        """Another operator on the same namespace, store and flag: `operator-2`; scraped as well."""
        prometheus = self.plane.cluster.prometheus_url
        known = services.services(self.folder, self.ports, kubeconfig=self.account, prometheus=prometheus)
        first = next(service for service in known if service.name == "operator")
        port = self.second_port = self.second_port or free_port()
        second = replace(
            first,
            name="operator-2",
            ready=f"http://{HOST}:{port}/healthz",
        )
        self._settings["operator-2"] = {**self._settings["operator"], "ORCHESTRATOR_METRICS_PORT": str(port)}
        self._settings["operator-2"]["ORCHESTRATOR_IDENTITY"] = "operator-2"
        self.plane.background.run(self._start(second, environ or {}))
        self.plane.scrape()

    @property
    def targets(self) -> list[Target]:
        """What Prometheus scrapes of this site."""
        second = [Target("operator", f"{HOST}:{self.second_port}", self.namespace)] if self.second_port else []
        return services.targets(self.ports, self.namespace) + second

    async def _start(self, service: Service, environ: Mapping[str, str] = MappingProxyType({})) -> None:
        command = [self.database if word == self._sqlite else word for word in service.command]
        settings = {**service.environ, **self._settings[service.name], **environ}
        # alive is enough: some tests start it while what it needs to be ready is away
        ready = service.ready.replace("/healthz", "/livez") if service.name.startswith("operator") else service.ready
        mine = replace(service, command=command, environ=settings, ready=ready)
        await services.start(mine, records=self._records, logs=self.logs, detached=False)

    def kill(self, *names: str) -> None:
        """SIGKILL: nothing gets a chance to tidy up."""
        for name in names:
            processes.stop(self.process(name), grace=0)

    def freeze(self, name: str) -> None:
        """SIGSTOP: it hears nothing and answers nothing; what is sent to it waits in the kernel."""
        os.kill(self.process(name).pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        os.kill(self.process(name).pid, signal.SIGCONT)

    def unheard(self) -> int:
        """Connections to the shop with bytes that it has not read."""
        port = f"{self.ports.shop:04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
        return sum(row[1].endswith(f":{port}") and int(row[4].split(":")[1], 16) > 0 for row in rows)

    def stop(self, *names: str) -> None:
        """SIGTERM, and wait."""
        for name in names:
            processes.stop(self.process(name), _GRACE)

    def process(self, name: str) -> Process:
        found = self._records.read(name)
        assert found is not None, f"{name} was never started"
        return found

    def end(self) -> None:
        for name in ("worker", "operator-2", "operator", "shop"):
            if (found := self._records.read(name)) is not None:
                processes.stop(found, grace=0)

    # -- kubectl
    def kubectl(self, *arguments: str, stdin: Any = None) -> str:
        """Kubectl as the administrator, in this namespace."""
        return self.plane.kubectl(f"--namespace={self.namespace}", *arguments, stdin=stdin)

    def ask(self, *arguments: str, stdin: Any = None) -> Said:
        """The same, where a refusal is an answer."""
        return self.plane.ask(f"--namespace={self.namespace}", *arguments, stdin=stdin)

    def apply(self, *documents: Mapping[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": documents})

    def create(self, *documents: Mapping[str, Any]) -> None:
        """Without kubectl's annotation that repeats the object: for many."""
        self.kubectl("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": documents})

    # -- what is there now
    def get(self, kind: str, name: str) -> dict[str, Any]:
        return self.plane.background.run(self.plane.kubernetes.get(KINDS[kind], self.namespace, name))

    def all(self, kind: str) -> list[dict[str, Any]]:
        return self.plane.background.run(self.plane.kubernetes.list(KINDS[kind], self.namespace))

    def status(self, kind: str, name: str) -> dict[str, Any]:
        return self.get(kind, name).get("status") or {}

    def condition(self, kind: str, name: str, type_: str) -> dict[str, Any]:
        """A condition, or {} while there is none of that type."""
        found = self.status(kind, name).get("conditions") or ()
        return next((one for one in found if one["type"] == type_), {})

    def events(self, kind: str, name: str) -> list[dict[str, Any]]:
        """The Kubernetes Events about an object."""
        selector = f"involvedObject.kind={kind},involvedObject.name={name}"
        answer = self.kubectl("get", "events", f"--field-selector={selector}", "-o", "json")
        items: list[dict[str, Any]] = json.loads(answer)["items"]
        return items

    def exists(self, kind: str, name: str) -> bool:
        try:
            self.get(kind, name)
        except NotFound:
            return False
        return True

    # -- waiting
    def until_status(
        self, kind: str, name: str, holds: Callable[[dict[str, Any]], Any], what: str, within: float = PATIENCE
    ) -> dict[str, Any]:
        """The status when `holds` holds of it."""
        seen: dict[str, Any] = {}

        def look() -> bool:
            nonlocal seen
            seen = self.status(kind, name)
            return bool(holds(seen))

        try:
            eventually(look, what, within)
        except AssertionError as error:
            raise AssertionError(f"{error}; the status of {kind} {name}: {json.dumps(seen, indent=1)}") from None
        return seen

    def until_phase(self, name: str, *phases: str, within: float = PATIENCE) -> dict[str, Any]:
        """An Execution's status when it is in one of these phases."""
        wanted = " or ".join(phases)
        return self.until_status(
            "Execution", name, lambda status: status.get("phase") in phases, f"{name} in {wanted}", within
        )

    def until_over(self, names: Sequence[str], within: float = PATIENCE) -> dict[str, dict[str, Any]]:
        """The statuses of Executions, by name, when all of them have ended."""
        wanted = set(names)

        def look() -> dict[str, dict[str, Any]]:
            found = {body["metadata"]["name"]: body.get("status") or {} for body in self.all("Execution")}
            ended = {name: found[name] for name in wanted & found.keys() if found[name].get("phase") in OVER}
            return ended if len(ended) == len(wanted) else {}

        return eventually(look, f"the end of {len(wanted)} executions", within, every=0.3)

    def until_condition(
        self, kind: str, name: str, type_: str, status: str, within: float = PATIENCE
    ) -> dict[str, Any]:
        """A condition when it has that status."""

        def look() -> dict[str, Any]:
            found = self.condition(kind, name, type_)
            return found if found.get("status") == status else {}

        return eventually(look, f"{kind} {name} with {type_}={status}", within)

    # -- the flag
    def flag(self) -> dict[str, str]:
        """The flag's keys that the Secret has."""
        secret = self.plane.background.run(self.plane.kubernetes.secret(self.namespace, FLAG_SECRET))
        data = secret.get("data") or {}
        return {key: decode(data[key]) for key in KEYS if key in data}

    def set_flag(self, values: Mapping[str, str | None], manager: str = "kubectl-edit") -> None:
        """By hand: None removes a key."""
        text = {key: value for key, value in values.items() if value is not None}
        gone = {key: None for key, value in values.items() if value is None}
        patch = {"stringData": text} | ({"data": gone} if gone else {})
        self.kubectl(
            *("patch", "secret", FLAG_SECRET, "--type=merge", f"--field-manager={manager}", "-p", json.dumps(patch))
        )

    # -- the books
    def query(self, sql: str) -> list[dict[str, Any]]:
        """Rows of the store, read past our own classes: plain SQL on the tables of the contract."""
        if self.database.startswith("postgresql"):
            url = self.database.replace("postgresql+psycopg://", "postgresql://")
            with psycopg.connect(url, row_factory=dict_row) as connection:
                return connection.execute(sql.encode()).fetchall()
        path = self.database.removeprefix("sqlite:///")
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql)]

    def ledger(self) -> Summary:
        """The shop's books, in numbers."""
        return Summary(**httpx.get(f"{self.shop}/ledger", trust_env=False, timeout=30).raise_for_status().json())

    def ledger_query(self, sql: str) -> list[dict[str, Any]]:
        """Rows of the shop's own database."""
        path = self.folder / "ledger.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql)]

    def set_faults(self, share: float, status: int = 422) -> None:
        """Let the shop refuse that share of V2's requests."""
        body = {"engine": "v2", "share": share, "status": status}
        httpx.post(f"{self.shop}/admin/faults", json=body, trust_env=False, timeout=30).raise_for_status()

    def metrics(self, name: str) -> str:
        """What a process serves on /metrics."""
        return self.page(name, "/metrics").raise_for_status().text

    def page(self, name: str, path: str) -> httpx.Response:
        """What a process answers there: /metrics, /healthz or /livez."""
        port = {"operator": self.ports.operator, "operator-2": self.second_port, "worker": self.ports.worker}[name]
        return httpx.get(f"http://{HOST}:{port}{path}", trust_env=False, timeout=30)


def document(resource: Resource, name: str, spec: Any, **metadata: Any) -> dict[str, Any]:
    """A resource as kubectl takes it."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": resource.kind,
        "metadata": {"name": name, **metadata},
        "spec": spec,
    }


def workflow(name: str, *nodes: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    return document(WORKFLOWS, name, {"nodes": list(nodes), **spec})


def execution(name: str, workflow_name: str, input_: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return document(EXECUTIONS, name, {"workflow": workflow_name, "input": input_ or {}, **spec})


def orders(shop: str, name: str = "orders", *, steps: int = 3, pause: str | None = None) -> dict[str, Any]:
    """A workflow of requests to the shop, one after the other (none of those that it refuses by itself).

    With `pause` it waits so long before the last one.
    """
    nodes: list[dict[str, Any]] = []
    for index in range(steps):
        needs = [nodes[-1]["id"]] if nodes else []
        if pause is not None and index == steps - 1:
            nodes.append({"id": "pause", "type": "wait", "needs": needs, "with": {"duration": pause}})
            needs = ["pause"]
        path = ("reserve", "ship", "notify")[index % 3]
        request = {"method": "POST", "url": f"{shop}/{path}", "body": {"order": "${input.order}-" + str(index)}}
        nodes.append({"id": f"step{index}", "type": "http", "needs": needs, "with": request})
    schema = {"type": "object", "required": ["order"], "properties": {"order": {"type": "string"}}}
    retry = {"maxAttempts": 4, "initialInterval": "100ms", "maxInterval": "1s"}
    return workflow(name, *nodes, input={"schema": schema}, defaults={"timeout": "5s", "retry": retry})

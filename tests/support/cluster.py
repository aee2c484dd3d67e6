"""A Kubernetes API in memory, as much of it as `adapters.kubernetes.Kubernetes` uses, and an operator's handlers on it.

tests/e2e/test_kubernetes_port.py holds the fake and a real API server to the same claims.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from orchestrator_operator.adapters.kubernetes import Conflict, KubernetesError, NotFound, encode
from orchestrator_operator.handlers.announce import Announcer
from orchestrator_operator.handlers.execution import ExecutionHandler
from orchestrator_operator.handlers.guard import Guard
from orchestrator_operator.handlers.workflow import WorkflowHandler
from orchestrator_operator.routing import RoutingFacts
from orchestrator_operator.specs import EXECUTIONS, GROUP, VERSION, WORKFLOWS, Resource
from orchestrator_operator.specs.crds import DEFINITIONS, crd

from orchestrator.flag import CLEAR, FlagValues, parse
from orchestrator.intake import Intake
from orchestrator.journal import GroupCommit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from orchestrator.router import Owner
    from orchestrator.store import Store, Submission, Submitted
    from orchestrator.testing import FakeClock

NAMESPACE = "shop"
Key = tuple[str, str, str]


class FakeKubernetes:
    """Objects in a dictionary; merge patches, uids, resourceVersions and generations as the real one has them."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock, self._versions = clock, itertools.count(1)
        self.objects: dict[Key, dict[str, Any]] = {}
        self.events: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str]] = []  # what was written: verb, name
        self.failures: list[KubernetesError] = []  # raised by the next calls, in turn
        self.gate: Callable[[], None] = lambda: None  # asked before every write
        self._history: list[tuple[Key, int, str, dict[str, Any]]] = []  # what a watch tells: version, type, object

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        self._fail()
        return copy.deepcopy(self._find((resource.plural, namespace, name)))

    async def list(
        self, resource: Resource, namespace: str, *, labels: str = "", limit: int = 0
    ) -> list[dict[str, Any]]:
        self._fail()
        assert not labels
        found = [value for key, value in self.objects.items() if key[:2] == (resource.plural, namespace)]
        return copy.deepcopy(found[: limit or None])

    async def pages(self, resource: Resource, namespace: str) -> AsyncIterator[list[dict[str, Any]]]:
        for body in await self.list(resource, namespace):
            yield [body]

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self.gate()
        self._fail()
        key = (resource.plural, namespace, body["metadata"]["name"])
        if key in self.objects:
            raise Conflict("it exists already", status=409)
        created = copy.deepcopy(dict(body))
        created.pop("status", None)  # a subresource: create ignores it
        created["metadata"] |= {
            "namespace": namespace,
            "uid": str(uuid.uuid4()),
            "generation": 1,
            "creationTimestamp": self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return self._store(key, created)

    async def patch_status(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        status: Mapping[str, Any] | None,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> dict[str, Any]:
        self.gate()
        self._fail()
        key = (resource.plural, namespace, name)
        found = self._find(key)
        if uid is not None and uid != found["metadata"]["uid"]:
            raise Conflict("it is another object", status=409)
        if resource_version is not None and resource_version != found["metadata"]["resourceVersion"]:
            raise Conflict("the object has been modified", status=409)
        self.calls.append(("patch_status", name))
        return self._store(key, found | {"status": merge(found.get("status"), status)})

    async def patch(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self.gate()
        self._fail()
        key = (resource.plural, namespace, name)
        found = self._find(key)
        version = body.get("metadata", {}).get("resourceVersion")
        if version is not None and version != found["metadata"]["resourceVersion"]:
            raise Conflict("the object has been modified", status=409)
        patched = merge(found, body)
        if patched.get("spec") != found.get("spec"):
            patched["metadata"]["generation"] += 1
        return self._store(key, patched)

    async def take_off(self, resource: Resource, namespace: str, name: str, annotation: str, value: str) -> None:
        self.gate()
        self._fail()
        key = (resource.plural, namespace, name)
        found = copy.deepcopy(self._find(key))
        if (found["metadata"].get("annotations") or {}).get(annotation) != value:
            raise Conflict(f"{annotation} does not say {value!r} any more", status=422)
        del found["metadata"]["annotations"][annotation]
        self._store(key, found)

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str | None = None) -> None:
        self.gate()
        self._fail()
        key = (resource.plural, namespace, name)
        if uid is not None and uid != self._find(key)["metadata"]["uid"]:
            raise Conflict("the uid in the precondition is another one", status=409)
        gone = self._find(key)
        del self.objects[key]
        self._note(key, "DELETED", gone)

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Mapping[str, Any], seconds: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """A watch of one object by its name, from a version on."""
        self._fail()
        plural, namespace = path.rsplit("/", maxsplit=1)[-1], path.split("/")[-2]
        key = (plural, namespace, query["fieldSelector"].removeprefix("metadata.name="))

        async def content() -> AsyncIterator[bytes]:
            told = int(query["resourceVersion"])
            end = asyncio.get_running_loop().time() + seconds
            while asyncio.get_running_loop().time() < end:
                for where, version, kind, body in list(self._history):
                    if where == key and version > told:
                        told = version
                        yield json.dumps({"type": kind, "object": body}).encode() + b"\n"
                await asyncio.sleep(0.005)

        yield content()

    async def secret(self, namespace: str, name: str) -> dict[str, Any]:
        self._fail()
        return copy.deepcopy(self._find(("secrets", namespace, name)))

    async def patch_secret(
        self, namespace: str, name: str, values: Mapping[str, str | None], *, resource_version: str | None = None
    ) -> dict[str, Any]:
        self.gate()
        self._fail()
        key = ("secrets", namespace, name)
        found = self._find(key)
        if resource_version is not None and resource_version != found["metadata"]["resourceVersion"]:
            raise Conflict("the resourceVersion is another one", status=409)
        data = {key: None if value is None else encode(value) for key, value in values.items()}
        return self._store(key, merge(found, {"data": data}))

    async def create_event(self, namespace: str, event: Mapping[str, Any]) -> None:
        self.gate()
        self._fail()
        self.events.setdefault(event["metadata"]["name"], dict(event))

    async def events_about(self, namespace: str, uid: str) -> Sequence[dict[str, Any]]:
        self._fail()
        about = [event for event in self.events.values() if event["involvedObject"]["uid"] == uid]
        return copy.deepcopy([event for event in about if event["metadata"]["namespace"] == namespace])

    async def version(self) -> dict[str, Any]:
        self._fail()
        return {"gitVersion": "v1.36.3"}

    async def definition(self, resource: Resource) -> dict[str, Any]:
        self._fail()
        (found,) = [crd(definition) for definition in DEFINITIONS if definition.resource == resource]
        return found

    async def once(self, method: str, path: str, **_: Any) -> dict[str, Any]:
        raise NotFound(f"{method} {path}: there are no Leases in here", status=404)

    async def aclose(self) -> None:
        """Nothing to close."""

    # -- what only tests use
    def add_secret(self, name: str, namespace: str = NAMESPACE) -> None:
        self._store(("secrets", namespace, name), {"metadata": {"name": name, "namespace": namespace}})

    def told(self, reason: str) -> Sequence[str]:
        """The messages of all Events of a reason."""
        return [event["message"] for event in self.events.values() if event["reason"] == reason]

    def _find(self, key: Key) -> dict[str, Any]:
        if key not in self.objects:
            raise NotFound(f"{key} is not there", status=404)
        return self.objects[key]

    def _store(self, key: Key, value: dict[str, Any]) -> dict[str, Any]:
        kind = "MODIFIED" if key in self.objects else "ADDED"
        stored = self._note(key, kind, value)
        self.objects[key] = copy.deepcopy(stored)
        return copy.deepcopy(stored)

    def _note(self, key: Key, kind: str, value: dict[str, Any]) -> dict[str, Any]:
        """Each change has a version of its own, the deletion too."""
        version = next(self._versions)
        changed = {**value, "metadata": value["metadata"] | {"resourceVersion": str(version)}}
        self._history.append((key, version, kind, copy.deepcopy(changed)))
        return changed

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


def merge(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


@dataclass
class Flag:
    """A RoutingSource in the tester's hand."""

    values: FlagValues = CLEAR
    owner: Owner | None = None
    attempt: str = ""
    ages: tuple[float, ...] = ()

    def facts(self, now: datetime) -> RoutingFacts:
        return RoutingFacts(parse(self.values, now), self.owner, self.attempt, self.ages)


@dataclass
class Operator:
    """The handlers on a fake API and a real store."""

    kubernetes: FakeKubernetes
    store: Store
    clock: FakeClock
    epoch: datetime = datetime(2020, 1, 1, tzinfo=UTC)
    flag: Flag = field(default_factory=Flag)
    v1_available: bool = True

    def __post_init__(self) -> None:
        announcer: Any = Announcer(self.api, self.clock)
        self.guard = Guard()
        self.submissions: GroupCommit[Submission, Submitted] = GroupCommit(
            lambda batch: self.store.submit(batch, self.clock.now())
        )
        self.workflows = WorkflowHandler(self.store, self.api, announcer, self.guard, self.clock)
        self.executions = ExecutionHandler(
            store=self.store,
            submissions=self.submissions,
            kubernetes=self.api,
            workflows=self.workflows,
            routing=self.flag,
            announcer=announcer,
            guard=self.guard,
            clock=self.clock,
            epoch=self.epoch,
            v1_available=self.v1_available,
        )

    @property
    def api(self) -> Any:
        """The fake where the real class is asked for: it has the same methods."""
        return self.kubernetes

    @property
    def intake(self) -> Intake:
        """What the HTTP door beside these handlers takes executions in by."""
        return Intake(self.submissions, self.flag, self.clock, v1_available=self.v1_available)

    async def apply(self, resource: Resource, name: str, spec: Any, **metadata: Any) -> dict[str, Any]:
        """Create or patch a resource, and let the operator see it."""
        try:
            await self.kubernetes.create(resource, NAMESPACE, document(resource, name, spec, **metadata))
        except Conflict:
            await self.kubernetes.patch(resource, NAMESPACE, name, {"spec": spec, "metadata": metadata})
        return await self.look(resource, name)

    async def look(self, resource: Resource, name: str) -> dict[str, Any]:
        """Let the operator see a resource as it is now; returns it as it is afterwards."""
        body = await self.kubernetes.get(resource, NAMESPACE, name)
        handler = self.workflows if resource is WORKFLOWS else self.executions
        await handler.handle(body)
        return await self.kubernetes.get(resource, NAMESPACE, name)

    async def execution(self, name: str, workflow: str = "chain", **spec: Any) -> dict[str, Any]:
        return await self.apply(EXECUTIONS, name, {"workflow": workflow, "input": {"n": 1}, **spec})


def document(resource: Resource, name: str, spec: Any, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": resource.kind,
        "metadata": {"name": name, **metadata},
        "spec": spec,
    }

"""The HTTP door in the operator's process: the same Workflows, the same flag and rollout, the same commits.

As `ORCHESTRATOR_DOOR_EXECUTIONS` says its executions stand in the store alone, or as Execution resources, too. A
resource is made first and then handled by the very handler that hears of all others; so nothing is lost in between.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from orchestrator.door.accepting import Accepted, StoreAcceptor, check_same
from orchestrator.door.problems import KeyTaken, Refused, later
from orchestrator.door.server import Door, Inside
from orchestrator.door.settings import DoorSettings
from orchestrator.door.tokens import Tokens
from orchestrator.errors import InvalidInput, Problem
from orchestrator.jsonvalues import same_value
from orchestrator_operator.adapters.kubernetes import Conflict, KubernetesError, NotFound, Unavailable
from orchestrator_operator.handlers.decide import TRACEPARENT, TRACESTATE
from orchestrator_operator.handlers.seen import mapping, uid
from orchestrator_operator.leadership.leader import Deposed
from orchestrator_operator.specs import EXECUTIONS, GROUP, VERSION
from orchestrator_operator.specs.conditions import find

if TYPE_CHECKING:
    from orchestrator.clock import Clock
    from orchestrator.door.accepting import Acceptor
    from orchestrator.intake import Intake, Request
    from orchestrator.model import Workflow
    from orchestrator.store.port import Store
    from orchestrator.tracing import Tracing
    from orchestrator_operator.adapters.kubernetes import Kubernetes
    from orchestrator_operator.handlers.execution import ExecutionHandler
    from orchestrator_operator.handlers.workflow import WorkflowHandler
    from orchestrator_operator.settings import Settings

FROM: Final = f"{GROUP}/from"  # the label of resources that came in by the door
_NO_NAME = re.compile(r"[^a-z0-9-]+")
_PATIENCE: Final = 5.0  # seconds for the store to know what was made
_UNPROCESSABLE: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FromResources:
    """Workflows as the operator knows them."""

    handler: WorkflowHandler
    namespace: str

    async def find(self, name: str) -> Workflow:
        compiled = await self.handler.find(self.namespace, name)
        if compiled is None:
            message = f"there is no Workflow {name!r} in namespace {self.namespace!r}"
            raise InvalidInput([Problem("workflow", message)])
        if compiled.workflow is None:
            found = "; ".join(map(str, compiled.problems))
            raise InvalidInput([Problem("workflow", f"the Workflow {name!r} is not valid: {found}")])
        return compiled.workflow


@dataclass(frozen=True, slots=True)
class ResourceAcceptor:
    """Makes an Execution resource of a request. Its name follows from the key: a retry finds it again."""

    store: Store
    kubernetes: Kubernetes
    executions: ExecutionHandler
    intake: Intake
    namespace: str
    ttl: timedelta

    async def accept(self, request: Request) -> Accepted:
        if (known := await self._known(request)) is not None:
            return known
        body = resource(request, self.namespace, self.ttl)
        created = True
        try:
            made = await self.kubernetes.create(EXECUTIONS, self.namespace, body)
        except Conflict:
            made = await self.kubernetes.get(EXECUTIONS, self.namespace, body["metadata"]["name"])
            created = request.idempotency_key is None  # then it is ours: an answer of the API server was lost
            if (field := _difference(mapping(made.get("spec")), body["spec"])) is not None:
                raise KeyTaken(field, uid(made)) from None
        return await self._handled(request, made, created=created)

    async def _known(self, request: Request) -> Accepted | None:
        """The execution that has the key already: its resource may be gone."""
        if request.idempotency_key is None:
            return None
        record = await self.store.find(request.workflow.id, request.idempotency_key)
        if record is None:
            return None
        await check_same(self.store, self.intake, record.id, request)
        return Accepted(record.id, created=False)

    async def _handled(self, request: Request, made: dict[str, Any], *, created: bool) -> Accepted:
        """When the store knows it. The resource itself is durable, whatever becomes of this request."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while True:
                    await self.executions.handle(made)
                    if await self.store.get(uid(made)) is not None:
                        return Accepted(uid(made), created)
                    if (winner := await self._known(request)) is not None:
                        return winner  # another resource has the key
                    made = await self.kubernetes.get(EXECUTIONS, self.namespace, made["metadata"]["name"])
                    refusal = find(made.get("status"), "Accepted") or {}
                    if refusal.get("status") == "False":
                        problem = Problem("", str(refusal.get("message", "")))
                        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, [problem])
                    await asyncio.sleep(0.1)
        message = f"the Execution {made['metadata']['name']} is made and starts when the store can be reached"
        raise later(HTTPStatus.SERVICE_UNAVAILABLE, message, 2)


@dataclass(frozen=True, slots=True)
class Translating:
    """What the API server says, as the door's callers are told it."""

    inner: Acceptor

    async def accept(self, request: Request) -> Accepted:
        try:
            return await self.inner.accept(request)
        except NotFound:
            raise later(HTTPStatus.SERVICE_UNAVAILABLE, "the Execution was deleted just now: come again", 1) from None
        except Deposed:
            raise later(HTTPStatus.SERVICE_UNAVAILABLE, "another operator leads now: come again", 2) from None
        except Unavailable:
            raise later(HTTPStatus.SERVICE_UNAVAILABLE, "the API server does not answer: come again", 2) from None
        except KubernetesError as error:
            if error.status in _UNPROCESSABLE:
                raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, [Problem("", str(error))]) from None
            _log.error("the door cannot make Executions; deploy/door has the Role for it", error=str(error))
            raise later(HTTPStatus.SERVICE_UNAVAILABLE, "the operator may not make Executions now", 30) from None


def open_door(
    settings: Settings,
    *,
    store: Store,
    kubernetes: Kubernetes,
    workflows: WorkflowHandler,
    executions: ExecutionHandler,
    intake: Intake,
    clock: Clock,
    tracing: Tracing | None = None,
) -> Door:
    """The door as the settings want it, not serving yet; raises InvalidInput if its tokens cannot be read."""
    tokens = Tokens(Path(settings.door_tokens))
    tokens.check()
    namespace, ttl = settings.namespace, timedelta(seconds=settings.door_ttl)
    acceptor: Acceptor = StoreAcceptor(store, intake)
    if settings.door_executions == "resources":
        acceptor = ResourceAcceptor(store, kubernetes, executions, intake, namespace, ttl)
    bounds = DoorSettings(
        longest_wait=timedelta(seconds=settings.door_wait),
        waits=settings.door_waits,
        backlog=settings.door_backlog,
        body=settings.door_body,
    )
    return Door(
        Inside(store, Translating(acceptor), FromResources(workflows, namespace), tokens, clock, namespace),
        bounds,
        tracing,
    )


def resource(request: Request, namespace: str, ttl: timedelta) -> dict[str, Any]:
    """The Execution that a request asks for."""
    metadata: dict[str, Any] = {
        "name": name_of(request),
        "namespace": namespace,
        "labels": {FROM: "http"},
    }
    if request.trace is not None:
        metadata["annotations"] = {TRACEPARENT: request.trace.parent, TRACESTATE: request.trace.state}
    spec: dict[str, Any] = {
        "workflow": request.workflow.id.partition("/")[2],
        "input": request.input,
        "engine": request.engine.value if request.engine else "auto",
        "ttlSecondsAfterFinished": int(ttl.total_seconds()),
    }
    if request.routing_key is not None:
        spec["routingKey"] = request.routing_key
    if request.idempotency_key is not None:
        spec["idempotencyKey"] = request.idempotency_key
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": EXECUTIONS.kind, "metadata": metadata, "spec": spec}


def name_of(request: Request) -> str:
    """A name that people recognise: of the same workflow and key always the same one, without a key one of its own."""
    own = request.id if request.idempotency_key is None else f"{request.workflow.id}\n{request.idempotency_key}"
    digest = hashlib.sha256(own.encode()).hexdigest()[:20]
    words = _NO_NAME.sub("-", request.workflow.id.partition("/")[2])[:40].strip("-")
    return f"{words}-{digest}" if words else f"x-{digest}"


def _difference(there: Any, wanted: dict[str, Any]) -> str | None:
    """The field in which a resource of our name is another one than we want."""
    for field in ("workflow", "input", "routingKey", "engine"):
        default = {"input": {}, "engine": "auto"}.get(field)
        if not same_value(there.get(field, default), wanted.get(field, default)):
            return field
    return None

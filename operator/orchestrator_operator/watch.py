"""kopf, as we use it: level-based watching of three kinds, without finalizers, annotations or timers of its own."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Protocol

import kopf

from orchestrator_operator import telemetry
from orchestrator_operator.adapters.kubernetes import in_cluster
from orchestrator_operator.specs import GROUP, RESOURCES, VERSION, Resource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Handler(Protocol):
    """What is told of the changes of one kind. Neither method may raise: see handlers/guard.py."""

    async def handle(self, body: Mapping[str, Any]) -> None:
        """It was there at the start, appeared or changed."""

    async def gone(self, body: Mapping[str, Any]) -> None:
        """It was deleted."""


Note = Callable[[str, "Mapping[str, Any]"], None]  # of each event: its type and its object


class Patience:
    """Backoffs without an end: an API server that is away for an hour must not end the operator."""

    def __iter__(self) -> Iterator[float]:
        return chain((0.5, 1.0, 2.0, 3.0), repeat(5.0))


class NoMemory(kopf.DiffBaseStorage):
    """Level-based handlers compare nothing with what was seen before: spares two deep copies of each object."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:  # noqa: ARG002 - kopf's signature
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> None:
        """Nothing was seen before."""

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing is written to the object."""


def settings() -> kopf.OperatorSettings:
    """The settings of kopf, as heavy users choose them."""
    chosen = kopf.OperatorSettings()
    chosen.networking.request_timeout = 30
    chosen.networking.connect_timeout = 5
    chosen.networking.error_backoffs = Patience()
    chosen.watching.server_timeout = 300
    chosen.watching.client_timeout = 330
    chosen.watching.chunk_size = 500
    chosen.posting.enabled = False  # our own Events say more
    chosen.posting.loggers = False
    chosen.scanning.disabled = True  # a namespaced account may not watch CRDs; we wait for them before we start
    chosen.peering.standalone = True
    chosen.persistence.diffbase_storage = NoMemory()
    chosen.persistence.finalizer = f"{GROUP}/operator"  # never set: no handler here needs one
    return chosen


def registry(handlers: Mapping[Resource, Handler], note: Note) -> kopf.OperatorRegistry:
    """The handlers as kopf knows them."""
    made = kopf.OperatorRegistry()
    kopf.on.login(registry=made, id="login")(_login)

    for resource in RESOURCES:
        _watch(made, resource, handlers[resource], note)
    return made


def _watch(made: kopf.OperatorRegistry, resource: Resource, handler: Handler, note: Note) -> None:
    async def changed(event: Mapping[str, Any], **_: Any) -> None:
        telemetry.HEARD.labels(resource.plural).set_to_current_time()
        note(event["type"], event["object"])
        act = handler.gone if event["type"] == "DELETED" else handler.handle
        await act(event["object"])

    kopf.on.event(GROUP, VERSION, resource.plural, registry=made, id=resource.singular)(changed)


def _login(**kwargs: Any) -> Any:
    """The order of adapters/kubernetes.py: an explicit kubeconfig, the pod's account, ~/.kube/config."""
    if os.environ.get("KUBECONFIG") or not in_cluster():
        return kopf.login_with_kubeconfig(**kwargs)
    return kopf.login_with_service_account(**kwargs)


async def watch(handlers: Mapping[Resource, Handler], note: Note, namespace: str, stop: asyncio.Event) -> None:
    """Watch a namespace ("" for all) until cancelled.

    SIGTERM and SIGINT set `stop`; before kopf is ready, they end the watch.
    """
    ready = asyncio.Event()
    signals = asyncio.create_task(_take_signals(ready, stop), name="signals")
    try:
        await kopf.operator(
            registry=registry(handlers, note),
            settings=settings(),
            namespaces=[namespace] if namespace else (),
            clusterwide=not namespace,
            standalone=True,
            ready_flag=ready,
        )
    finally:
        signals.cancel()


async def _take_signals(ready: asyncio.Event, stop: asyncio.Event) -> None:
    """In place of kopf's own handlers, as soon as it has set them: the app drains before the watch ends."""
    await ready.wait()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

"""kopf, as we use it: level-based watching of three kinds, without finalizers, annotations or timers of its own."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any, Protocol

import kopf

from orchestrator_operator.adapters.kubernetes import in_cluster
from orchestrator_operator.specs import GROUP, RESOURCES, VERSION, Resource

if TYPE_CHECKING:
    from collections.abc import Mapping


class Handler(Protocol):
    """What is told of the changes of one kind. Neither method may raise: see handlers/guard.py."""

    async def handle(self, body: Mapping[str, Any]) -> None:
        """It was there at the start, appeared or changed."""

    async def gone(self, body: Mapping[str, Any]) -> None:
        """It was deleted."""


def settings() -> kopf.OperatorSettings:
    """The settings of kopf, as heavy users choose them."""
    chosen = kopf.OperatorSettings()
    chosen.networking.request_timeout = 30
    chosen.networking.connect_timeout = 5
    chosen.watching.server_timeout = 300
    chosen.watching.client_timeout = 330
    chosen.watching.chunk_size = 500
    chosen.posting.enabled = False  # our own Events say more
    chosen.posting.loggers = False
    chosen.scanning.disabled = True  # a namespaced account may not watch CRDs; we wait for them before we start
    chosen.peering.standalone = True
    chosen.persistence.finalizer = f"{GROUP}/operator"  # never set: no handler here needs one
    return chosen


def registry(handlers: Mapping[Resource, Handler], stop: asyncio.Event) -> kopf.OperatorRegistry:
    """The handlers as kopf knows them. `stop` is set by SIGTERM and SIGINT."""
    made = kopf.OperatorRegistry()
    kopf.on.login(registry=made, id="login")(_login)

    def ready(**_: Any) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):  # in place of kopf's own: the app drains first
            loop.add_signal_handler(number, stop.set)

    async def on_startup(**_: Any) -> None:  # async: runs in the loop, not in a thread
        ready()

    kopf.on.startup(registry=made, id="signals")(on_startup)
    for resource in RESOURCES:
        _watch(made, resource, handlers[resource])
    return made


def _watch(made: kopf.OperatorRegistry, resource: Resource, handler: Handler) -> None:
    async def changed(event: Mapping[str, Any], **_: Any) -> None:
        act = handler.gone if event["type"] == "DELETED" else handler.handle
        await act(event["object"])

    kopf.on.event(GROUP, VERSION, resource.plural, registry=made, id=resource.singular)(changed)


def _login(**kwargs: Any) -> Any:
    """The order of adapters/kubernetes.py: an explicit kubeconfig, the pod's account, ~/.kube/config."""
    if os.environ.get("KUBECONFIG") or not in_cluster():
        return kopf.login_with_kubeconfig(**kwargs)
    return kopf.login_with_service_account(**kwargs)


async def watch(handlers: Mapping[Resource, Handler], namespace: str, stop: asyncio.Event) -> None:
    """Watch a namespace until cancelled."""
    await kopf.operator(registry=registry(handlers, stop), settings=settings(), namespaces=[namespace], standalone=True)

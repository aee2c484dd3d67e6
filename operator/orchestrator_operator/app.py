"""The composition root: settings become adapters, adapters become handlers, and everything runs until it is stopped.

    one operator leads: only it opens what follows, and acts; the others wait, and answer probes and scrapes

    Kubernetes watch ─▶ handlers ─▶ store.submit ─▶ (workers) ─▶ store.dirty ─▶ status writer ─▶ Kubernetes
    resync, sweeper, exporter, rollout controller: loops beside it

A loop that fails in an unforeseen way is logged and begun again; a store or a server that is away is waited for.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from orchestrator.clock import SystemClock
from orchestrator.door.settings import address
from orchestrator.endpoint import Endpoint
from orchestrator.errors import StoreError, StoreUnavailable
from orchestrator.health import Health
from orchestrator.intake import Intake
from orchestrator.journal import GroupCommit
from orchestrator.store import open_store
from orchestrator.telemetry import begin_door
from orchestrator.tracing import open_tracing
from orchestrator_operator.adapters.kubernetes import Kubernetes, KubernetesError, NotFound
from orchestrator_operator.door import open_door
from orchestrator_operator.embedded import open_worker
from orchestrator_operator.exporter import Exporter
from orchestrator_operator.handlers.announce import Announcer
from orchestrator_operator.handlers.execution import ExecutionHandler
from orchestrator_operator.handlers.guard import Guard
from orchestrator_operator.handlers.seen import uid
from orchestrator_operator.handlers.workflow import WorkflowHandler
from orchestrator_operator.heard import Heard
from orchestrator_operator.leadership.leader import Deposed, Leader
from orchestrator_operator.leadership.metrics import LEADER
from orchestrator_operator.lives import end_within, live, signals_cancel
from orchestrator_operator.resync import Resync
from orchestrator_operator.rollout.controller import RolloutController
from orchestrator_operator.rollout.elsewhere import OwnRollouts
from orchestrator_operator.sole import sole
from orchestrator_operator.specs import EXECUTIONS, RESOURCES, ROLLOUTS, WORKFLOWS, Resource
from orchestrator_operator.statuses import StatusWriter, Versions
from orchestrator_operator.sweeper import Sweeper
from orchestrator_operator.watch import Handler, watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from typing import Any

    from orchestrator.clock import Clock
    from orchestrator.door.server import Door
    from orchestrator.store.port import Store, Submission, Submitted
    from orchestrator_operator.settings import Settings

_log = structlog.get_logger(__name__)

_RESTART = 1.0  # seconds before a loop that failed begins again
_LAST_WORDS = 3.0  # seconds that a deposed process may take to end


@dataclass(frozen=True, slots=True)
class Watched:
    """The executions' handler, the sweeper and the status writer hear of the same changes."""

    executions: ExecutionHandler
    sweeper: Sweeper
    versions: Versions

    async def handle(self, body: Mapping[str, Any]) -> None:
        self.versions.note(body)
        self.sweeper.note(body)
        await self.executions.handle(body)

    async def gone(self, body: Mapping[str, Any]) -> None:
        self.versions.forget(uid(body))
        self.sweeper.forget(body)
        await self.executions.gone(body)


@dataclass(frozen=True, slots=True)
class App:
    """Everything, wired; `run` runs it."""

    settings: Settings
    handlers: Mapping[Resource, Handler]
    loops: Mapping[str, Callable[[], Awaitable[None]]]
    resync: Resync
    heard: Heard
    door: Door | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, which SIGTERM and SIGINT set. Raises WatchEnded if the watch ends by itself."""
        # Before kopf: it takes every task that is made after its own start for one of its own.
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(forever(name, loop), name=name) for name, loop in self.loops.items()
        ]
        try:
            await _first(self.resync)
            watching = asyncio.create_task(
                watch(self.handlers, self.heard.note, self.settings.watched, self.settings.watch_silence, stop),
                name="watch",
            )
            stopping = asyncio.create_task(stop.wait(), name="stop")
            tasks += [stopping, watching]
            _log.info("operator runs", namespace=self.settings.namespace, scope=self.settings.scope)
            await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()  # raises what ended it; without that it was a signal
            _log.info("operator drains")
        finally:
            if self.door is not None:  # before the watch ends, which ends every task that began after it
                await self.door.aclose()
            await _cancel(*tasks[: len(self.loops)])  # they drain while the watch still holds
            await _cancel(*tasks[len(self.loops) :])


async def run(settings: Settings) -> None:
    """Lead, or wait until it is our turn, and then act until SIGTERM or SIGINT.

    Raises Deposed when another operator may lead by now: whoever runs us starts us again, and then we wait. A process
    that acted cannot be trusted to forget what it was about to do. Further InvalidInput, StoreError, KubernetesError.
    """
    async with AsyncExitStack() as stack:
        clock = SystemClock()
        if settings.embedded_worker == "on":
            stack.enter_context(sole(settings.database))
        health = Health(clock)
        endpoint = Endpoint(health)
        stack.push_async_callback(endpoint.aclose)
        port = await endpoint.serve(settings.metrics_host, settings.metrics_port)
        _log.info("serving /metrics and /healthz", address=f"{settings.metrics_host}:{port}")
        kubernetes = await Kubernetes.connect(settings.kubeconfig)
        stack.push_async_callback(kubernetes.aclose)
        await wait_for_resources(kubernetes, settings.watched)

        async def life(stop: asyncio.Event) -> None:
            async with opened(settings, kubernetes, health, clock) as app:
                await app.run(stop)

        async def act() -> None:
            await live(life)

        if settings.leader_election == "off":
            LEADER.set(1)  # nobody else could
            await act()
            return
        leader = Leader.build(settings, kubernetes, clock)
        kubernetes.gate = leader.check
        health.expect("lease", timedelta(seconds=3 * settings.lease_duration + 15))
        leader.contact = lambda: health.beat("lease")
        leader.lacks, leader.able = lambda: health.about("store"), lambda: reaches_store(settings)
        try:
            with signals_cancel():
                await leader.lead(act)
        except Deposed:
            end_within(_LAST_WORDS)  # nothing that it does is of use, and until it has ended it is no candidate
            raise


@asynccontextmanager
async def opened(settings: Settings, kubernetes: Kubernetes, health: Health, clock: Clock) -> AsyncIterator[App]:
    """An App on an open store, closed at the end. Raises StoreError or KubernetesError."""
    async with AsyncExitStack() as stack:
        # before it is opened: one that waits for it lacks it as well
        health.expect("store", timedelta(seconds=2 * settings.lease_duration))
        stack.callback(health.forget, "store")
        store = await _open(settings)
        stack.push_async_callback(store.close)

        async def submit(batch: Sequence[Submission]) -> Sequence[Submitted]:
            kubernetes.gate()  # what an operator that leads no more has routed is routed anew by the one that does
            return await store.submit(batch, clock.now())

        submissions: GroupCommit[Submission, Submitted] = GroupCommit(submit)
        stack.push_async_callback(submissions.aclose)
        guard, announcer = Guard(), Announcer(kubernetes, clock)
        sweeper, versions = Sweeper(kubernetes, clock), Versions()
        rollouts = RolloutController.build(settings, store=store, kubernetes=kubernetes, clock=clock)
        stack.push_async_callback(rollouts.aclose)
        workflows = WorkflowHandler(store, kubernetes, announcer, guard, clock, containers=settings.containers != "off")
        executions = ExecutionHandler(
            store=store,
            submissions=submissions,
            kubernetes=kubernetes,
            workflows=workflows,
            routing=rollouts,
            announcer=announcer,
            guard=guard,
            clock=clock,
            epoch=await store.epoch(),
            v1_available=settings.v1 != "off",
        )
        watched, heard = Watched(executions, sweeper, versions), Heard()
        resync = Resync(
            store=store,
            kubernetes=kubernetes,
            workflows=workflows,
            executions=executions,
            look=watched.handle,
            health=health,
            heard=heard,
            namespace=settings.watched,
        )
        writer = StatusWriter(
            store,
            kubernetes,
            clock,
            versions,
            settings.watched,
            every=timedelta(seconds=settings.status_interval),
            parallel=settings.status_writes,
        )
        exporter = Exporter(store, rollouts, clock, health)
        stack.callback(exporter.close)
        await rollouts.start()
        begin_door()
        door: Door | None = None
        if settings.door_listen:
            tracing = open_tracing(settings.tracing, "orchestrator-operator")
            if tracing is not None:
                stack.push_async_callback(tracing.aclose)
            intake = Intake(submissions, rollouts, clock, v1_available=settings.v1 != "off")
            door = open_door(
                settings,
                store=store,
                kubernetes=kubernetes,
                workflows=workflows,
                executions=executions,
                intake=intake,
                clock=clock,
                tracing=tracing,
            )
            stack.push_async_callback(door.aclose)
            host, chosen = address(settings.door_listen)
            _log.info("the HTTP door is open", address=f"{host}:{await door.serve(host, chosen)}")
        health.expect("resync", timedelta(seconds=3 * settings.resync_interval + 30))
        # a connection that is silent is given up; a watch that is silent after that needs a new process
        patience = 3 * settings.resync_interval + 2 * settings.watch_silence
        health.expect("watch", timedelta(seconds=patience), restart=True)
        embedded: dict[str, Callable[[], Awaitable[None]]] = {}
        if settings.embedded_worker == "on":
            embedded["worker"] = await stack.enter_async_context(open_worker(settings, health))
        yield App(
            settings=settings,
            handlers={
                WORKFLOWS: workflows,
                EXECUTIONS: watched,
                ROLLOUTS: OwnRollouts(rollouts, kubernetes, announcer, settings.namespace),
            },
            loops={
                "guard": guard.run,
                "statuses": writer.run,
                "sweeper": sweeper.run,
                "exporter": exporter.run,
                "resync": lambda: resync.run(settings.resync_interval),
                **rollouts.loops(),
                **embedded,
            },
            resync=resync,
            heard=heard,
            door=door,
        )


async def _open(settings: Settings) -> Store:
    patience = timedelta(seconds=settings.patience)
    while True:
        try:
            return await open_store(settings.database, schema=settings.schema_, patience=patience)
        except StoreUnavailable as error:
            _log.warning("waiting for the store", error=str(error))
            await asyncio.sleep(2.0)


async def reaches_store(settings: Settings) -> bool:
    """Whether the store answers this process."""
    try:
        async with asyncio.timeout(settings.patience):
            store = await open_store(settings.database, schema=settings.schema_)
            try:
                await store.epoch()
            finally:
                await store.close()
    except (StoreError, TimeoutError):
        return False
    return True


async def wait_for_resources(kubernetes: Kubernetes, namespace: str) -> None:
    """Until the API server serves our kinds: applying CRDs and starting us may happen in any order."""
    for resource in RESOURCES:
        while True:
            try:
                await kubernetes.list(resource, namespace, limit=1)
            except NotFound:
                _log.warning("waiting for a CustomResourceDefinition: kubectl apply -f crds/", name=resource.crd)
            except KubernetesError as error:  # a server that starts forbids everything for a moment, too
                _log.warning("waiting for the API server", error=str(error))
            else:
                break
            await asyncio.sleep(1.0)


async def _first(resync: Resync) -> None:
    while True:
        try:
            await resync.once()
        except (StoreUnavailable, KubernetesError) as error:
            _log.warning("the first comparison waits", error=str(error))
            await asyncio.sleep(2.0)
        else:
            return


async def forever(name: str, loop: Callable[[], Awaitable[None]]) -> None:
    """Run a loop until cancelled; an error of a kind that nobody foresaw ends neither it nor the process."""
    while True:
        try:
            await loop()
        except Exception:  # noqa: BLE001 - see the docstring: that is what this function is for
            _log.exception("a loop failed and begins again", loop=name)
        await asyncio.sleep(_RESTART)


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

"""Settings become adapters, adapters become handlers and loops: one life of the operator, on an open store."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from orchestrator.door.settings import address
from orchestrator.intake import Intake
from orchestrator.journal import GroupCommit
from orchestrator.store import open_store_patiently
from orchestrator.telemetry import begin_door
from orchestrator.tracing import open_tracing
from orchestrator_operator.adapters.endpoints import DoorEndpoint
from orchestrator_operator.door import open_door
from orchestrator_operator.embedded import open_worker
from orchestrator_operator.exporter import Exporter
from orchestrator_operator.handlers.announce import Announcer
from orchestrator_operator.handlers.execution import ExecutionHandler
from orchestrator_operator.handlers.guard import Guard
from orchestrator_operator.handlers.seen import uid
from orchestrator_operator.handlers.workflow import WorkflowHandler
from orchestrator_operator.heard import Heard
from orchestrator_operator.resync import Resync
from orchestrator_operator.rollout.controller import RolloutController
from orchestrator_operator.rollout.elsewhere import OwnRollouts
from orchestrator_operator.running import App
from orchestrator_operator.specs import EXECUTIONS, ROLLOUTS, WORKFLOWS
from orchestrator_operator.statuses import StatusWriter, Versions
from orchestrator_operator.sweeper import Sweeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from typing import Any

    from orchestrator.clock import Clock
    from orchestrator.door.server import Door
    from orchestrator.health import Health
    from orchestrator.store.messages import Submission, Submitted
    from orchestrator_operator.adapters.kubernetes import Kubernetes
    from orchestrator_operator.settings import Settings

_log = structlog.get_logger(__name__)


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


@asynccontextmanager
async def opened(settings: Settings, kubernetes: Kubernetes, health: Health, clock: Clock) -> AsyncIterator[App]:
    """An App on an open store, closed at the end. Raises StoreError or KubernetesError."""
    async with AsyncExitStack() as stack:
        # before it is opened: one that waits for it lacks it as well
        health.expect("store", timedelta(seconds=2 * settings.lease_duration))
        stack.callback(health.forget, "store")
        store = await open_store_patiently(
            settings.database, schema=settings.schema_, patience=timedelta(seconds=settings.patience)
        )
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
        optional: dict[str, Callable[[], Awaitable[None]]] = {}
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
            port = await door.serve(host, chosen)
            _log.info("the HTTP door is open", address=f"{host}:{port}")
            if settings.door_address:
                optional["door"] = DoorEndpoint(kubernetes, settings.namespace, settings.door_address, port).run
        health.expect("resync", timedelta(seconds=3 * settings.resync_interval + 30))
        # a connection that is silent is given up; a watch that is silent after that needs a new process
        patience = 3 * settings.resync_interval + 2 * settings.watch_silence
        health.expect("watch", timedelta(seconds=patience), restart=True)
        if settings.embedded_worker == "on":
            optional["worker"] = await stack.enter_async_context(open_worker(settings, health))
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
                **optional,
            },
            resync=resync,
            heard=heard,
            door=door,
        )

"""The operator as a process: it waits until it leads, and then acts until it is stopped.

    Kubernetes watch ─▶ handlers ─▶ store.submit ─▶ (workers) ─▶ store.dirty ─▶ status writer ─▶ Kubernetes

Only the one that leads opens all that, and acts; the others wait, and answer probes and scrapes. Beside it run loops:
the comparison of everything with everything, the sweeper, the exporter, the rollout controller.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from orchestrator.cli.processes import signals_cancel
from orchestrator.clock import SystemClock
from orchestrator.endpoint import Endpoint
from orchestrator.health import Health
from orchestrator_operator.adapters.kubernetes import Kubernetes
from orchestrator_operator.assembly import opened
from orchestrator_operator.leadership.leader import Deposed, Leader
from orchestrator_operator.leadership.metrics import LEADER
from orchestrator_operator.lives import end_within, live
from orchestrator_operator.prerequisites import reaches_store, wait_for_resources
from orchestrator_operator.sole import sole

if TYPE_CHECKING:
    from orchestrator_operator.settings import Settings

_log = structlog.get_logger(__name__)

_KINDS = "the API server, with our kinds"  # what /healthz waits for first
_REACHED = "the store, for the first time"
_LOOK = 1.0  # seconds before each look for it; in the first one a Lease that nobody holds is taken
_LAST_WORDS = 3.0  # seconds that a deposed process may take to end


async def run(settings: Settings) -> None:
    """Lead, or wait until it is our turn, and then act until SIGTERM or SIGINT.

    Raises Deposed when another operator may lead by now: whoever runs us starts us again, and then we wait. A process
    that acted cannot be trusted to forget what it was about to do. Further InvalidInput, StoreError, KubernetesError.
    """
    with signals_cancel():  # process 1 of a container hears no signal that it has no handler for
        await _run(settings)


async def _run(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        clock = SystemClock()
        if settings.embedded_worker == "on":
            stack.enter_context(sole(settings.database))
        health = Health(clock)
        health.expect(_KINDS, timedelta())
        endpoint = Endpoint(health)
        stack.push_async_callback(endpoint.aclose)
        port = await endpoint.serve(settings.metrics_host, settings.metrics_port)
        _log.info("serving /metrics and /healthz", address=f"{settings.metrics_host}:{port}")
        kubernetes = await Kubernetes.connect(settings.kubeconfig)
        stack.push_async_callback(kubernetes.aclose)
        await wait_for_resources(kubernetes, settings.watched)
        health.expect(_REACHED, timedelta())  # one that waits must be able to take over
        health.forget(_KINDS)

        async def life(stop: asyncio.Event) -> None:
            async with opened(settings, kubernetes, health, clock) as app:
                health.forget(_REACHED)  # what it goes on with tells from here on
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
        looking = asyncio.create_task(_reached(settings, leader, health), name="looking for the store")
        stack.callback(looking.cancel)
        leader.contact = lambda: health.beat("lease")
        leader.lacks, leader.able = lambda: health.about("store"), lambda: reaches_store(settings)
        try:
            await leader.lead(act)
        except Deposed:
            end_within(_LAST_WORDS)  # nothing that it does is of use, and until it has ended it is no candidate
            raise


async def _reached(settings: Settings, leader: Leader, health: Health) -> None:
    """Until one that waits has reached the store; one that leads opens it anyway."""
    while True:
        await asyncio.sleep(_LOOK)
        if leader.leads or await reaches_store(settings):
            break
    health.forget(_REACHED)

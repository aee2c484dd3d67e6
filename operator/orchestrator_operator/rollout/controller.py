"""The rollout controller: knows the rollouts, reconciles each when it is due, tells the router what they mean.

watch ─▶ handle ─┐
flag ─▶ changed ─┼─▶ reconcile: gather ─▶ judge ─▶ plan ─▶ apply ─▶ due again in …
clock ───────────┘
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import structlog

from orchestrator.errors import StoreError
from orchestrator.flag import FlagError
from orchestrator.nodes.addresses import AllowList
from orchestrator_operator import telemetry
from orchestrator_operator.adapters.flag import SecretFlagStore
from orchestrator_operator.adapters.kubernetes import Conflict, KubernetesError, NotFound
from orchestrator_operator.adapters.prometheus import Prometheus
from orchestrator_operator.adapters.webhook import Webhook
from orchestrator_operator.handlers.announce import Announcer
from orchestrator_operator.rollout import metrics, pace
from orchestrator_operator.rollout.acting.apply import Applier
from orchestrator_operator.rollout.acting.notify import Notifier
from orchestrator_operator.rollout.flagwatch import FlagWatcher
from orchestrator_operator.rollout.judging.judge import judge
from orchestrator_operator.rollout.known import Known, owner_of
from orchestrator_operator.rollout.log.recorder import Overtaken, Recorder
from orchestrator_operator.rollout.ownership import judged_attempt, owner
from orchestrator_operator.rollout.planning.plan import plan
from orchestrator_operator.rollout.reading.gather import Gatherer
from orchestrator_operator.routing import RoutingFacts
from orchestrator_operator.specs import ROLLOUTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from orchestrator.clock import Clock
    from orchestrator.store.port import Store
    from orchestrator_operator.adapters.kubernetes import Kubernetes
    from orchestrator_operator.settings import Settings

_PASSING = (KubernetesError, FlagError, StoreError)  # trouble that may be over when we look again

_log = structlog.get_logger(__name__)


class RolloutController:
    """One object for all EngineRollouts of a namespace; `loops` are to be run beside the watch."""

    def __init__(
        self,
        *,
        kubernetes: Kubernetes,
        store: Store,
        prometheus: Prometheus,
        clock: Clock,
        namespace: str,
        flag_secret: str,
        http_allow: AllowList | None = None,
    ) -> None:
        self._kubernetes, self._clock, self._prometheus = kubernetes, clock, prometheus
        self._namespace, self._flag_secret = namespace, flag_secret

        def flags(secret: str) -> SecretFlagStore:
            return SecretFlagStore(kubernetes, namespace, secret)

        self._announcer = Announcer(kubernetes, clock)
        self._gatherer = Gatherer(
            store=store, prometheus=prometheus, flags=flags, routed_secret=flag_secret, clock=clock
        )
        self._recorder = Recorder(store)
        self._notifier = Notifier(Webhook(kubernetes, namespace, http_allow or AllowList()))
        self._applier = Applier(
            kubernetes=kubernetes,
            store=store,
            flags=flags,
            announcer=self._announcer,
            recorder=self._recorder,
            notifier=self._notifier,
            clock=clock,
        )
        self._flag = FlagWatcher(flags(flag_secret), self._all_due)
        self._known: dict[str, Known] = {}  # by uid
        self._wake = asyncio.Event()

    @classmethod
    def build(cls, settings: Settings, *, store: Store, kubernetes: Kubernetes, clock: Clock) -> RolloutController:
        """As the operator's settings say; owns the client of Prometheus."""
        return cls(
            kubernetes=kubernetes,
            store=store,
            prometheus=Prometheus(settings.prometheus),
            clock=clock,
            namespace=settings.namespace,
            flag_secret=settings.flag_secret,
            http_allow=AllowList.parse(settings.http_allow),
        )

    async def start(self) -> None:
        """Read the flag and all rollouts, so that the first execution is routed by what stands."""
        await self._flag.look()
        for body in await self._kubernetes.list(ROLLOUTS, self._namespace):
            await self.handle(body)

    def loops(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What must go on until the end, by name."""
        return {"flag": self._flag.run, "rollouts": self.run, "notifications": self._notifier.run}

    async def notified(self) -> None:
        """Until every letter that was posted is sent or given up; the loop `notifications` has to run."""
        await self._notifier.drained()

    async def aclose(self) -> None:
        await self._prometheus.aclose()
        await self._notifier.aclose()

    # -- what the watch says
    async def handle(self, body: Mapping[str, Any]) -> None:
        """A rollout is there, or has changed. Our own status is newer than the one that comes with it."""
        uid = _uid(body)
        known = self._known.get(uid)
        if known is None:
            self._known[uid] = Known.found(body)
            self._all_due()  # the flag may have a new owner
        elif known.is_older(body):  # late news, or an API server that was set back: it says itself what stands
            await self._read_again(known)
        else:
            self._see(known, body)

    def _see(self, known: Known, body: Mapping[str, Any]) -> None:
        woken = _wishes(known.body) != _wishes(body)
        known.see(body)
        if woken:
            self._due(known)

    async def gone(self, body: Mapping[str, Any]) -> None:
        """A rollout was deleted."""
        self._forget(_uid(body))

    # -- what the router asks
    def facts(self, now: datetime) -> RoutingFacts:
        """The flag, its owner, and what new executions are counted for."""
        owning = owner_of(self._flag_secret, self._known.values())
        if owning is None:
            return RoutingFacts(self._flag.state(now))
        attempt = judged_attempt(owning.status) if owning.ages else ""
        return RoutingFacts(self._flag.state(now), owner(owning.status), attempt, owning.ages if attempt else ())

    # -- the loop
    async def run(self) -> None:
        """Reconcile whatever is due, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            for known in list(self._known.values()):
                if known.due <= loop.time():
                    known.due = math.inf  # what becomes due while we look at it is not lost
                    known.due = min(known.due, loop.time() + await self.reconcile(known.uid))
            next_due = min((known.due for known in self._known.values()), default=loop.time() + 60.0)
            try:
                await asyncio.wait_for(self._wake.wait(), max(0.0, next_due - loop.time()))
            except TimeoutError:
                continue

    async def reconcile(self, uid: str) -> float:
        """Look at one rollout and do what follows; returns after how many seconds to look again. Never raises."""
        known = self._known.get(uid)
        if known is None:
            return 0.0
        try:
            with telemetry.reconciling(ROLLOUTS):
                seconds = await self._once(known)
        except NotFound:
            self._forget(uid)
            return 0.0
        except _PASSING as error:
            telemetry.failed(ROLLOUTS)
            return await self._failed(known, error)
        except Exception as error:  # noqa: BLE001 - one malformed rollout must not stop the others
            telemetry.failed(ROLLOUTS)
            _log.exception("a rollout could not be reconciled", rollout=known.name)
            await self._say_once(known, f"{type(error).__name__}: {error}")
            return pace.LONGEST_RETRY
        known.failures = 0
        known.told.clear()
        return seconds

    async def _once(self, known: Known) -> float:
        await self._applier.guard(known)
        known.follow(await self._recorder.catch_up(known.uid, known.status))
        owning = owner_of(known.secret, self._known.values())
        gathered = await self._gatherer.gather(known, None if owning in (known, None) else owning.name)
        judgement = judge(gathered)
        planned = plan(gathered, judgement)
        again = await self._applier.apply(known, gathered, judgement, planned)
        pending = self._recorder.pending(known.uid)
        metrics.show(known.name, known.status, gathered.spec, gathered.now, pending)
        if again:
            await self._flag.look()  # the router should know at once
            return 0.0
        return pace.next_look(gathered, planned, self._clock.now())

    async def _failed(self, known: Known, error: Exception) -> float:
        """Try again, later each time. A status that somebody else's object has taken is read anew."""
        delay = pace.retry(known.failures)
        known.failures += 1
        _log.warning("a rollout will be looked at again", rollout=known.name, retry_in=delay, error=str(error))
        if isinstance(error, Conflict | Overtaken):
            await self._read_again(known, overtaken=isinstance(error, Overtaken))
        if not isinstance(error, StoreError | Conflict):
            await self._say_once(known, str(error))
        return delay

    async def _read_again(self, known: Known, *, overtaken: bool = False) -> None:
        """The resource as the API server has it now, whatever its version."""
        namespace, name = known.name.split("/", 1)
        try:
            body = await self._kubernetes.get(ROLLOUTS, namespace, name)
        except NotFound:
            self._forget(known.uid)
        except KubernetesError:
            return
        else:
            if (body.get("metadata") or {}).get("uid") != known.uid:
                self._forget(known.uid)
                await self.handle(body)
                return
            if overtaken:
                known.status = known.written = Known.found(body).status  # what the other operator decided comes first
            self._see(known, body)

    async def _say_once(self, known: Known, trouble: str) -> None:
        if trouble not in known.told:
            known.told.add(trouble)
            await self._announcer.tell(ROLLOUTS, known.metadata, "ReconcileFailed", trouble, warning=True)

    def _due(self, known: Known) -> None:
        known.due = 0.0
        self._wake.set()

    def _all_due(self) -> None:
        for known in self._known.values():
            self._due(known)

    def _forget(self, uid: str) -> None:
        if (known := self._known.pop(uid, None)) is not None:
            metrics.forget(known.name)
            self._recorder.forget(uid)
            self._applier.forget(uid)
            self._all_due()  # the flag may have a new owner
            self._wake.set()


def _uid(body: Mapping[str, Any]) -> str:
    return str((body.get("metadata") or {}).get("uid", ""))


def _wishes(body: Mapping[str, Any]) -> tuple[Any, ...]:
    """The part of a resource that people change: our own status comes back by the watch too, and says nothing new."""
    meta = body.get("metadata") or {}
    return body.get("spec"), meta.get("annotations"), meta.get("deletionTimestamp")

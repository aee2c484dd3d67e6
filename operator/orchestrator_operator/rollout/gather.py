"""Read everything that a decision depends on into one frozen value. Nothing is decided or written here."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator import durations
from orchestrator.errors import StoreError
from orchestrator.flag import FlagError, FlagSnapshot
from orchestrator.model import Assignment, Engine, Status
from orchestrator.steering import every_active
from orchestrator_operator.adapters.kubernetes import Refused
from orchestrator_operator.adapters.prometheus import PrometheusError, listening
from orchestrator_operator.rollout import readings
from orchestrator_operator.rollout.model import Gathered, Unreadable
from orchestrator_operator.rollout.phases import IN_A_STAGE
from orchestrator_operator.specs.rollout_status import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.clock import Clock
    from orchestrator.flag import FlagStore
    from orchestrator.store.port import Store
    from orchestrator_operator.adapters.prometheus import Prometheus
    from orchestrator_operator.rollout.evidence import Cells
    from orchestrator_operator.rollout.known import Known
    from orchestrator_operator.rollout.model import CohortKey, Restart
    from orchestrator_operator.specs.rollout import RolloutSpec

STALE = timedelta(minutes=3)  # older samples are no samples: three scrapes of Prometheus' slowest usual interval


class Gatherer:
    """Reads the flag, the store and Prometheus for one rollout."""

    def __init__(
        self,
        *,
        store: Store,
        prometheus: Prometheus,
        flags: Callable[[str], FlagStore],
        routed_secret: str,
        clock: Clock,
        stale: timedelta = STALE,
    ) -> None:
        self._store, self._prometheus, self._flags, self._clock = store, prometheus, flags, clock
        self._routed_secret, self._stale = routed_secret, stale

    async def gather(self, known: Known, rival: str | None) -> Gathered:
        """Everything, as of now. What cannot be read is said to be Unreadable, it never raises for that."""
        spec = known.spec
        flag = await self._flag(known.secret)
        restarts: tuple[Restart, ...] = ()
        cohorts: Mapping[CohortKey, Cells | Unreadable] = {}
        guardrails: Mapping[str, float | Unreadable] = {}
        queries: tuple[str, ...] = ()
        if spec is not None and rival is None and known.status.phase in IN_A_STAGE | {Phase.PENDING}:
            with listening() as asked:
                (cohorts, restarts), guardrails = await asyncio.gather(
                    self._evidence(known, spec), self._guardrails(known, spec)
                )
            queries = tuple(sorted(set(asked)))
        metadata = known.metadata
        return Gathered(
            now=self._clock.now(),  # last: nothing that was read is newer
            name=known.name,
            uid=known.uid,
            generation=int(metadata.get("generation", 0)),
            spec=spec,
            status=known.status,
            flag=flag,
            problems=known.problems,
            annotations={str(key): str(value) for key, value in (metadata.get("annotations") or {}).items()},
            deleting=known.deleting,
            rival=rival,
            cohorts=cohorts,
            restarts=restarts,
            guardrails=guardrails,
            queries=queries,
            in_flight=await self._in_flight() if known.status.phase is Phase.ROLLING_BACK else None,
        )

    async def _flag(self, secret: str) -> FlagSnapshot | Unreadable:
        try:
            found = await self._flags(secret).read()
        except FlagError as error:
            if isinstance(error.__cause__, Refused):
                return Unreadable(
                    "SecretForbidden", f"the Secret {secret} is not there, or the operator's Role does not name it"
                )
            return Unreadable("FlagUnavailable", str(error))
        if found.exists and secret != self._routed_secret:
            return Unreadable("SecretNotRouted", f"this operator's router reads {self._routed_secret}, not {secret}")
        return found

    async def _evidence(
        self, known: Known, spec: RolloutSpec
    ) -> tuple[Mapping[CohortKey, Cells | Unreadable], tuple[Restart, ...]]:
        attempt = known.status.attempt_id
        if not attempt:
            return readings.unread(spec, Unreadable("NoSeries", "its counters are not there yet")), ()
        try:
            restarts = await self._restarts(attempt)
            samples, ages = await asyncio.gather(
                self._prometheus.query(readings.counters_query(attempt)),
                self._prometheus.query(readings.age_query(attempt)),
            )
        except PrometheusError as error:
            return readings.unread(spec, Unreadable(error.reason, str(error))), ()
        except (StoreError, ValueError) as error:
            why = Unreadable("StoreUnavailable", f"the totals of the restarts cannot be read: {error}")
            return readings.unread(spec, why), ()
        age = max((sample.value for sample in ages), default=math.nan)  # NaN compares as stale below
        if samples and not age <= self._stale.total_seconds():
            shown = durations.show(timedelta(seconds=round(age))) if math.isfinite(age) else "of no known age,"
            return readings.unread(spec, Unreadable("Stale", f"the counters are {shown} old")), restarts
        found = readings.cohorts(samples, spec)
        return readings.without_resets(found, restarts, known.status, spec), restarts

    async def _restarts(self, attempt: str) -> tuple[Restart, ...]:
        return tuple(readings.load(kept.index, kept.at, kept.totals) for kept in await self._store.totals(attempt))

    async def _guardrails(self, known: Known, spec: RolloutSpec) -> Mapping[str, float | Unreadable]:
        names = [criterion.name for criterion in spec.guardrails]
        queries = [readings.guardrail_query(item, spec, known.status.attempt_id) for item in spec.guardrails]
        values = await asyncio.gather(*(self._guardrail(query) for query in queries))
        return dict(zip(names, values, strict=True))

    async def _guardrail(self, query: str) -> float | Unreadable:
        try:
            return readings.value(await self._prometheus.query(query))
        except PrometheusError as error:
            return Unreadable(error.reason, str(error))

    async def _in_flight(self) -> int | None:
        """V2's executions that the router put there; those that asked for V2 by name go on after a rollback."""
        try:
            if await self._store.in_flight(Engine.V2) == 0:
                return 0
            active = [record async for record in every_active(self._store)]
        except StoreError:
            return None
        return sum(
            record.engine is Engine.V2
            and record.assignment is not Assignment.EXPLICIT
            and record.status is not Status.SUSPENDED
            for record in active
        )

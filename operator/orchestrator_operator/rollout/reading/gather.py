"""Read everything that a decision depends on into one frozen value. Nothing is decided or written here."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator.errors import StoreError
from orchestrator.flag import FlagError, FlagSnapshot
from orchestrator.model import Assignment, Engine, Status
from orchestrator.steering import every_active
from orchestrator.store.evidence import Ended
from orchestrator_operator.adapters.kubernetes import Refused
from orchestrator_operator.adapters.prometheus import PrometheusError, listening
from orchestrator_operator.rollout.model import Gathered, Health, Unreadable
from orchestrator_operator.rollout.phases import IN_A_STAGE, OVER
from orchestrator_operator.rollout.reading import readings
from orchestrator_operator.rollout.reading.counted import STALE, Counted, CountReader
from orchestrator_operator.rollout.reading.kept import BASELINE, Kept, KeptReader
from orchestrator_operator.rollout.reading.own_reading import Own, OwnReader
from orchestrator_operator.specs.rollout_status import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from orchestrator.clock import Clock
    from orchestrator.flag import FlagStore
    from orchestrator.store.evidence import Baseline
    from orchestrator.store.port import Store
    from orchestrator_operator.adapters.prometheus import Prometheus
    from orchestrator_operator.rollout.known import Known
    from orchestrator_operator.specs.rollout import RolloutSpec
    from orchestrator_operator.specs.rollout_status import RolloutStatus

    Bad = Mapping[str, tuple[int, int]]  # bad executions and all, by workflow

_NOW = timedelta(hours=1)  # what V1's health is read of
_WEEK_STANDS = timedelta(minutes=10)  # how long V1's week is not counted again before the start
_IN_TIME = timedelta(minutes=1)  # by when nothing may start on V2 any more after the flag is clear
_WATCHED = timedelta(hours=1)  # a start on V2 is told of for so long


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
        self._routed_secret = routed_secret
        self._counts, self._kept = CountReader(prometheus, stale), KeptReader(store)
        self._own = OwnReader(store, prometheus)
        self._weeks: dict[str, tuple[datetime, Bad]] = {}  # by attempt: when it was counted, and V1's week

    async def gather(self, known: Known, rival: str | None) -> Gathered:
        """Everything, as of now. What cannot be read is said to be Unreadable, it never raises for that."""
        spec, phase = known.spec, known.status.phase
        flag = await self._flag(known.secret)
        counted, own, kept = Counted(), Own(), Kept()
        health: tuple[Health, ...] | Unreadable = ()
        guardrails: Mapping[str, float | Unreadable] = {}
        queries: tuple[str, ...] = ()
        judged = rival is None and phase in IN_A_STAGE | {Phase.PENDING}
        if spec is not None and judged:
            kept = await self._kept.read(known.status.attempt_id)
            with listening() as asked:
                counted, guardrails, health, own = await asyncio.gather(
                    self._counts.read(known.status, spec, kept),
                    self._guardrails(known, spec),
                    self._health(known.status, kept.baselines),
                    self._own.read(known.status, spec, self._clock.now()),
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
            cohorts=counted.cohorts,
            restarts=kept.restarts,
            away=kept.away,
            guardrails=guardrails,
            in_flight=await self._in_flight() if phase is Phase.ROLLING_BACK else None,
            starts=counted.starts,
            keyed=counted.keyed,
            calibration=counted.calibration,
            own=own.bins,
            closed=own.closed,
            baselined=spec is None or not judged or kept.baselines is not None,
            health=health,
            late_starts=await self._late_starts(known) if phase in OVER and rival is None else None,
            queries=queries,
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

    async def _health(
        self, status: RolloutStatus, baselines: list[Baseline] | Unreadable | None
    ) -> tuple[Health, ...] | Unreadable:
        """V1's last hour, by workflow, against its week before the attempt: before the start, against the week that was
        before that hour, since none is kept yet.
        """
        if isinstance(baselines, Unreadable):
            return baselines
        before: Bad
        try:
            if baselines is not None:
                before = {one.workflow_id: (one.bad, one.executions) for one in baselines}
            elif status.phase is Phase.PENDING and status.attempt_id:
                before = await self._week(status.attempt_id)
            else:
                return ()
            ended = await self._store.ended(Engine.V1, self._clock.now() - _NOW)
        except StoreError as error:
            return Unreadable("StoreUnavailable", f"V1's health cannot be read: {error}")
        return tuple(
            Health(one.workflow_id, one.bad, one.executions, *before.get(one.workflow_id, (0, 0))) for one in ended
        )

    async def _week(self, attempt: str) -> Bad:
        """V1's week up to an hour ago. It is many rows to count, so it stands for a while."""
        now = self._clock.now()
        counted, found = self._weeks.get(attempt, (None, {}))
        if counted is None or not timedelta(0) <= now - counted < _WEEK_STANDS:
            week = await self._store.ended(Engine.V1, now - _NOW - BASELINE)
            hour = {one.workflow_id: one for one in await self._store.ended(Engine.V1, now - _NOW)}
            found = {
                one.workflow_id: (one.bad - late.bad, one.executions - late.executions)
                for one in week
                for late in [hour.get(one.workflow_id, Ended(one.workflow_id, 0, 0))]
            }
            self._weeks = {attempt: (now, found)}
        return found

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

    async def _late_starts(self, known: Known) -> int | None:
        """Executions that were routed to V2 in the last hour although the flag had been clear for a minute."""
        cleared, now = known.status.flag_cleared_at, self._clock.now()
        if cleared is None:
            return None
        since = max(cleared + _IN_TIME, now - _WATCHED)
        if since > now:
            return 0
        try:
            return await self._store.routed_since(Engine.V2, since)
        except StoreError:
            return None

"""The store in memory: the whole contract, for tests that need no database."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from orchestrator.faults import Boundary, Moment, reach
from orchestrator.model import Engine, Status
from orchestrator.testing.memory import (
    baselines,
    claiming,
    decisions,
    delivering,
    evidence,
    limits,
    logs,
    reading,
    submitting,
)
from orchestrator.testing.memory.data import Data, record, recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from orchestrator.events import Recorded
    from orchestrator.model import Workflow
    from orchestrator.store.evidence import Appended, Baseline, CohortCount, DecisionRow, Ended, KeptBin, Taken, Totals
    from orchestrator.store.messages import (
        Append,
        Claim,
        Control,
        Delivered,
        Delivery,
        Outcome,
        Release,
        Submission,
        Submitted,
        V1Update,
    )
    from orchestrator.store.records import Backlog, ExecutionRecord, Filter, Gauges

_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)

T = TypeVar("T")


class MemoryStore:
    """Keeps `orchestrator.store.Store` in memory, on one event loop. It passes the same tests as the databases.

    Each method is one atomic commit, announced like a database's (orchestrator/faults.py). A second "process" is
    whoever shares the object. Nothing in it depends on chance or on the time of day.
    """

    def __init__(self, epoch: datetime = _EPOCH) -> None:
        self._epoch = epoch
        self._data = Data()
        self.commits = 0  # so far
        self._workflows: dict[tuple[str, str], Workflow] = {}

    async def close(self) -> None:
        """Nothing to give back; what is in it stays readable."""

    async def epoch(self) -> datetime:
        return self._epoch

    def _commit(self, boundary: Boundary, work: Callable[[Data], T]) -> T:
        """Let `work` change a copy, and take it over; an error on the way leaves everything as it was."""
        draft = copy.copy(self._data)
        result = work(draft)
        if draft.same_as(self._data):
            return result  # there was nothing to do, and nothing to commit
        reach(boundary, Moment.BEFORE)
        self._data = draft
        self.commits += 1
        reach(boundary, Moment.AFTER)
        reach(boundary, Moment.LOST)
        return result

    # -- workflows
    async def put_workflow(self, workflow: Workflow) -> None:
        self._commit(Boundary.PUT_WORKFLOW, lambda d: submitting.put_workflow(d, workflow))

    async def workflow(self, workflow_id: str, revision: str) -> Workflow:
        key = (workflow_id, revision)
        if key not in self._workflows:
            self._workflows[key] = reading.workflow(self._data, *key)
        return self._workflows[key]

    async def current(self, workflow_id: str) -> Workflow | None:
        revision = self._data.current.get(workflow_id)
        return None if revision is None else await self.workflow(workflow_id, revision)

    # -- submitting and steering
    async def submit(self, batch: Sequence[Submission], now: datetime) -> list[Submitted]:
        return self._commit(Boundary.SUBMIT, lambda d: submitting.submit(d, batch, now))

    async def deliver(self, deliveries: Sequence[Delivery]) -> list[Delivered]:
        return self._commit(
            Boundary.DELIVER, lambda d: [delivering.record(d, one.execution_id, one.event) for one in deliveries]
        )

    async def control(self, execution_id: str, control: Control, now: datetime) -> bool:
        return self._commit(Boundary.DELIVER, lambda d: delivering.control(d, execution_id, control, now))

    async def restored(self, now: datetime) -> int:
        self._epoch = now
        return self._commit(Boundary.DELIVER, delivering.restored)

    # -- claims and appends
    async def claim(self, owner: str, engine: Engine, limit: int, lease: timedelta, now: datetime) -> list[Claim]:
        return self._commit(Boundary.CLAIM, lambda d: claiming.claim(d, owner, engine, limit, lease, now))

    async def renew(self, held: Mapping[str, int], lease: timedelta, now: datetime) -> dict[str, int]:
        return self._commit(Boundary.RENEW, lambda d: claiming.renew(d, held, lease, now))

    async def release(self, held: Mapping[str, Release], now: datetime) -> None:
        self._commit(Boundary.RELEASE, lambda d: claiming.release(d, held, now))

    async def append(self, batch: Sequence[Append]) -> list[Outcome]:
        return self._commit(Boundary.APPEND, lambda d: claiming.append(d, batch))

    async def v1_update(self, batch: Sequence[V1Update]) -> list[bool]:
        return self._commit(Boundary.V1_UPDATE, lambda d: claiming.v1_update(d, batch))

    async def heal_limits(self, now: datetime) -> int:
        return self._commit(Boundary.HEAL_LIMITS, lambda d: limits.heal(d, now))

    async def events(self, execution_id: str, after: int = 0) -> list[Recorded]:
        row = self._data.rows.get(execution_id)
        return [] if row is None else [recorded(event) for event in self._data.history(row, after)]

    async def histories(self, ids: Collection[str]) -> dict[str, list[Recorded]]:
        return {id_: found for id_ in ids if (found := await self.events(id_))}

    # -- reading
    async def get(self, execution_id: str) -> ExecutionRecord | None:
        row = self._data.rows.get(execution_id)
        return None if row is None else record(row)

    async def find(self, workflow_id: str, idempotency_key: str) -> ExecutionRecord | None:
        return await self.get(self._data.keys.get((workflow_id, idempotency_key), ""))

    async def input_of(self, execution_id: str) -> Any:
        row = self._data.rows.get(execution_id)
        return None if row is None else reading.input_of(self._data, row)

    async def executions(self, where: Filter) -> list[ExecutionRecord]:
        return [record(row) for row in reading.executions(self._data, where)]

    async def known(self, ids: Collection[str]) -> set[str]:
        return {id_ for id_ in ids if id_ in self._data.rows}

    async def over(self, ids: Collection[str]) -> set[str]:
        return {id_ for id_ in ids if (row := self._data.rows.get(id_)) is not None and row.over}

    async def backlog(self, now: datetime, most: int) -> Backlog:
        return reading.backlog(self._data, now, most)

    async def active(self, after: tuple[datetime, str] | None = None, limit: int = 1000) -> list[ExecutionRecord]:
        return [record(row) for row in reading.active(self._data, after, limit)]

    async def idle(self, engines: Collection[Engine]) -> bool:
        return reading.idle(self._data, engines)

    def next_due(self) -> datetime | None:
        """When something wants a worker next, leases included; None: not before something is asked of it."""
        return min((row.due_at for row in self._data.unfinished() if row.due_at is not None), default=None)

    # -- status writing
    async def dirty(
        self, now: datetime, limit: int, every: timedelta, grace: timedelta = timedelta(0), *, namespace: str = ""
    ) -> list[ExecutionRecord]:
        return [record(row) for row in reading.dirty(self._data, now, limit, every, grace, namespace)]

    async def written(self, versions: Mapping[str, tuple[int, Status]], now: datetime) -> None:
        self._commit(Boundary.WRITTEN, lambda d: reading.written(d, versions, now))

    # -- logs and retention
    async def log_edge(self, messages: Sequence[str], now: datetime) -> None:
        self._commit(Boundary.LOG, lambda d: logs.write_log(d, messages, now))

    async def drop_logs(self, before: datetime, limit: int = 1000) -> int:
        return self._commit(Boundary.DROP_LOGS, lambda d: logs.drop_logs(d, before, limit))

    async def drop_finished(self, before: datetime, limit: int = 200) -> int:
        return self._commit(Boundary.DROP_FINISHED, lambda d: reading.drop_finished(d, before, limit))

    async def edge_logs(self, since: datetime, contains: str = "", limit: int = 1000) -> list[tuple[datetime, str]]:
        return logs.edge_logs(self._data, since, contains, limit)

    # -- evidence
    async def count_cohorts(self, now: datetime, limit: int = 200) -> int:
        return self._commit(Boundary.COUNT_COHORTS, lambda d: evidence.count_cohorts(d, now, limit))

    async def cohort_counts(self, attempt: str | None = None) -> list[CohortCount]:
        return evidence.cohort_counts(self._data, attempt)

    async def save_totals(self, attempt: str, totals: Totals) -> None:
        self._commit(Boundary.SAVE_TOTALS, lambda d: evidence.save_totals(d, attempt, totals))

    async def totals(self, attempt: str) -> list[Totals]:
        return evidence.totals(self._data, attempt)

    async def append_decision(self, row: DecisionRow) -> Appended | Taken:
        return self._commit(Boundary.APPEND_DECISION, lambda d: decisions.append_decision(d, row))

    async def decisions(self, rollout: str, after: int = 0, limit: int = 100) -> list[DecisionRow]:
        return decisions.decisions(self._data, rollout, after, limit)

    async def in_flight(self, engine: Engine) -> int:
        return sum(row.engine is engine and row.status is not Status.SUSPENDED for row in self._data.unfinished())

    async def gauges(self, now: datetime, poll: timedelta) -> Gauges:
        return evidence.gauges(self._data, now, poll)

    # -- what an engine does by workflow, and users' own counters
    async def take_baselines(self, attempt: str, since: datetime, until: datetime) -> None:
        self._commit(Boundary.TAKE_BASELINES, lambda d: baselines.take(d, attempt, since, until))

    async def baselines(self, attempt: str) -> list[Baseline] | None:
        return baselines.baselines(self._data, attempt)

    async def ended(self, engine: Engine, since: datetime) -> list[Ended]:
        return baselines.ended(self._data, engine, since)

    async def routed_since(self, engine: Engine, since: datetime) -> int:
        return baselines.routed_since(self._data, engine, since)

    async def save_bins(self, attempt: str, criterion: str, bins: Sequence[KeptBin]) -> None:
        if bins:
            self._commit(Boundary.SAVE_BINS, lambda d: baselines.save_bins(d, attempt, criterion, bins))

    async def bins(self, attempt: str, criterion: str, first: int = 0) -> list[KeptBin]:
        return baselines.bins(self._data, attempt, criterion, first)

    async def drop_evidence(self, attempts: str) -> int:
        return self._commit(Boundary.DROP_EVIDENCE, lambda d: baselines.drop_evidence(d, attempts))

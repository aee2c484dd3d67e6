"""What a store must do.

Every time is an aware UTC datetime. `now` is always an argument: a store reads no clock. Workers' clocks need only
agree to well within a lease; a larger skew wastes work and is caught by the fencing token.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from orchestrator.events import Recorded
    from orchestrator.model import Engine, Status, Workflow
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


class Store(Protocol):
    """Every method commits before it returns. Raises StoreUnavailable when the database cannot be reached."""

    async def close(self) -> None: ...

    async def epoch(self) -> datetime:
        """When this store was made; older resources than that were restored from somewhere (promise 11)."""

    # -- workflows
    async def put_workflow(self, workflow: Workflow) -> None:
        """Keep a revision, so that executions pinned to it can go on when the resource has changed, and make it the
        current one of its workflow: the one that new children run.
        """

    async def workflow(self, workflow_id: str, revision: str) -> Workflow:
        """Raises UnknownExecution if that revision is not kept."""

    async def current(self, workflow_id: str) -> Workflow | None:
        """The revision that was put last; None if there is none of that workflow."""

    # -- submitting and steering
    async def submit(self, batch: Sequence[Submission], now: datetime) -> list[Submitted]:
        """Accept executions, in the order of the batch. A fork's first event bears its lineage, and the steps that it
        carries follow in the same commit.

        A V2 execution whose workflow has a concurrency limit takes a slot if one is free: those hold one that are not
        over and not queued. Otherwise `queue`: it is pending and queued, with no `due_at`. `skip`: it is over at once,
        ExecutionCancelled with the reason. `replace`: as `queue`, and the oldest holder under that key that was not
        asked yet gets a CancelRequested in the same commit. The count and the row are one atomic step.
        """

    async def deliver(self, deliveries: Sequence[Delivery]) -> list[Delivered]:
        """Record events from outside, durably, and wake their executions: an owner is told STALE at its next append,
        one that nobody holds is due at the event's own moment. A queued one keeps waiting for its slot, unless it is
        to be cancelled.
        """

    async def control(self, execution_id: str, control: Control, now: datetime) -> bool:
        """Record a request durably; False when it changes nothing (over already, or asked before).

        Cancel ends a V1 execution at once while it is pending, and when nobody is left who could read the request: its
        step's deadline is past by V1_GRACE, and so is the watch of one that runs elsewhere. If its process lives after
        all, its next `v1_update` tells it.
        """

    async def restored(self, now: datetime) -> int:
        """The database came out of a backup, and nobody works on it yet: its epoch is now, so that older resources that
        it does not know wait for a person; and what no suspension holds is put where nobody takes it: V1 that did not
        begin, V2 that is being undone. Resuming lets it go. How many those were.
        """

    # -- V2: claims and appends
    async def claim(self, owner: str, engine: Engine, limit: int, lease: timedelta, now: datetime) -> list[Claim]:
        """Take executions that are due, oldest first. V2: with a lease and a new fencing token, and pending ones
        get their ExecutionStarted in the same commit (`seq` counts it). V1: pending ones only, for good.
        """

    async def renew(self, held: Mapping[str, int], lease: timedelta, now: datetime) -> dict[str, int]:
        """Extend leases {id: fence}; returns {id: seq} of those still ours: what is missing is lost."""

    async def release(self, held: Mapping[str, Release], now: datetime) -> None:
        """Let go of those that are still ours; one that has events after the known `seq` (a request that nobody
        looked at yet) is due at once.
        """

    async def append(self, batch: Sequence[Append]) -> list[Outcome]:
        """Commit each append, or refuse it as a whole. Children are made and deliveries recorded in the same commit
        (deliveries to executions that are over or unknown are dropped). An append that ends an execution frees its
        slot, and the oldest queued one under that key becomes due in the same commit.
        """

    async def events(self, execution_id: str, after: int = 0) -> list[Recorded]: ...

    async def histories(self, ids: Collection[str]) -> dict[str, list[Recorded]]:
        """The complete histories of several executions, in one query."""

    async def heal_limits(self, now: datetime) -> int:
        """Make queued executions due while their limit has free slots (a limit was raised, a row removed by hand);
        how many.
        """

    # -- V1: no events, no fencing
    async def v1_update(self, batch: Sequence[V1Update]) -> list[bool]:
        """Write V1's rows, but never one that is over; answers for each whether a cancel was asked for."""

    # -- reading
    async def get(self, execution_id: str) -> ExecutionRecord | None: ...

    async def find(self, workflow_id: str, idempotency_key: str) -> ExecutionRecord | None: ...

    async def input_of(self, execution_id: str) -> Any:
        """What an execution was given, whichever engine runs it; None, too, if there is none of that id."""

    async def executions(self, where: Filter) -> list[ExecutionRecord]:
        """Newest first."""

    async def known(self, ids: Collection[str]) -> set[str]: ...

    async def over(self, ids: Collection[str]) -> set[str]:
        """Those of them that have ended."""

    async def backlog(self, now: datetime, most: int) -> Backlog:
        """How much waits for a worker; `most` bounds what counting costs. What a concurrency limit holds back waits
        for a slot, and does not count.
        """

    async def active(self, after: tuple[datetime, str] | None = None, limit: int = 1000) -> list[ExecutionRecord]:
        """Executions that are not over, oldest first, a page at a time."""

    async def idle(self, engines: Collection[Engine]) -> bool:
        """Whether nothing that is not over could ever want a worker of these engines again by itself or by time:
        suspended ones wait for a person, V1's running ones may be abandoned. One query, one row.
        """

    # -- status writing
    async def dirty(
        self, now: datetime, limit: int, every: timedelta, grace: timedelta = timedelta(0), *, namespace: str = ""
    ) -> list[ExecutionRecord]:
        """Executions with a name whose resource does not say yet what the row says; "" for those of all namespaces.

        Those whose status changed since the last `written` at once, the others at most once in `every`. One of which
        nothing was written yet has a `grace` from its submission on, unless it is over: it may be over by then, and
        one write says it all. For the same reason the start of one that was told as pending waits for `every`.
        Changed statuses come before all else, and then who was told of longest ago.
        """

    async def written(self, versions: Mapping[str, tuple[int, Status]], now: datetime) -> None:
        """The resource now says what the row said at that version and status."""

    # -- logs
    async def log_edge(self, messages: Sequence[str], now: datetime) -> None: ...

    async def drop_finished(self, before: datetime, limit: int = 200) -> int:
        """Delete some executions that ended before that, with their events, in one commit; how many, 0 when none is
        left. One whose parent is not over, or that a status writer still owes a write, stays for now.
        """

    async def drop_logs(self, before: datetime, limit: int = 1000) -> int:
        """Delete some log lines older than that; how many, 0 when none is left."""

    async def edge_logs(self, since: datetime, contains: str = "", limit: int = 1000) -> list[tuple[datetime, str]]: ...

    # -- evidence
    async def count_cohorts(self, now: datetime, limit: int = 200) -> int:
        """Read executions that reached an age, raise the counters in the same commit; how many were read.

        `limit` bounds how many rows are locked meanwhile: an append to one of them waits.
        """

    async def cohort_counts(self, attempt: str | None = None) -> list[CohortCount]: ...

    async def save_totals(self, attempt: str, totals: Totals) -> None:
        """Keep the totals of a restart; the first ones stored for an index stay."""

    async def totals(self, attempt: str) -> list[Totals]: ...

    async def append_decision(self, row: DecisionRow) -> Appended | Taken:
        """Add a row to the end of its rollout's chain, if that end is still the row that it names: compare and swap.

        Rows are never changed and never dropped: they outlive the executions that they speak of.
        """

    async def decisions(self, rollout: str, after: int = 0, limit: int = 100) -> list[DecisionRow]:
        """The rows behind number `after`, in their order."""

    async def in_flight(self, engine: Engine) -> int:
        """Executions on an engine that are not over and not suspended."""

    async def gauges(self, now: datetime, poll: timedelta) -> Gauges: ...

    async def take_baselines(self, attempt: str, since: datetime, until: datetime) -> None:
        """Measure how V1 did, by workflow, with what ended in [since, until), and keep it; what was kept for an
        attempt first stays. Children, forks and executions that asked for their engine are left out. A database may
        leave it at the newest million.
        """

    async def baselines(self, attempt: str) -> list[Baseline] | None:
        """By workflow; None: they were not taken yet."""

    async def ended(self, engine: Engine, since: datetime) -> list[Ended]:
        """What an engine ended since then, by workflow, as in `take_baselines`."""

    async def routed_since(self, engine: Engine, since: datetime) -> int:
        """How many executions the router has sent to an engine since then."""

    async def save_bins(self, attempt: str, criterion: str, bins: Sequence[KeptBin]) -> None:
        """Keep bins that follow each other, all or none: none if the first one's number is taken, for then somebody
        else went on from the bin before, and theirs lie across these.
        """

    async def bins(self, attempt: str, criterion: str, first: int = 0) -> list[KeptBin]:
        """From the number `first` on, in their order."""

    async def drop_evidence(self, attempts: str) -> int:
        """Delete the totals, baselines and bins of every attempt whose id begins so; how many rows there were. The
        log of decisions stays, and so do the counters: they only ever grow.
        """

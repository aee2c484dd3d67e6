"""What a store must do, and the values that cross its border.

Every time is an aware UTC datetime. `now` is always an argument: a store reads no clock. Workers' clocks need only
agree to well within a lease; a larger skew wastes work and is caught by the fencing token.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from orchestrator.events import Event, OutsideEvent, Recorded, SignalReceived, StepCarried
    from orchestrator.model import Assignment, Engine, Failure, Lineage, Projection, Status, Trace, Workflow


@dataclass(frozen=True, slots=True)
class Submission:
    """A new execution, already routed. The same `id`, or the same workflow and idempotency key, submits once."""

    id: str
    workflow: Workflow
    engine: Engine
    assignment: Assignment
    input: Any
    percent: str = "0"  # the probability of V2 that the coin had, in per cent, as the metric's label spells it
    attempt: str = ""  # the rollout's attempt id; "" while no rollout judges: then nothing is counted
    ages: tuple[float, ...] = ()  # seconds after submission at which the rollout reads it, ascending
    name: str = ""  # of the resource; "" without a cluster
    routing_key: str | None = None
    idempotency_key: str | None = None
    suspended: str | None = None  # a reason: it starts suspended, until a person resumes it
    log_line: str = ""  # goes to edge_logs in the same commit
    parent: str | None = None  # of a child: the execution that waits for it
    depth: int = 0  # of a child: how many generations of parents it has
    lineage: Lineage | None = None  # of a fork: where it comes from …
    carried: tuple[StepCarried, ...] = ()  # … what it need not do again …
    signals: tuple[SignalReceived, ...] = ()  # … and what was said and is still to be heard
    trace: Trace | None = None  # of V2: the trace that whoever asks for it is in


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a submission: the execution that now stands for it, perhaps an earlier one."""

    id: str
    engine: Engine
    created: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event for another execution than the one that the caller owns."""

    execution_id: str
    event: OutsideEvent


class Delivered(StrEnum):
    """What became of an event from outside."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"  # a signal of this id, or a request of this kind, was there before: nothing changed
    OVER = "over"  # the execution has ended: nothing changed
    UNKNOWN = "unknown"  # no V2 execution has this id


class Control(StrEnum):
    """What a person may ask of a running execution."""

    CANCEL = "cancel"
    SUSPEND = "suspend"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class Claim:
    """An execution that this worker owns until `lease_until`, by the fencing token `fence`."""

    id: str
    workflow_id: str
    revision: str
    engine: Engine
    fence: int
    seq: int
    status: Status
    created_at: datetime
    begun: bool  # this claim started it
    input: Any = None  # of a V1 execution, whose input is not in events
    history: tuple[Recorded, ...] = ()  # the whole of it, where the claim had it at hand


@dataclass(frozen=True, slots=True)
class Append:
    """Some events of one execution, to be committed together or not at all."""

    execution_id: str
    append_id: str  # unique: tells a retry of this very append from another worker's
    fence: int
    first_seq: int
    events: tuple[Event, ...]
    data: tuple[str, ...]  # each event's own fields as checked JSON text (codec.encode), in the same order
    projection: Projection
    due_at: datetime | None  # with `release`: when it wants a worker next, None when nothing but an event wakes it
    release: bool  # the worker lets go of it with this append; otherwise its lease stays as it is
    step_deadline: datetime | None  # the latest moment at which the steps now in flight time out
    timed_append: int | None = None  # the first seq of the append before, whose commit took …
    timed_ms: float | None = None  # … so many milliseconds, as the caller saw it
    submissions: tuple[Submission, ...] = ()  # child executions, made in the same commit
    deliveries: tuple[Delivery, ...] = ()  # events for other executions, recorded in the same commit


@dataclass(frozen=True, slots=True)
class V1Update:
    """A new row of a V1 execution, and until when its step may take."""

    execution_id: str
    projection: Projection
    step_deadline: datetime | None


@dataclass(frozen=True, slots=True)
class Release:
    """To let go of an execution by the token `fence`, knowing its events up to `seq`."""

    fence: int
    seq: int
    due_at: datetime | None  # when it wants a worker next; None: not before something is asked of it


class Outcome(StrEnum):
    """What became of an append."""

    COMMITTED = "committed"
    STALE = "stale"  # we own it, but a request (cancel, …) was recorded meanwhile: reload and decide again
    FENCED = "fenced"  # another worker owns it: nothing was written


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """A row of `workflow_executions`."""

    id: str
    workflow_id: str  # "namespace/name"
    revision: str
    name: str
    engine: Engine
    assignment: Assignment
    percent: str
    attempt: str
    status: Status
    current_node: str
    done: int
    total: int
    retries: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    output: Any
    failure: Failure | None
    seq: int
    fence: int
    version: int  # grows with every change that a reader could see
    owner: str | None
    due_at: datetime | None
    cancel_requested: bool
    suspend_requested: bool
    message: str  # why it was suspended at submission, or ""
    parent: str | None = None  # the execution that waits for this one
    origin: str | None = None  # the execution that this one was forked from
    limit_key: str | None = None  # the concurrency limit that it is under …
    limit: int | None = None  # … how many may run at once under that key
    queued: bool = False  # it waits for a slot of that limit
    step_deadline: datetime | None = None  # by which the steps now in flight have timed out
    input: Any = None  # of V1 only: V2's stands in its first event
    routing_key: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which executions are meant; fields that are None say nothing. `after` goes on behind an id of the same filter
    (newest first).
    """

    workflow_id: str | None = None
    statuses: tuple[Status, ...] | None = None
    engine: Engine | None = None
    parent: str | None = None
    origin: str | None = None
    created_before: datetime | None = None
    created_after: datetime | None = None
    failed_node: str | None = None
    failed_kind: str | None = None
    queued: bool | None = None
    stalled_before: datetime | None = None  # running, and its lease or its step's time was over before that
    after: tuple[datetime, str] | None = None  # created_at and id of the last one seen
    limit: int = 100


@dataclass(frozen=True, slots=True)
class CohortCount:
    """One counter of `orchestrator_cohort_outcomes_total`; `value` only ever grows."""

    engine: Engine
    criterion: str
    outcome: str  # "bad" | "good"
    assignment: Assignment
    percent: str
    age: str  # as durations.show() spells it
    attempt: str
    value: int


@dataclass(frozen=True, slots=True)
class Gauges:
    """What the store alone can know, by engine."""

    running: Mapping[Engine, int]
    long_running: Mapping[Engine, int]
    stalled: Mapping[Engine, int]
    queue_oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Backlog:
    """Executions that are due and that no worker has taken up yet."""

    waiting: int  # counted no further than was asked for
    oldest: datetime | None  # since when the one that has waited longest has been due; None while none waits


@dataclass(frozen=True, slots=True)
class Totals:
    """The cohort totals as they stood when a restart of the evidence began (statistics.md, "Late onset")."""

    index: int
    at: datetime
    totals: Any  # JSON, owned by the rollout controller


# How long after the last moment at which a running V1 must have written something it counts as dead: as long as a
# worker's lease, for clocks that differ and a store that was away.
V1_GRACE: Final = timedelta(seconds=15)

ALL_WORKFLOWS: Final = ""  # no workflow's name: its row says that an attempt's baselines were taken


@dataclass(frozen=True, slots=True)
class Baseline:
    """How V1 did with one workflow in the time before a rollout's attempt: executions that succeeded or failed."""

    workflow_id: str
    executions: int
    bad: int  # those that failed
    p95_seconds: float  # the 95th percentile, by nearest rank, of the time from submission to the end


@dataclass(frozen=True, slots=True)
class Ended:
    """Executions of one workflow that succeeded or failed."""

    workflow_id: str
    executions: int
    bad: int  # those that failed


@dataclass(frozen=True, slots=True)
class KeptBin:
    """What two counters of a user's own grew by, bad ones k and all n, on V1 and V2, since the bin before."""

    number: int  # from 0, without gaps
    until: datetime  # where it closed
    k1: float
    n1: float
    k2: float
    n2: float


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """A row of `rollout_decisions`: what a rollout decided, or saw, and everything that it looked at.

    The rows of a rollout are a chain: each bears the hash of the one before it. Stores keep them and never look into
    them; what `content` holds and how a hash is made belongs to the rollout controller.
    """

    rollout: str  # the uid of the resource
    number: int  # from 1, without a gap
    name: str  # of the resource, namespace/name
    attempt: str  # the attempt's id
    at: datetime  # to a microsecond
    action: str
    reason: str
    message: str
    actor: str
    content: str  # JSON text, kept to the letter: a number must read back as exactly the one that was judged
    prev_hash: str  # of the row before; "" of the first
    hash: str


@dataclass(frozen=True, slots=True)
class Appended:
    """The row stands, written now or by this very append before."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Nothing was written: another row has this number, or the row before it is not the one that was seen."""

    number: int  # of the newest row; 0: there is none
    hash: str  # of the newest row; "": there is none


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

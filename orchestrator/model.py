"""The frozen values that everything else is a function of: workflows, executions, attempts.

Nothing here reads a clock, a store or a network. A change returns a new value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from rpds import HashTrieMap

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta


class Engine(StrEnum):
    """Which engine runs an execution; written once, at routing."""

    V1 = "v1"
    V2 = "v2"


class Assignment(StrEnum):
    """How an execution got its engine. Only `EXECUTION` ones (a coin of their own) are judged by comparisons."""

    EXECUTION = "execution"
    KEY = "key"
    EXPLICIT = "explicit"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed attempt is repeated. Delays grow by `multiplier` from `initial` up to `maximum`."""

    max_attempts: int
    initial: timedelta
    multiplier: float
    maximum: timedelta
    jitter: str  # "full": uniform between 0 and the delay; "none": the delay itself
    max_elapsed: timedelta | None = None  # counted from the first attempt's start
    only: tuple[str, ...] | None = None  # only these are retried: kinds of errors, HTTP statuses, classes such as 5xx
    non_retryable: tuple[str, ...] = ()  # never retried, whatever `only` says


class Join(StrEnum):
    """When a node may begin, seen from the nodes that it needs."""

    ALL = "all"  # all are completed; it is skipped when one of them was skipped
    ANY = "any"  # one is completed; it is skipped when all are over and none was
    ALWAYS = "always"  # all are over or will never begin, whatever became of them: after a failure, too


class OnLimit(StrEnum):
    """What becomes of an execution that finds its workflow's concurrency limit reached."""

    QUEUE = "queue"  # it waits for a slot, oldest first
    SKIP = "skip"  # it ends at once, cancelled
    REPLACE = "replace"  # the oldest that runs is asked to cancel, and it waits for that slot


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How many executions of a workflow run at once; `key` is a template over the input that divides them."""

    limit: int
    policy: OnLimit
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One step of a workflow. `with_`, `when` and `output` hold templates (see expressions.py), not values."""

    id: str
    type: str
    needs: tuple[str, ...]
    when: str | None
    with_: Mapping[str, Any]
    retry: RetryPolicy
    timeout: timedelta
    join: Join = Join.ALL
    output: Any = None  # what stands for the output, over `result`; None: the output as it is
    body: Node | None = None  # of a map: what is done for each item
    undo: Node | None = None  # what takes its effect back when the execution fails later
    undo_failed: bool = False  # undo it, too, when it failed itself: its effect may have taken place


@dataclass(frozen=True)
class Workflow:
    """A validated workflow. `revision` is the hash of its content: an execution stays with the one it started with."""

    id: str  # "namespace/name"
    revision: str
    nodes: tuple[Node, ...]  # as written
    input_schema: Mapping[str, Any] | None
    output: Any  # a template, or None
    definition: Mapping[str, Any]  # the authored spec, normalised: what the revision hashes and the store keeps
    timeout: timedelta | None = None  # of a whole execution, from its start
    concurrency: Concurrency | None = None
    undo_on_cancel: bool = False  # a cancelled execution is compensated like a failed one

    @cached_property
    def by_id(self) -> Mapping[str, Node]:
        """The nodes by their ids."""
        return MappingProxyType({node.id: node for node in self.nodes})

    @cached_property
    def position(self) -> Mapping[str, int]:
        """Where each node stands, by its id."""
        return MappingProxyType({node.id: index for index, node in enumerate(self.nodes)})

    @cached_property
    def always(self) -> tuple[Node, ...]:
        """The nodes that join always."""
        return tuple(node for node in self.nodes if node.join is Join.ALWAYS)

    @cached_property
    def dependents(self) -> Mapping[str, tuple[Node, ...]]:
        """The nodes that need a node, by its id."""
        found: dict[str, list[Node]] = {node.id: [] for node in self.nodes}
        for node in self.nodes:
            for need in node.needs:
                found[need].append(node)
        return MappingProxyType({node_id: tuple(nodes) for node_id, nodes in found.items()})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step or an execution failed, in a form that can be stored."""

    kind: str
    message: str
    retryable: bool = False
    node: str | None = None
    status: int | None = None  # the HTTP status that it failed with


class StepStatus(StrEnum):
    """Where a step of one execution stands."""

    PENDING = "pending"  # nothing has happened yet
    RETRYING = "retrying"  # an attempt failed; the next is due at `due`
    WAITING = "waiting"  # for a timer, a signal or a child execution
    MAPPING = "mapping"  # a map whose items are being done
    COMPLETED = "completed"
    SKIPPED = "skipped"
    FAILED = "failed"

    @property
    def terminal(self) -> bool:
        return self in _STEP_OVER


_STEP_OVER: Final = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED, StepStatus.FAILED})


class Status(StrEnum):
    """An execution's status, as the table `workflow_executions` spells it."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    SUSPENDED = "suspended"
    COMPENSATING = "compensating"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in _OVER


_OVER: Final = frozenset({Status.SUCCESS, Status.FAILED, Status.CANCELLED})


def step_key(node: str, item: str | None = None, *, undo: bool = False) -> str:
    """A step's name within its execution: `node`, `node/item`, and with `:compensate` behind it going backward.

    Node ids and item keys contain neither `/` nor `:`.
    """
    key = node if item is None else f"{node}/{item}"
    return f"{key}:compensate" if undo else key


def step_key_of(event: Any) -> str:
    """The key of the step that an event is about; `event` names a node."""
    return step_key(event.node, getattr(event, "item", None), undo=getattr(event, "undo", False))


@dataclass(frozen=True, slots=True)
class StepState:
    """What is known of one step (a node, an item of a map, a compensation) in one execution."""

    status: StepStatus = StepStatus.PENDING
    attempts: int = 0  # attempts that ended
    begun: int = 0  # the attempt that was about to begin, of a step that can be compensated; 0: none, or it ended
    output: Any = None
    failure: Failure | None = None
    due: datetime | None = None  # of the next attempt, of the timer, or when a signal is given up
    first_started_at: datetime | None = None
    ended: int = 0  # the seq of the event that ended it; 0 while it is open
    signal: str | None = None  # the name of the signal that it waits for
    child: str | None = None  # the id of the execution that it waits for
    items: tuple[Any, ...] = ()  # of a map: the elements …
    keys: tuple[str, ...] = ()  # … and their keys, in the same order


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal that arrived and was not taken yet. `seq` is its event's place."""

    seq: int
    name: str
    payload: Any


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child execution ended."""

    status: Status
    output: Any
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a forked execution comes from. `root` is the execution whose idempotency keys its steps go on using:
    its own unless it repeats the other one unchanged; `fresh` are the steps that take keys of their own (forks.py),
    and `roots` those that go on with keys of yet another execution, for they were fresh there.
    """

    origin: str  # the execution that it was forked from
    origin_seq: int  # the last event of it that counts here
    root: str
    fresh: tuple[str, ...] = ()
    roots: tuple[tuple[str, str], ...] = ()  # step, execution
    children: tuple[tuple[str, str], ...] = ()  # step, and the child execution that its own child repeats


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace that an execution takes part in, as W3C Trace Context spells it (see tracecontext.py)."""

    parent: str  # the header `traceparent`: the span that asked for the execution
    state: str = ""  # the header `tracestate`: what other vendors want to be handed on


@dataclass(frozen=True)
class Execution:
    """One run of a workflow, as its events tell it (see fold.py). Without slots: see `evolve`."""

    id: str
    workflow_id: str
    revision: str
    input: Any
    status: Status
    seq: int  # of the last event
    steps: HashTrieMap[str, StepState] = field(default_factory=HashTrieMap)  # by key; steps that something happened to
    done: int = 0  # nodes that are completed or skipped
    cancel_requested: bool = False
    suspend_requested: bool = False
    retries: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    output: Any = None
    failure: Failure | None = None
    timed_out: bool = False  # it took longer than its workflow allows
    failed_step: str | None = None  # the first node that failed for good
    signals: tuple[Signal, ...] = ()  # in the order in which they arrived
    children: HashTrieMap[str, Ended] = field(default_factory=HashTrieMap)  # by id, those that ended
    lineage: Lineage | None = None
    parent: str | None = None  # the execution that waits for this one
    depth: int = 0  # how many generations of parents it has
    trace: Trace | None = None  # the one that whoever asked for it was in

    def evolve(self, **changes: Any) -> Execution:
        """A copy with other values in some fields: `dataclasses.replace`, but a fifth of its time for a wide value."""
        after = object.__new__(Execution)
        after.__dict__.update(self.__dict__)
        after.__dict__.update(changes)
        return after

    def step(self, key: str) -> StepState:
        """The state of a step; a step that nothing happened to is pending."""
        return self.steps.get(key, _UNTOUCHED)

    def idempotency_key(self, key: str) -> str:
        """What services know a step by: the same for every attempt, and for a repetition of this execution."""
        return f"{self.key_root(key)}/{key}"

    def key_root(self, key: str) -> str:
        """The execution that a step's idempotency key is named for."""
        lineage = self.lineage
        if lineage is None or key in lineage.fresh:
            return self.id
        return next((root for step, root in lineage.roots if step == key), lineage.root)


_UNTOUCHED = StepState()


@dataclass(frozen=True, slots=True)
class Projection:
    """What the row of `workflow_executions` says after an append: a function of the events, kept for queries."""

    status: Status
    current_node: str
    done: int
    total: int
    retries: int
    started_at: datetime | None
    finished_at: datetime | None
    output: Any
    failure: Failure | None

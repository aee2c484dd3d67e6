"""The frozen values that everything else is a function of: workflows, executions, attempts.

Nothing here reads a clock, a store or a network. A change returns a new value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

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


@dataclass(frozen=True, slots=True)
class Node:
    """One step of a workflow. `with_` and `when` hold templates (see expressions.py), not values."""

    id: str
    type: str
    needs: tuple[str, ...]
    when: str | None
    with_: Mapping[str, Any]
    retry: RetryPolicy
    timeout: timedelta


@dataclass(frozen=True)
class Workflow:
    """A validated workflow. `revision` is the hash of its content: an execution stays with the one it started with."""

    id: str  # "namespace/name"
    revision: str
    nodes: tuple[Node, ...]  # as written
    input_schema: Mapping[str, Any] | None
    output: Any  # a template, or None
    definition: Mapping[str, Any]  # the authored spec, normalised: what the revision hashes and the store keeps

    @cached_property
    def by_id(self) -> Mapping[str, Node]:
        """The nodes by their ids."""
        return MappingProxyType({node.id: node for node in self.nodes})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step or an execution failed, in a form that can be stored."""

    kind: str
    message: str
    retryable: bool = False
    node: str | None = None


class NodeStatus(StrEnum):
    """Where a node of one execution stands."""

    PENDING = "pending"  # nothing has happened yet
    RETRYING = "retrying"  # an attempt failed; the next is due at `due`
    WAITING = "waiting"  # a timer runs until `due`
    COMPLETED = "completed"
    SKIPPED = "skipped"
    FAILED = "failed"

    @property
    def terminal(self) -> bool:
        return self in (NodeStatus.COMPLETED, NodeStatus.SKIPPED, NodeStatus.FAILED)


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
        return self in (Status.SUCCESS, Status.FAILED, Status.CANCELLED)


@dataclass(frozen=True, slots=True)
class NodeState:
    """What is known of one node in one execution."""

    status: NodeStatus = NodeStatus.PENDING
    attempts: int = 0  # attempts that ended
    output: Any = None
    failure: Failure | None = None
    due: datetime | None = None  # of the next attempt, or of the timer
    first_started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a workflow, as its events tell it (see fold.py)."""

    id: str
    workflow_id: str
    revision: str
    input: Any
    status: Status
    seq: int  # of the last event
    nodes: Mapping[str, NodeState] = field(default_factory=dict)  # nodes that something happened to
    cancel_requested: bool = False
    suspend_requested: bool = False
    retries: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    output: Any = None
    failure: Failure | None = None

    def node(self, node_id: str) -> NodeState:
        """The state of a node; a node that nothing happened to is pending."""
        return self.nodes.get(node_id, _UNTOUCHED)


_UNTOUCHED = NodeState()


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

"""What a store keeps for rollouts, counters, baselines and decisions: values that cross its border."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.model import Assignment, Engine


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
class Totals:
    """The cohort totals as they stood when a restart of the evidence began (statistics.md, "Late onset")."""

    index: int
    at: datetime
    totals: Any  # JSON, owned by the rollout controller


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

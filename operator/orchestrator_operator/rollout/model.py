"""The frozen values between the controller's verbs: Gathered → Judgement → Plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.errors import Problem
    from orchestrator.flag import FlagSnapshot, FlagValues
    from orchestrator_operator.rollout.statistics.evidence import Cells
    from orchestrator_operator.specs.rollout import Criterion, RolloutSpec
    from orchestrator_operator.specs.rollout_status import Decision, RolloutStatus, Verdict

_EMPTY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A metric that could not be read, and why. Never a success and never a failure."""

    reason: str  # one CamelCase word: PrometheusUnreachable, NoSeries, NotANumber, Stale, CounterReset …
    message: str

    @property
    def nothing_to_compare(self) -> bool:
        """Whether there can be no such numbers (no workflow has a baseline), so that nobody waits for them."""
        return self.reason == "NoBaseline"


CohortKey = tuple[str, timedelta]  # (preset, age)


@dataclass(frozen=True, slots=True)
class Restart:
    """The totals as they stood when restart `index` of the evidence began."""

    index: int
    at: datetime
    cohorts: Mapping[CohortKey, Cells]


@dataclass(frozen=True, slots=True)
class Bin:
    """What two counters of a user's own grew by between two moments: bad ones k and all n, on V1 and V2."""

    k1: float
    n1: float
    k2: float
    n2: float
    end: datetime | None = None  # when it closed; by it a stage knows its own bins


@dataclass(frozen=True, slots=True)
class Health:
    """V1's finished executions of one workflow: now, which is the last hour, and in the week before the rollout."""

    workflow_id: str
    bad_now: int
    all_now: int
    bad_before: int
    all_before: int


@dataclass(frozen=True, slots=True)
class Gathered:
    """Everything that a decision depends on, read once."""

    now: datetime
    name: str  # namespace/name of the resource
    uid: str
    generation: int
    spec: RolloutSpec | None  # the last one that could be read; None: none ever could
    status: RolloutStatus
    flag: FlagSnapshot | Unreadable
    problems: tuple[Problem, ...] = ()  # what is wrong with the spec that stands there now; (): it is `spec`
    annotations: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    deleting: bool = False
    rival: str | None = None  # the older rollout that owns the same flag
    cohorts: Mapping[CohortKey, Cells | Unreadable] = field(default_factory=dict)
    restarts: tuple[Restart, ...] = ()
    away: Unreadable | None = None  # why the store did not say what it keeps: of `restarts` there may be more
    guardrails: Mapping[str, float | Unreadable] = field(default_factory=dict)  # by the criterion's name
    in_flight: int | None = None  # V2's executions that are not over; None: the store did not say
    starts: Cells | Unreadable = ()  # executions that the coin sent, by percent, as good ones; from their first age on
    keyed: int | None = None  # executions of this stage that a routing key sent; None: not known
    calibration: Cells | Unreadable = ()  # V1's executions, split once more by a coin that means nothing
    own: Mapping[str, tuple[Bin, ...] | Unreadable] = field(default_factory=dict)  # by the criterion's name
    closed: tuple[RememberBins, ...] = ()  # the bins that are not kept yet
    baselined: bool = True  # whether V1's week before this attempt is kept, as far as the store says
    health: tuple[Health, ...] | Unreadable = ()  # of V1, by workflow
    queries: tuple[str, ...] = ()  # what Prometheus was asked
    late_starts: int | None = None  # on V2, later than a minute after the flag was clear; None: the store did not say


@dataclass(frozen=True, slots=True)
class Judged:
    """One criterion's verdict with its numbers. k are bad executions, n all; 1 is V1, 2 is V2."""

    criterion: Criterion
    verdict: Verdict
    sentence: str
    reason: str = ""  # of blindness
    age: timedelta | None = None
    counts: tuple[int, int, int, int] | None = None  # k1, n1, k2, n2
    log_evidence: float | None = None
    log_threshold: float | None = None
    log_pass_evidence: float | None = None
    log_pass_threshold: float | None = None
    value: float | None = None
    breached_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """A finding about the experiment and not about V2: it holds the rollout, and convicts nobody."""

    reason: str  # SampleRatioMismatch | SharedDegradation | NotCalibrated | CounterReset
    sentence: str


@dataclass(frozen=True, slots=True)
class Power:
    """What the traffic of the running stage can show within its duration, with a chance of 80 %."""

    smallest: float  # relative risk; infinite where nothing can be shown
    sentence: str

    @property
    def enough(self) -> bool:
        """Whether a relative risk of 2 would be seen."""
        return self.smallest <= 2.0  # noqa: PLR2004 - the rule's own number


@dataclass(frozen=True, slots=True)
class Judgement:
    """All verdicts at one moment, and what the stage's arms have had at the age that Pass looks at."""

    criteria: tuple[Judged, ...] = ()
    arms: tuple[int, int] | None = None  # executions of the stage on V1 and V2; None: could not be read
    alarms: tuple[Alarm, ...] = ()
    sticky: float | None = None  # the share of the stage's executions that were routed by a key; None: not known
    power: Power | None = None  # None: too early to say

    def of(self, verdict: Verdict, *, guardrails: bool | None = None) -> tuple[Judged, ...]:
        """The criteria with this verdict; of one kind only where `guardrails` says which."""
        return tuple(
            judged
            for judged in self.criteria
            if judged.verdict is verdict
            and (guardrails is None or guardrails == (judged.criterion.type == "guardrail"))
        )


@dataclass(frozen=True, slots=True)
class SetFlag:
    """Write these keys, if the flag is still at `version`."""

    values: FlagValues
    version: str


@dataclass(frozen=True, slots=True)
class ClearFlag:
    """Remove all three keys, then read them back."""


@dataclass(frozen=True, slots=True)
class CancelInFlight:
    """Ask every execution on V2 to end."""


@dataclass(frozen=True, slots=True)
class RememberTotals:
    """A restart of the evidence begins: keep the totals as they stand."""

    restart: Restart


@dataclass(frozen=True, slots=True)
class TakeBaselines:
    """The attempt begins: keep how V1 did by workflow in the week before `until`."""

    until: datetime


@dataclass(frozen=True, slots=True)
class RememberBins:
    """Bins of a user's own counters have closed: keep them, so that they are not read again."""

    criterion: str
    first: int  # the number of the first of them, from 0
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class DropAnnotation:
    """A person's word was heard (or came to nothing): take it off, so that it does not speak twice."""

    key: str


@dataclass(frozen=True, slots=True)
class Release:
    """Nothing is left to do for a resource that is being deleted: let it go."""


@dataclass(frozen=True, slots=True)
class Tell:
    """A Kubernetes Event and a log line; what is bad is a warning."""

    decision: Decision
    warning: bool = False


Action = (
    SetFlag
    | ClearFlag
    | CancelInFlight
    | TakeBaselines
    | RememberTotals
    | RememberBins
    | DropAnnotation
    | Release
    | Tell
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, in this order, and what to remember before doing it."""

    status: RolloutStatus
    actions: tuple[Action, ...]
    wake_at: datetime | None  # when something is due by itself; None: only when something happens

"""The alerts: each with what it looks at, when it fires, and where docs/runbook.md says what to do.

`page` wakes a person, `ticket` waits for the morning. An alert names what is wrong for users or for the rollout, not
what is merely unusual; what protects itself (a rollback) only writes a ticket.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

OBJECTIVE: Final = 0.99  # of executions that succeed, of those that succeed or fail
PAGE: Final = "page"
TICKET: Final = "ticket"
ROLLOUT, ENGINES, OPERATOR = "orchestrator-rollout", "orchestrator-engines", "orchestrator-operator"

_ENOUGH: Final = 10  # executions in the long window: one failure out of three is no burnt budget


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `signals` are the expressions that it watches: on a healthy system each has an answer, so that a
    test can tell an alert that is quiet from one that looks at nothing.
    """

    name: str
    severity: str
    signals: Sequence[str]
    expression: str
    lasts: str  # how long the expression has to hold
    summary: str
    description: str
    board: str  # the dashboard that shows it

    @property
    def anchor(self) -> str:
        """Its section in docs/runbook.md."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Group:
    """Alerts that are evaluated one after the other."""

    name: str
    alerts: Sequence[Alert]


def groups(objective: float = OBJECTIVE) -> tuple[Group, ...]:
    """All alerts, for an objective of 0 to 1 (exclusive)."""
    return (
        Group("orchestrator-slo", _burning(objective)),
        Group("orchestrator-engines", _ENGINES),
        Group("orchestrator-rollout", _ROLLOUT),
        Group("orchestrator-operator", _OPERATOR),
    )


def alerts(objective: float = OBJECTIVE) -> list[Alert]:
    """All of them, in their order."""
    return [alert for group in groups(objective) for alert in group.alerts]


def _ended(window: str, status: str) -> str:
    return (
        f'sum by (namespace, engine) (increase(orchestrator_executions_finished_total{{status=~"{status}"}}[{window}]))'
    )


def _failing(window: str) -> str:
    """The share of executions that failed. Cancelled ones are nobody's failure."""
    return f"{_ended(window, 'failed')} / {_ended(window, 'success|failed')}"


def _burning(objective: float) -> tuple[Alert, ...]:
    """Burn rates over two windows each: the long one says that it matters, the short one that it still goes on.

    Factors and windows: Google's Site Reliability Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts". They have
    to hold for a while beside: in its first minutes a new installation has no three days behind it.
    """
    budget = round(1 - objective, 6)

    def burn(name: str, factor: float, long: str, short: str, lasts: str, severity: str, spent: str) -> Alert:
        limit = round(factor * budget, 6)
        enough = f"{_ended(long, 'success|failed')} >= {_ENOUGH}"
        return Alert(
            name=name,
            severity=severity,
            signals=(_failing(long), _failing(short)),
            expression=f"({_failing(long)} > {limit}) and ({_failing(short)} > {limit}) and ({enough})",
            lasts=lasts,
            summary="{{ $labels.engine }} fails {{ $value | humanizePercentage }} of its executions",
            description=f"Over {long} and over {short} the share of failed executions is above {limit:.4g}: {factor:g} "
            f"times what an objective of {objective:.4g} allows. {spent}",
            board=ENGINES,
        )

    return (
        burn(
            "OrchestratorErrorBudgetBurnsFast",
            *(14.4, "1h", "5m", "2m", PAGE),
            "At this rate a month's budget is gone in two days.",
        ),
        burn(
            "OrchestratorErrorBudgetBurns",
            *(6, "6h", "30m", "15m", PAGE),
            "At this rate a month's budget is gone in five days.",
        ),
        burn(
            "OrchestratorErrorBudgetBurnsSlowly",
            *(1, "3d", "6h", "1h", TICKET),
            "At this rate the month will use up its budget.",
        ),
    )


def _stalled(engine: str) -> str:
    return f'max by (namespace, engine) (orchestrator_executions_stalled{{engine="{engine}"}})'


_QUEUE = "max by (namespace) (orchestrator_queue_oldest_seconds)"
_FENCED = "sum by (namespace) (increase(orchestrator_fenced_writes_total[15m]))"
_FAST = 'sum by (namespace, node_type) (rate(orchestrator_checkpoint_duration_seconds_bucket{le="0.1"}[10m]))'
_CHECKPOINTS = "sum by (namespace, node_type) (rate(orchestrator_checkpoint_duration_seconds_count[10m]))"
_SLOW = f"1 - {_FAST} / {_CHECKPOINTS}"

_ENGINES = (
    Alert(
        name="OrchestratorExecutionsStalled",
        severity=PAGE,
        signals=(_stalled("v2"),),
        expression=f"{_stalled('v2')} > 0",
        lasts="10m",
        summary="{{ $value }} executions on V2 have stalled",
        description="For ten minutes there have been executions without an event within their step's own timeout, and "
        "no worker has taken them over.",
        board=ENGINES,
    ),
    Alert(
        name="OrchestratorV1ExecutionsAbandoned",
        severity=TICKET,
        signals=(_stalled("v1"),),
        expression=f"{_stalled('v1')} > 0",
        lasts="30m",
        summary="{{ $value }} executions on V1 were left behind",
        description="V1 stays `running` when its process dies, and nobody takes its executions over: a person has to "
        "run them again.",
        board=ENGINES,
    ),
    Alert(
        name="OrchestratorQueueOld",
        severity=PAGE,
        signals=(_QUEUE,),
        expression=f"{_QUEUE} > 300",
        lasts="5m",
        summary="An execution has waited {{ $value | humanizeDuration }} for a worker",
        description="The oldest execution that is due has waited for more than five minutes: there are no workers, or "
        "too few of them.",
        board=ENGINES,
    ),
    Alert(
        name="OrchestratorCheckpointsSlow",
        severity=TICKET,
        signals=(_SLOW,),
        expression=f"{_SLOW} > 0.05",
        lasts="15m",
        summary="{{ $value | humanizePercentage }} of the checkpoints of {{ $labels.node_type }} take over 100 ms",
        description="For a quarter of an hour more than 5 % of the checkpoints took longer than 100 ms to commit: look "
        "at the database and its disk.",
        board=ENGINES,
    ),
    Alert(
        name="OrchestratorFencedWrites",
        severity=TICKET,
        signals=(_FENCED,),
        expression=f"{_FENCED} > 5",
        lasts="0s",
        summary="{{ $value | humanize }} writes of workers without a lease were refused in 15 minutes",
        description="Nothing is wrong with the data. But workers lose their leases while they run: they are frozen, "
        "starved of processor time, or cut off from the database.",
        board=ENGINES,
    ),
)


def _rollout(metric: str, labels: str) -> str:
    return f"max by (namespace, rollout) (orchestrator_rollout_{metric}{{{labels}}})"


_HELD = _rollout("phase", 'phase="Held"')
_BLIND = _rollout("condition", 'condition="Blind"')
_BACK = _rollout("phase", 'phase=~"RollingBack|RolledBack"')
_INEFFECTIVE = _rollout("condition", 'condition="RollbackNotEffective"')
_DEGRADED = _rollout("alarm", 'alarm="SharedDegradation"')

_ROLLOUT = (
    Alert(
        name="OrchestratorRolloutHeld",
        severity=TICKET,
        signals=(_HELD,),
        expression=f"{_HELD} == 1",
        lasts="15m",
        summary="Rollout {{ $labels.rollout }} is held",
        description="It goes no further until something is cleared up; the status says what, in one sentence.",
        board=ROLLOUT,
    ),
    Alert(
        name="OrchestratorRolloutBlind",
        severity=TICKET,
        signals=(_BLIND,),
        expression=f"{_BLIND} == 1",
        lasts="10m",
        summary="Rollout {{ $labels.rollout }} cannot read its metrics",
        description="For ten minutes a criterion could not be read. Nothing is judged meanwhile: a V2 that fails now "
        "would not be rolled back.",
        board=ROLLOUT,
    ),
    Alert(
        name="OrchestratorRolledBack",
        severity=TICKET,
        signals=(_BACK,),
        expression=f"{_BACK} == 1",
        lasts="0s",
        summary="Rollout {{ $labels.rollout }} was rolled back",
        description="New executions run on V1. The status names the criterion, its counts and its evidence.",
        board=ROLLOUT,
    ),
    Alert(
        name="OrchestratorRollbackNotEffective",
        severity=PAGE,
        signals=(_rollout("condition", 'condition=~".+"'),),
        expression=f"{_INEFFECTIVE} == 1",
        lasts="0s",
        summary="Executions still start on V2 after the rollback of {{ $labels.rollout }}",
        description="The flag is clear, and a minute later executions still started on V2: some router does not "
        "read it.",
        board=ROLLOUT,
    ),
    Alert(
        name="OrchestratorSharedDegradation",
        severity=PAGE,
        signals=(_DEGRADED,),
        expression=f"{_DEGRADED} == 1",
        lasts="2m",
        summary="V1 itself has become worse since rollout {{ $labels.rollout }} began",
        description="Both engines suffer, so the comparison cannot see it: V2 may be eating what both use. The rollout "
        "is held; whether to abort it is a person's decision.",
        board=ROLLOUT,
    ),
)

_LEADERS = "sum by (namespace) (orchestrator_operator_leader)"
# An operator that is gone exports nothing, so its namespace is known by what was scraped there before. For a week: one
# that was uninstalled on purpose is silenced once.
_THERE = "max by (namespace) (present_over_time(orchestrator_operator_leader[7d]))"
_ERRORS = "sum by (namespace, resource) (rate(orchestrator_reconcile_errors_total[10m]))"
_LOOKS = "sum by (namespace, resource) (rate(orchestrator_reconcile_duration_seconds_count[10m]))"
_STORE = "max by (namespace) (orchestrator_queue_oldest_seconds)"
# Over five minutes: an operator that is started again for it counts none until it has compared twice.
_BEHIND = "max by (namespace) (max_over_time(orchestrator_watch_behind_objects[5m]))"

_OPERATOR = (
    Alert(
        name="OrchestratorNoLeader",
        severity=PAGE,
        signals=(_LEADERS,),
        expression=f"{_LEADERS} == 0 or ({_THERE} unless {_LEADERS}) "
        "or absent(present_over_time(orchestrator_operator_leader[7d]))",
        lasts="2m",
        summary="No operator routes, judges and writes status",
        description="New Execution resources are not accepted, and no rollout is judged. What runs goes on: workers "
        "need no operator. Routers fall back to V1 when the flag expires.",
        board=OPERATOR,
    ),
    Alert(
        name="OrchestratorStoreUnreadable",
        severity=PAGE,
        signals=(_STORE,),
        expression=f"{_LEADERS} > 0 unless {_STORE}",
        lasts="5m",
        summary="The operator cannot read the store",
        description="An operator leads, and exports nothing of what stands in the store: the database does not answer.",
        board=OPERATOR,
    ),
    Alert(
        name="OrchestratorReconcileErrors",
        severity=TICKET,
        signals=(_ERRORS, _LOOKS),
        expression=f"{_ERRORS} / {_LOOKS} > 0.1",
        lasts="15m",
        summary="{{ $value | humanizePercentage }} of the looks at {{ $labels.resource }} fail",
        description="For a quarter of an hour more than a tenth of them failed; the operator's log says why.",
        board=OPERATOR,
    ),
    Alert(
        name="OrchestratorWatchBehind",
        severity=TICKET,
        signals=(_BEHIND,),
        expression=f"{_BEHIND} > 0",
        lasts="10m",
        summary="The watch has not told the operator of changes of {{ $value }} objects",
        description="For ten minutes the API server's lists have shown what its watch did not tell, and neither a new "
        "connection nor a new process mended it. Nothing is lost: the comparison with the store finds it, but a minute "
        "or so late.",
        board=OPERATOR,
    ),
)

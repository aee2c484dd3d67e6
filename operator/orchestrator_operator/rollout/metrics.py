"""What the operator exports of each rollout: `orchestrator_rollout_…`.

Every series of a rollout is made anew from its status at each look: what the status says no more (the criteria of
another spec, a reason that is over) is exported no more.
"""

from __future__ import annotations

import math
from itertools import chain
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

from orchestrator_operator.specs.rollout_status import Phase, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from orchestrator_operator.specs.rollout import RolloutSpec
    from orchestrator_operator.specs.rollout_status import CriterionStatus, RolloutStatus

PERCENT = Gauge("orchestrator_rollout_percent", "The share of new executions that V2 is to get.", ["rollout"])
STAGE = Gauge("orchestrator_rollout_stage", "The stage's place, from 1.", ["rollout"])
STAGE_INFO = Gauge("orchestrator_rollout_stage_info", "1 for the stage that it is at, by name.", ["rollout", "stage"])
NEXT = Gauge("orchestrator_rollout_next_timestamp_seconds", "When the next planned move is due.", ["rollout"])
PHASE = Gauge("orchestrator_rollout_phase", "1 for the phase that it is in, 0 for all others.", ["rollout", "phase"])
REASON = Gauge("orchestrator_rollout_reason", "1 for the reason of its phase.", ["rollout", "reason"])
CONDITION = Gauge(
    "orchestrator_rollout_condition", "1 while a condition is True, 0 while it is False.", ["rollout", "condition"]
)
ALARM = Gauge(
    "orchestrator_rollout_alarm",
    "1 while the experiment itself is not sound in this way, else 0.",
    ["rollout", "alarm"],
)
EVIDENCE = Gauge(
    "orchestrator_rollout_evidence",
    "Evidence E that V2 is worse than tolerated, as a share of what convicts: 1 rolls back.",
    ["rollout", "criterion"],
)
PASS_EVIDENCE = Gauge(
    "orchestrator_rollout_pass_evidence",
    "Evidence E that V2 is better than the margin, as a share of what a Pass needs: 1 passes.",
    ["rollout", "criterion"],
)
VERDICT = Gauge(
    "orchestrator_rollout_verdict",
    "1 for the verdict that a criterion has, 0 for all others.",
    ["rollout", "criterion", "verdict"],
)
JUDGED = Gauge(
    "orchestrator_rollout_judged_executions",
    "What a comparison stands on: executions of this attempt at the age that is told of, all of them and the bad ones.",
    ["rollout", "criterion", "engine", "outcome"],
)
VALUE = Gauge("orchestrator_rollout_guardrail_value", "What a guardrail last read.", ["rollout", "criterion"])
LIMIT = Gauge("orchestrator_rollout_guardrail_limit", "What a guardrail allows.", ["rollout", "criterion"])
BLIND = Gauge("orchestrator_rollout_blind_seconds", "How long this stage has been blind in all.", ["rollout"])
BUDGET = Gauge("orchestrator_rollout_blind_budget_seconds", "How long a stage may be blind in all.", ["rollout"])
DECIDED = Gauge(
    "orchestrator_rollout_decision_timestamp_seconds",
    "When each kind of decision was last made, of the last twenty.",
    ["rollout", "action", "reason"],
)
PENDING = Gauge(
    "orchestrator_rollout_decisions_pending", "Decisions that wait for the store to be written down.", ["rollout"]
)
NOTIFICATIONS = Counter(
    "orchestrator_rollout_notifications_total",
    "Messages for the webhook: sent, failed or dropped.",
    ["outcome"],
)
for _outcome in ("sent", "failed", "dropped"):
    NOTIFICATIONS.labels(_outcome)

_GAUGES = (
    *(PERCENT, STAGE, STAGE_INFO, NEXT, PHASE, REASON, CONDITION, ALARM, EVIDENCE, PASS_EVIDENCE, VERDICT, JUDGED),
    *(VALUE, LIMIT, BLIND, BUDGET, DECIDED, PENDING),
)
# What a judge may say of the experiment itself (rules 5 and 7, and the A/A comparison): zeros while it is sound.
ALARMS = ("SampleRatioMismatch", "SharedDegradation", "NotCalibrated")

_LARGEST = 600.0  # e to this is still a number

Row = tuple[Gauge, tuple[str, ...], float]  # a gauge, its labels after `rollout`, its value


def show(rollout: str, status: RolloutStatus, spec: RolloutSpec | None, now: datetime, pending: int = 0) -> None:
    """Export a rollout as its status has it; `pending` of its decisions are not in the store's log yet.

    `spec` is None while it cannot be understood: then its limits are not known.
    """
    rows = chain(_progress(status, now), _verdicts(status), _limits(spec), [(PENDING, (), float(pending))])
    wanted = {(gauge, (rollout, *labels)): value for gauge, labels, value in rows}
    for gauge in _GAUGES:
        for labels in _series(gauge, rollout):
            if (gauge, labels) not in wanted:
                gauge.remove(*labels)
    for (gauge, labels), value in wanted.items():
        gauge.labels(*labels).set(value)


def forget(rollout: str) -> None:
    """Nothing more of a rollout that is gone."""
    for gauge in _GAUGES:
        for labels in _series(gauge, rollout):
            gauge.remove(*labels)


def _progress(status: RolloutStatus, now: datetime) -> Iterator[Row]:
    yield PERCENT, (), float(status.percent)
    yield STAGE, (), status.stage_index + 1
    if status.stage:
        yield STAGE_INFO, (status.stage,), 1.0
    if status.next is not None:
        yield NEXT, (), status.next.timestamp()
    blind = (now - status.blind_since).total_seconds() if status.blind_since else 0.0
    yield BLIND, (), status.blind_spent + blind
    for phase in Phase:
        yield PHASE, (phase.value,), float(phase is status.phase)
    if status.reason:
        yield REASON, (status.reason,), 1.0
    for item in status.conditions:
        if item.status in ("True", "False"):  # Unknown is neither
            yield CONDITION, (item.type,), float(item.status == "True")
    found = {alarm.reason for alarm in status.alarms}
    for name in sorted(found.union(ALARMS)):
        yield ALARM, (name,), float(name in found)
    for decision in status.decisions:  # the newest of a kind comes last, and stays
        yield DECIDED, (decision.action, decision.reason), decision.at.timestamp()


def _verdicts(status: RolloutStatus) -> Iterator[Row]:
    for criterion in status.criteria:
        name = criterion.name
        for verdict in Verdict:
            yield VERDICT, (name, verdict.value), float(verdict is criterion.verdict)
        for gauge, evidence, threshold in (
            (EVIDENCE, criterion.log_evidence, criterion.log_threshold),
            (PASS_EVIDENCE, criterion.log_pass_evidence, criterion.log_pass_threshold),
        ):
            if evidence is not None and threshold is not None:
                yield gauge, (name,), math.exp(min(evidence - threshold, _LARGEST))
        if criterion.value is not None:
            yield VALUE, (name,), criterion.value
        for engine, outcome, count in _counts(criterion):
            if count is not None:
                yield JUDGED, (name, engine, outcome), count


def _counts(criterion: CriterionStatus) -> Iterator[tuple[str, str, int | None]]:
    yield "v1", "bad", criterion.k1
    yield "v1", "all", criterion.n1
    yield "v2", "bad", criterion.k2
    yield "v2", "all", criterion.n2


def _limits(spec: RolloutSpec | None) -> Iterator[Row]:
    if spec is None:
        return
    yield BUDGET, (), spec.blind.budget.total_seconds()
    for criterion in spec.guardrails:
        if criterion.max is not None:
            yield LIMIT, (criterion.name,), criterion.max


def _series(gauge: Gauge, rollout: str) -> list[tuple[str, ...]]:
    """The labels of a rollout's series."""
    return [tuple(key) for key in gauge._metrics if key[0] == rollout]  # noqa: SLF001 - the client has no way to list a gauge's children

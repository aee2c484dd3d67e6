"""What the operator exports of each rollout: `orchestrator_rollout_…`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

from orchestrator_operator.specs.rollout_status import Phase

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator_operator.specs.rollout_status import RolloutStatus

PERCENT = Gauge("orchestrator_rollout_percent", "The share of new executions that V2 is to get.", ["rollout"])
STAGE = Gauge("orchestrator_rollout_stage", "The stage's place, from 1.", ["rollout"])
EVIDENCE = Gauge(
    "orchestrator_rollout_evidence",
    "Evidence E that V2 is worse than tolerated, as a share of what convicts: 1 rolls back.",
    ["rollout", "criterion"],
)
BLIND = Gauge("orchestrator_rollout_blind_seconds", "How long this stage has been blind in all.", ["rollout"])
PHASE = Gauge("orchestrator_rollout_phase", "1 for the phase that it is in, 0 for all others.", ["rollout", "phase"])
PENDING = Gauge(
    "orchestrator_rollout_decisions_pending", "Decisions that wait for the store to be written down.", ["rollout"]
)
NOTIFICATIONS = Counter(
    "orchestrator_rollout_notifications_total",
    "Messages for the webhook: sent, failed or dropped.",
    ["outcome"],
)

_LARGEST = 600.0  # e to this is still a number


def show(rollout: str, status: RolloutStatus, now: datetime, pending: int = 0) -> None:
    """Export a rollout as its status has it; `pending` of its decisions are not in the store's log yet."""
    PENDING.labels(rollout).set(pending)
    PERCENT.labels(rollout).set(float(status.percent))
    STAGE.labels(rollout).set(status.stage_index + 1)
    blind = (now - status.blind_since).total_seconds() if status.blind_since else 0.0
    BLIND.labels(rollout).set(status.blind_spent + blind)
    for phase in Phase:
        PHASE.labels(rollout, phase.value).set(phase is status.phase)
    for criterion in status.criteria:
        if criterion.log_evidence is not None and criterion.log_threshold is not None:
            ratio = math.exp(min(criterion.log_evidence - criterion.log_threshold, _LARGEST))
            EVIDENCE.labels(rollout, criterion.name).set(ratio)


def forget(rollout: str) -> None:
    """Nothing more of a rollout that is gone."""
    for gauge in (PERCENT, STAGE, BLIND, EVIDENCE, PHASE, PENDING):
        for labels in [key for key in gauge._metrics if key[0] == rollout]:  # noqa: SLF001 - the client has no way to list a gauge's children
            gauge.remove(*labels)

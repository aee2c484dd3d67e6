"""What the operator exports of its leadership."""

from __future__ import annotations

from prometheus_client import Gauge

LEADER = Gauge("orchestrator_operator_leader", "1 while this operator leads and acts, 0 while it waits.")

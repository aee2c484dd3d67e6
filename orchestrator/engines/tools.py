"""What driving executions needs from outside; one for all executions of a worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator import telemetry

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from datetime import timedelta

    from prometheus_client import Counter, Histogram

    from orchestrator.clock import Clock
    from orchestrator.journal import GroupCommit
    from orchestrator.nodes.runner import NodeRunner
    from orchestrator.store.messages import Append, Outcome
    from orchestrator.store.port import Store
    from orchestrator.tracing import Tracing


@dataclass(frozen=True, slots=True)
class StepMeasures:
    """The metrics of one node type's successes, looked up once."""

    succeeded: Counter
    seconds: Histogram


@dataclass(frozen=True, slots=True)
class Tools:
    """Store, journal, node runner, clock: shared, and closed by whoever made them."""

    store: Store
    journal: GroupCommit[Append, Outcome]
    runner: NodeRunner
    clock: Clock
    lease: timedelta
    chance: random.Random  # asked at every turn: no system call
    hint: Callable[[], None] = lambda: None  # something became due that this worker may claim
    tracing: Tracing | None = None
    _measures: dict[str, StepMeasures] = field(default_factory=dict)

    def step_measures(self, node_type: str) -> StepMeasures:
        """The metrics of V2's successful steps of a type."""
        found = self._measures.get(node_type)
        if found is None:
            succeeded = telemetry.STEPS.labels("v2", node_type, "success")
            found = self._measures[node_type] = StepMeasures(succeeded, telemetry.STEP_SECONDS.labels("v2", node_type))
        return found

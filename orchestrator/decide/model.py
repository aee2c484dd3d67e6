"""What a decision says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from orchestrator.events import Event
    from orchestrator.model import Execution, Node


@dataclass(frozen=True, slots=True)
class RunNode:
    """An attempt to start now, with its `with` evaluated. `node` is the node, a map's body, or a compensation."""

    key: str  # the step's, see model.step_key
    node: Node
    attempt: int
    with_: Any
    idempotency_key: str
    scope: Mapping[str, Any]  # what the step's `output` may read beside its result
    item: str | None = None
    undo: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What to commit, what to run, and when to look again (None: when a step ends, or something arrives)."""

    events: tuple[Event, ...]
    execution: Execution  # after those events
    runs: tuple[RunNode, ...]
    wake_at: datetime | None
    cancels: tuple[str, ...] = ()  # child executions that must end first

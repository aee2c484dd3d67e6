"""A status that was lost, out of the log: where the rollout stood by its last row. Pure.

Without it a rollout whose status somebody emptied, or spoiled, would begin anew: one that was rolled back would start
V2 once more, and one that runs would be judged by nobody. What had changed since that row (a renewed expiry, say) is
seen again by the next look; a flag that is clear by then counts as cleared by a person.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from orchestrator_operator.rollout.log.chain import OBSERVED
from orchestrator_operator.rollout.phases import OVER
from orchestrator_operator.specs.rollout_status import DECISIONS_KEPT, Decision, Phase, RolloutStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.store.evidence import DecisionRow


def lost(status: RolloutStatus) -> bool:
    """Whether a status knows of nothing that was ever decided."""
    return status.decision_head is None and not status.decisions and status.phase is Phase.PENDING


def restored(status: RolloutStatus, rows: Sequence[DecisionRow]) -> RolloutStatus | None:
    """The status as the whole log has it; None if it is empty. Raises what JSON and pydantic do for a spoiled row."""
    if not rows:
        return None
    found, after = _last_status(rows)
    rollback = next((row for row in after if row.action == "RollBack"), None)
    if rollback is not None and found.phase not in OVER:
        found = found.model_copy(update=_rolled_back(found, rollback))
    kept = {"conditions": status.conditions, "readable_spec": status.readable_spec, "heard": status.heard}
    return found.model_copy(update={**kept, "decisions": tuple(map(decision, _decided(rows)))[-DECISIONS_KEPT:]})


def decision(row: DecisionRow) -> Decision:
    """What a row says, as a status has it."""
    return Decision(
        at=row.at, action=row.action, reason=row.reason, message=row.message, actor=row.actor, number=row.number
    )


def _last_status(rows: Sequence[DecisionRow]) -> tuple[RolloutStatus, Sequence[DecisionRow]]:
    """What the last row that has one says, and the rows behind it: written down late, without what they led to."""
    for place in range(len(rows) - 1, -1, -1):
        body: dict[str, Any] = json.loads(rows[place].content)
        if body.get("planned") is not None:
            behind = [row for row in rows[place + 1 :] if "same" not in json.loads(row.content)]
            return RolloutStatus.model_validate(body["planned"]["status"]), behind
    return RolloutStatus(), rows


def _rolled_back(found: RolloutStatus, row: DecisionRow) -> dict[str, Any]:
    """A rollback of which only the bare words are known: its flag is to be cleared, whoever has done so already."""
    number = row.attempt.rpartition("-")[2]
    return {
        "phase": Phase.ROLLING_BACK,
        "reason": row.reason,
        "message": row.message,
        "attempt": max(found.attempt, int(number) if number.isdecimal() else 0),
        "attempt_id": row.attempt,
        "started_at": found.started_at or row.at,
        "flag_cleared_at": None,
        "rolled_back_from": found.percent,
        "percent": "0",
    }


def _decided(rows: Sequence[DecisionRow]) -> list[DecisionRow]:
    return [row for row in rows if row.action != OBSERVED]

"""Bringing a status and the log of decisions together after one of them was left behind. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator_operator.rollout.log import chain, restoring
from orchestrator_operator.rollout.log.chain import NOWHERE, OBSERVED
from orchestrator_operator.specs.rollout_status import DECISIONS_KEPT, DecisionHead, RolloutStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from orchestrator.store.evidence import DecisionRow


@dataclass(frozen=True, slots=True)
class Found:
    """What came of it."""

    status: RolloutStatus
    head: DecisionHead  # the end of the log
    there: frozenset[tuple[datetime, str, str]]  # identities of the decisions in the rows that were looked at
    adopted: bool  # whether the status follows the log
    lost: DecisionHead | None  # the head that the status knew, if the log does not have it


def compare(status: RolloutStatus, rows: Sequence[DecisionRow]) -> Found:
    """`rows` are the log from the status' head on, or all of it where it does not have that."""
    known = status.decision_head or NOWHERE
    head = DecisionHead(number=rows[-1].number, hash=rows[-1].hash) if rows else NOWHERE
    decided = [row for row in rows if row.action != OBSERVED]
    there = frozenset(_identity(row) for row in decided)
    in_status = {chain.identity(decision) for decision in status.decisions}
    ahead = [row for row in decided if row.number > known.number and _identity(row) not in in_status]
    lost = None if known == NOWHERE or ends_in(rows, known) else known
    for row in decided:
        status = numbered(status, row)
    unwritten = any(decision.number is None for decision in status.decisions)
    after = None if unwritten or lost is not None else _followed(status, rows, ahead)
    if after is None and restoring.lost(status):
        after = restoring.restored(status, rows)
    found = (after or status).model_copy(update={"decision_head": head if head != NOWHERE else None})
    return Found(found, head, there, adopted=after is not None, lost=lost)


def ends_in(rows: Sequence[DecisionRow], head: DecisionHead) -> bool:
    """Whether that row is among them."""
    return any((row.number, row.hash) == (head.number, head.hash) for row in rows)


def numbered(status: RolloutStatus, row: DecisionRow) -> RolloutStatus:
    """The status, whose decision of this row bears its number."""
    decisions = tuple(
        decision.model_copy(update={"number": row.number})
        if decision.number is None and chain.identity(decision) == _identity(row)
        else decision
        for decision in status.decisions
    )
    return status if decisions == status.decisions else status.model_copy(update={"decisions": decisions})


def _followed(status: RolloutStatus, rows: Sequence[DecisionRow], ahead: Sequence[DecisionRow]) -> RolloutStatus | None:
    """The status after the decisions that only the log has, if the first of them was made in this very status."""
    bases = [base(row, rows) for row in ahead]
    if not bases or any(found is None for found in bases):
        return None
    first, last = (json.loads(found.content) for found in (bases[0], bases[-1]) if found is not None)
    before = first["inputs"]["status"]
    same = all(before.get(key) == value for key, value in _place(status).items())
    if not same:
        return None
    followed = RolloutStatus.model_validate(last["planned"]["status"])
    decisions = (*status.decisions, *map(restoring.decision, ahead))[-DECISIONS_KEPT:]
    kept = {"conditions": status.conditions, "readable_spec": status.readable_spec}
    return followed.model_copy(update={**kept, "decisions": decisions})


def base(row: DecisionRow, rows: Sequence[DecisionRow]) -> DecisionRow | None:
    """The row with what was looked at for this one, often itself; None if nobody knows that any more."""
    body = json.loads(row.content)
    if "same" in body:
        return next((other for other in rows if other.number == body["same"]), None)
    return row if body.get("inputs") is not None else None


def _place(status: RolloutStatus) -> Mapping[str, Any]:
    """Where a rollout stands."""
    found = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {key: found.get(key) for key in ("attemptId", "phase", "stageIndex")}


def _identity(row: DecisionRow) -> tuple[datetime, str, str]:
    return row.at, row.action, row.reason

"""How a rollout stands, in lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator_operator.rollout.planning.conditions import NOT_EFFECTIVE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator_operator.specs.rollout_status import RolloutStatus

_WARNED = {"Powered": "False", "Calibrated": "False", "FlagConflict": "True", NOT_EFFECTIVE: "True"}


def standing(name: str, found: RolloutStatus) -> Iterator[str]:
    """Phase and reason first; then only what there is something to say of."""
    yield f"{name}: {found.phase}, {found.reason or 'no reason yet'}"
    if found.message:
        yield found.message
    yield f"stage {found.stage or '-'}, {found.percent} % of new executions on V2; attempt {found.attempt}"
    yield from _labelled(found)
    yield from _people(name, found)
    yield from _warnings(found)
    if found.next is not None:
        yield f"next planned move: {found.next.isoformat(timespec='seconds')}"
    if found.failed is not None:
        yield f"rolled back by {found.failed.criterion}: {found.failed.counts}; {found.failed.evidence}"


def _labelled(found: RolloutStatus) -> Iterator[str]:
    rows = (("evidence against V2", found.evidence), ("blind", found.blind), ("window", found.window))
    yield from (f"{label}: {value}" for label, value in rows if value)


def _people(name: str, found: RolloutStatus) -> Iterator[str]:
    """What people said, and what is asked of them."""
    if found.paused_by:
        yield f"paused by a person ({found.paused_by}); `orchestrator rollout resume {name}` lifts it"
    if found.awaits:
        yield f"awaits approval: `orchestrator rollout approve {name}` ({found.awaits})"
    if found.approved:
        yield f"approved: {found.approved}"


def _warnings(found: RolloutStatus) -> Iterator[str]:
    yield from (f"alarm {alarm.reason}: {alarm.sentence}" for alarm in found.alarms)
    for condition in found.conditions:
        if condition.status == _WARNED.get(condition.type):
            yield f"{condition.reason}: {condition.message}"

"""A guardrail's verdict: one number against a limit. It looks at one arm, so it holds and does not convict. Pure."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator import durations
from orchestrator_operator.rollout.model import Judged, Unreadable
from orchestrator_operator.specs.rollout_status import Verdict

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator_operator.rollout.model import Gathered
    from orchestrator_operator.specs.rollout import Criterion

_NOT_READ = Unreadable("NoSeries", "it has not been read")
_SECOND = timedelta(seconds=1)


def guardrail(gathered: Gathered, criterion: Criterion) -> Judged:
    """Fail when the limit has been exceeded for long enough. An unreadable moment ends the run: it is no evidence."""
    reading = gathered.guardrails.get(criterion.name, _NOT_READ)
    if isinstance(reading, Unreadable):
        return Judged(criterion, Verdict.BLIND, f"cannot be read: {reading.message}", reading.reason)
    limit = criterion.max if criterion.max is not None else math.inf
    if reading <= limit:
        return Judged(criterion, Verdict.PASS, f"{reading:g}, at most {limit:g} allowed", value=reading)
    since = _breached_since(gathered, criterion) or gathered.now
    lasted = gathered.now - since
    shown, allowed = durations.show(lasted - lasted % _SECOND), durations.show(criterion.for_)
    sentence = f"{reading:g} is above {limit:g} for {shown}" + (f" (allowed: {allowed})" if criterion.for_ else "")
    verdict = Verdict.FAIL if lasted >= criterion.for_ else Verdict.INCONCLUSIVE
    return Judged(criterion, verdict, sentence, value=reading, breached_since=since)


def _breached_since(gathered: Gathered, criterion: Criterion) -> datetime | None:
    return next((item.breached_since for item in gathered.status.criteria if item.name == criterion.name), None)

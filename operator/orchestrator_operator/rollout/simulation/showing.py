"""What a replay prints: JSON with every number at full precision, and a table for the eye. Pure."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from orchestrator import durations
from orchestrator.flag import show_percent
from orchestrator_operator.rollout.phases import IN_A_STAGE
from orchestrator_operator.rollout.wording import show_evidence
from orchestrator_operator.specs.rollout_status import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator_operator.rollout.simulation.forecast import Forecast
    from orchestrator_operator.rollout.simulation.replay import Replayed
    from orchestrator_operator.rollout.simulation.score import Score
    from orchestrator_operator.specs.rollout_status import Decision

HEADER = ("START", "CRITERION", "AGE", "AT %", "V1 BAD/ALL", "V2 BAD/ALL", "E", "NEEDED", "VERDICT", "%", "ACTION")
_ASIDES = frozenset({"Warn", "Alert", "Refuse", "RolledBack"})  # are told, and move nothing
_AS_HOURS = 2.0  # below it hours would hide what a short schedule is about
_NOTHING_NEW, _NOTHING_MORE = "Continue", "None"


def described(replayed: Replayed) -> dict[str, Any]:
    """One row as JSON. All logarithms are natural; counts are executions; percents are numbers."""
    row, judged, numbers, status = replayed.row, replayed.judged, replayed.numbers, replayed.status
    n1, k1, n2, k2 = row.counts or (None, None, None, None)
    return {
        "line": row.line,
        "start": _moment(row.start),
        "end": _moment(replayed.end),
        "criterion": row.preset,
        "age": durations.show(row.age) if row.age else None,
        "observed": {"percent": float(row.percent), "n1": n1, "k1": k1, "n2": n2, "k2": k2},
        "totals": [
            {"percent": float(cell.percent), "n1": cell.n1, "k1": cell.bad_v1, "n2": cell.n2, "k2": cell.bad_v2}
            for cell in replayed.cells
        ],
        "logEvidenceBadNoRestarts": numbers.bad_alone,
        "logEvidenceBad": numbers.bad,
        "logEvidence": numbers.full,
        "logEvidenceJudged": numbers.judged,
        "logThreshold": numbers.threshold,
        "logPassEvidence": judged.log_pass_evidence,
        "logPassThreshold": judged.log_pass_threshold,
        "verdict": judged.verdict.value,
        "verdictSentence": judged.sentence,
        "percent": float(status.percent),
        "phase": status.phase.value,
        "stage": status.stage,
        "action": action(replayed),
        "reason": status.reason,
        "sentence": status.message,
        "decisions": [_decision(decision) for decision in replayed.decisions],
    }


def line(replayed: Replayed) -> tuple[str, ...]:
    """One row of the table."""
    row, numbers, status = replayed.row, replayed.numbers, replayed.status
    n1, k1, n2, k2 = row.counts or ("-", "-", "-", "-")
    return (
        _moment(row.start),
        row.preset,
        durations.show(row.age) if row.age else "",
        show_percent(row.percent),
        f"{k1}/{n1}",
        f"{k2}/{n2}",
        "" if numbers.judged is None else show_evidence(numbers.judged),
        show_evidence(numbers.threshold),
        replayed.judged.verdict.value,
        status.percent,
        action(replayed),
    )


def action(replayed: Replayed) -> str:
    """What the controller did: its last decision since the rows before; Continue, or None where all is over."""
    done = [decision.action for decision in replayed.decisions if decision.action not in _ASIDES]
    if done:
        return done[-1]
    return _NOTHING_NEW if replayed.status.phase in IN_A_STAGE | {Phase.PENDING} else _NOTHING_MORE


def sentences(replayed: Iterable[Replayed]) -> list[str]:
    """Every decision with its sentence, each once."""
    told: list[Decision] = []
    for one in replayed:
        told += [decision for decision in one.decisions if decision not in told]
    return [f"{_moment(item.at)} {item.action} ({item.reason}): {item.message}" for item in told]


def forecast_lines(found: Forecast) -> Iterator[str]:
    """What the schedule promises, in sentences."""
    world, healthy = found.world, found.healthy
    yield f"{found.runs} rollouts each, {world.load:g} executions/h, {100 * world.base:.3g} % of them failing on V1:"
    yield f"a healthy V2 is rolled back in {healthy.rolled_back} of them"
    yield f"a healthy V2 is held, for a reason that nothing in the world gave, in {healthy.falsely_held}"
    for reason, (share, hours) in healthy.held.items():
        if share.count:
            yield f"  held with reason {reason} in {share}, {hours:.1f} h each on average"
    yield f"100 % is reached after {_hours(healthy.to_all.median)} (90 %: {_hours(healthy.to_all.p90)})"
    if healthy.people:
        yield f"  a person is asked {healthy.people:.1f} times, and says yes at once"
    for factor, harmful in found.harmful.items():
        limit = f"no rule can in less than {found.limits[factor]:.1f} h"
        yield f"a V2 that fails x{factor:g} is {_caught(harmful)}; {limit}"
    yield f"looked at every {durations.show(found.step)}; seed {found.seed}"


def _caught(score: Score) -> str:
    if math.isinf(score.hours.median):  # of a half that is never rolled back there is no median to tell
        return f"rolled back in {score.rolled_back} within the schedule"
    hours = f"{_hours(score.hours.median)} (90 %: {_hours(score.hours.p90)})"
    return f"rolled back in {score.rolled_back}, after {hours} and {score.excess:.0f} failures too many"


def _hours(hours: float) -> str:
    if hours < _AS_HOURS:  # a rehearsal in seconds
        return durations.show(timedelta(seconds=round(hours * 3600)))
    return f"{hours:.1f} h" if math.isfinite(hours) else "never"


def _decision(decision: Decision) -> dict[str, Any]:
    told: dict[str, Any] = decision.model_dump(mode="json", by_alias=True)
    return told


def _moment(moment: Any) -> str:
    return str(moment.isoformat().replace("+00:00", "Z"))

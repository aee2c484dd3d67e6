"""Whether the ensemble's arrays decide what the controller's own judge() and plan() decide on the same counts. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator_operator.rollout.model import Unreadable
from orchestrator_operator.rollout.phases import OVER
from orchestrator_operator.rollout.simulation.outcomes import NEVER, REASONS
from orchestrator_operator.rollout.simulation.rehearsal import Rehearsal
from orchestrator_operator.specs.rollout_status import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import timedelta

    from orchestrator_operator.rollout.simulation.ensemble import Ensemble
    from orchestrator_operator.specs.rollout_status import RolloutStatus

_AWAY = Unreadable("PrometheusUnreachable", "it is away")


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a rollout stands, as far as both can say it."""

    stage: int
    end: str  # RolledBack | Completed | ""
    held: str  # the reason, or ""


def rehearsed(ensemble: Ensemble, runs: Sequence[int], *, every: timedelta) -> Iterator[str]:
    """Run the ensemble to its end, these runs by the controller too; each difference in a sentence, one for a run.

    After a look that did not happen it is another process that looks.
    """
    doubles = {run: Rehearsal(ensemble.spec, approve=ensemble.approve) for run in runs}
    for run, double in doubles.items():
        double.look(ensemble.start, ensemble.counting.cells(run), **_read(ensemble, run, -1))
    while ensemble.look_at < ensemble.steps and ensemble.running.any():
        was = {run: bool(ensemble.running[run]) for run in doubles}
        ensemble.advance()
        for run, double in list(doubles.items()):
            if not was[run]:
                continue
            if ensemble.traffic.missed[run, ensemble.look_at - 1]:
                double.fail_over()
                continue
            double.look(ensemble.start + ensemble.look_at * every, *_cohorts(ensemble, run), **_read(ensemble, run))
            ours, theirs = _of_arrays(ensemble, run), _of_status(double.status)
            if ours != theirs:
                at = ensemble.look_at * every
                yield f"run {run} after {at}: the arrays say {ours}, the controller {theirs}: {double.status.message}"
                del doubles[run]


def _cohorts(ensemble: Ensemble, run: int) -> tuple[dict[Any, Any]]:
    cells = ensemble.counting.cells(run)
    blind = ensemble.traffic.blind[run, ensemble.look_at - 1]
    return (dict.fromkeys(cells, _AWAY) if blind else cells,)


def _read(ensemble: Ensemble, run: int, step: int | None = None) -> dict[str, Any]:
    """Guardrails, and what watches the experiment."""
    step = ensemble.look_at - 1 if step is None else step
    if step < 0:
        return {"guardrails": dict.fromkeys((item.name for item in ensemble.spec.guardrails), 0.0)}
    if ensemble.traffic.blind[run, step]:
        away = dict.fromkeys((item.name for item in ensemble.spec.guardrails), _AWAY)
        return {"guardrails": away, "starts": _AWAY, "calibration": _AWAY, "health": ()}
    limits = {item.name: item.max or 0.0 for item in ensemble.spec.guardrails}
    above = ensemble.guardrails.above(step)
    values = {name: limit + 1.0 if above[name][run] else 0.0 for name, limit in limits.items()}
    return {"guardrails": values} | ensemble.experiment.gathered(step, run, int(ensemble.stage[run]))


def _of_arrays(ensemble: Ensemble, run: int) -> Standing:
    out = ensemble.outcomes
    if out.rolled_back[run] != NEVER:
        return Standing(int(ensemble.stage[run]), "RolledBack", "")
    if out.completed[run] != NEVER:
        return Standing(int(ensemble.stage[run]), "Completed", "")
    reason = str(ensemble.reason[run])
    return Standing(int(ensemble.stage[run]), "", reason if reason in REASONS else "")


def _of_status(status: RolloutStatus) -> Standing:
    if status.phase in OVER:
        return Standing(status.stage_index, "RolledBack", "")
    if status.phase is Phase.COMPLETED:
        return Standing(status.stage_index, "Completed", "")
    held = status.reason if status.phase is Phase.HELD and status.reason != "Underpowered" else ""
    return Standing(status.stage_index, "", "Blind" if held == "BlindBudgetSpent" else held)

"""A comparison's verdict by a user's own counters: detector B, and every sentence says that it is approximate. Pure."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator_operator.rollout.judging.comparisons import planned_restarts
from orchestrator_operator.rollout.judging.passing import Words, towards_pass
from orchestrator_operator.rollout.model import Judged, Unreadable
from orchestrator_operator.rollout.statistics import evidence, normal_mixture
from orchestrator_operator.rollout.wording import show_counts, show_evidence
from orchestrator_operator.specs.rollout_status import Phase, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    from orchestrator_operator.rollout.model import Bin, Gathered
    from orchestrator_operator.specs.rollout import Criterion, RolloutSpec, Stage

_NOT_READ = Unreadable("NoSeries", "its counters have not been read")
_CAVEAT = "approximate: nobody knows what these counters count"


def own_comparison(gathered: Gathered, spec: RolloutSpec, stage: Stage, criterion: Criterion, share: float) -> Judged:
    """Fail by all bins of the attempt; else Blind if they cannot be read; else what the stage's own bins say.

    `share` is the part of analysis.falseRollback that it may spend.
    """
    # Before the start there is nothing to count, and V2's counters need not exist yet: that holds nobody up.
    missing = () if gathered.status.phase is Phase.PENDING else _NOT_READ
    bins = gathered.own.get(criterion.name, missing)
    if isinstance(bins, Unreadable):
        return Judged(criterion, Verdict.BLIND, f"cannot be read: {bins.message}", bins.reason)
    analysis = spec.analysis
    level = share * analysis.false_rollback
    restarts = _restarts(bins, gathered, analysis.restart)
    log_e = normal_mixture.log_fail(bins, restarts, planned_restarts(spec), analysis.tolerate, level)
    wanted = evidence.log_threshold(level)
    judged = Judged(criterion, Verdict.FAIL, "", counts=_totals(bins), log_evidence=log_e, log_threshold=wanted)
    if log_e >= wanted:
        sentence = (
            f"V2 is worse than V1 by your own counters: {show_counts(_totals(bins))} were bad; "
            f"evidence {show_evidence(log_e)}, needed {show_evidence(wanted)} ({_CAVEAT})"
        )
        return replace(judged, sentence=sentence)
    return _towards_pass(judged, spec, stage, _of_stage(bins, gathered))


def _towards_pass(judged: Judged, spec: RolloutSpec, stage: Stage, bins: tuple[Bin, ...]) -> Judged:
    words = Words(lambda arm: f"{stage.name} has counted nothing on {arm} yet", "nothing bad", f" ({_CAVEAT})")

    def log_pass(margin: float) -> float:
        return normal_mixture.log_pass(bins, margin, spec.analysis.false_pass)

    return towards_pass(judged, spec, stage, _totals(bins), log_pass, words)


def _restarts(bins: tuple[Bin, ...], gathered: Gathered, every: timedelta) -> dict[int, int]:
    """For each restart of the evidence that has begun: how many bins did not begin after it."""
    started = gathered.status.started_at
    ends = [item.end for item in bins if item.end is not None]
    if started is None or len(ends) < len(bins):
        return {}
    begun = (gathered.now - started) // every
    return {s: min(bisect_left(ends, started + s * every) + 1, len(bins)) for s in range(1, begun + 1)}


def _of_stage(bins: tuple[Bin, ...], gathered: Gathered) -> tuple[Bin, ...]:
    """A bin never spans a change of the percent: what closed after the stage began lies in it."""
    began = gathered.status.stage_started_at
    return tuple(item for item in bins if began is None or item.end is None or item.end > began)


def _totals(bins: Iterable[Bin]) -> tuple[int, int, int, int]:
    """(k₁, n₁, k₂, n₂), rounded: counters may be fractions."""
    found = tuple(bins)
    return (
        round(sum(item.k1 for item in found)),
        round(sum(item.n1 for item in found)),
        round(sum(item.k2 for item in found)),
        round(sum(item.n2 for item in found)),
    )

"""What lets a comparison pass, however its evidence is counted: by executions, or by a user's own counters. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator_operator.rollout.statistics import evidence
from orchestrator_operator.rollout.wording import show_counts, show_evidence
from orchestrator_operator.specs.rollout_status import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator_operator.rollout.model import Judged
    from orchestrator_operator.specs.rollout import RolloutSpec, Stage

_NO_COIN = "everything runs on V2: nothing to compare with"
Counts = tuple[int, int, int, int]  # k₁, n₁, k₂, n₂


@dataclass(frozen=True, slots=True)
class Words:
    """What differs in the sentences: what an arm lacks, what is not bad, and what is said of each number."""

    lacking: Callable[[str], str]  # of an arm: `V2`, `V1` or `either engine`
    nothing_bad: str
    caveat: str = ""  # begins with a space


def towards_pass(
    judged: Judged,
    spec: RolloutSpec,
    stage: Stage,
    counts: Counts,
    log_pass: Callable[[float], float],
    words: Words,
) -> Judged:
    """The criterion with its verdict from the stage's own counts; `log_pass` is ln E that V2 is below a margin."""
    k1, n1, k2, n2 = counts
    if stage.share == 100:  # noqa: PLR2004 - per cent: no coin is tossed
        return replace(judged, verdict=Verdict.NOT_APPLICABLE, sentence=_NO_COIN)
    judged = replace(judged, verdict=Verdict.INCONCLUSIVE)
    if not n1 or not n2:
        return replace(judged, sentence=words.lacking("V2" if n1 else "V1" if n2 else "either engine"))
    margins, false_pass = spec.analysis.pass_margin, spec.analysis.false_pass
    if not k1 and not k2:
        passed = evidence.enough_without_failures(n2, margins.absolute, false_pass)
        rest = "" if passed else ": too few to rule the margin out"
        sentence = f"{words.nothing_bad} yet among {n2} on V2 and {n1} on V1{rest}{words.caveat}"
        return replace(judged, verdict=_pass_if(passed), sentence=sentence)
    wanted = evidence.log_threshold(false_pass)
    margin = evidence.pass_margin(k1, n1, margins.relative, margins.absolute)
    log_e = log_pass(margin)
    passed = log_e >= wanted
    claim = "V2 is better than" if passed else "not yet shown that V2 is better than"
    return replace(
        judged,
        verdict=_pass_if(passed),
        sentence=f"{claim} {margin:.3g} times V1: in {stage.name}, {show_counts(counts)} were bad; "
        f"evidence {show_evidence(log_e)}, needed {show_evidence(wanted)}{words.caveat}",
        log_pass_evidence=log_e,
        log_pass_threshold=wanted,
    )


def _pass_if(passed: bool) -> Verdict:
    return Verdict.PASS if passed else Verdict.INCONCLUSIVE

"""What the re-statement says of a case, beside what the controller did."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.benchmarks.report import number, table
from tests.benchmarks.rollout.rivals.argo import Phase, Tally, analysis_run
from tests.benchmarks.rollout.rivals.prometheus import Answer, Queries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from tests.benchmarks.rollout.argo.cases import Case

    Floats = NDArray[np.float64]
    Indices = NDArray[np.intp]

_ONE = np.zeros(1, dtype=np.intp)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One of the controller's: its phase, and the value if there is one (NaN is one)."""

    phase: Phase
    value: float | None


@dataclass(frozen=True, slots=True)
class Real:
    """What the controller did with an AnalysisRun. Seconds count from the begin of the replay."""

    phase: Phase
    began: float
    ended: float
    measurements: tuple[Measurement, ...]
    message: str = ""
    outage: tuple[float, float] | None = None  # while Prometheus was down
    terminated: bool = False  # by us: a run without a count has no end of its own


class NoSeries:
    """Queries for counters that nobody exports."""

    always_answered = False

    def ask(self, runs: Indices, _seconds: Floats) -> tuple[Floats, NDArray[np.int8]]:
        return np.full(len(runs), np.nan), np.full(len(runs), Answer.EMPTY, dtype=np.int8)

    def away(self, runs: Indices, _seconds: Floats) -> Floats:
        return np.zeros(len(runs))


def predicted(case: Case, real: Real) -> tuple[Phase, float]:
    """How the case ends by the re-statement, from its trace alone, and when; the real run gives the begin."""
    trace = case.trace
    if real.outage is not None:
        seconds = np.arange(trace.bins)
        dark = (seconds + 1 > real.outage[0]) & (seconds < real.outage[1])
        trace = replace(trace, outage=dark[None, :])
    queries: Any = Queries(trace, case.metric.measure, case.metric.window) if case.series else NoSeries()
    until = real.ended if real.terminated else trace.seconds
    phases, reached = analysis_run(case.metric, queries, _ONE, np.array([real.began]), count=case.count, until=until)
    phase = Phase(int(phases[0]))
    # A run that is terminated while all is well counts as a success (analysis/analysis.go, assessMetricStatus).
    return (Phase.SUCCESSFUL if phase is Phase.RUNNING and real.terminated else phase), float(reached[0])


def replayed(case: Case, real: Real) -> tuple[int, Phase]:
    """The controller's own measurements, judged by the re-statement: how many got the same phase, and the verdict."""
    tally, verdict, alike = Tally(1), Phase.RUNNING, 0
    for measurement in real.measurements:
        # Whether a vector was empty or Prometheus did not answer makes no difference: both are errors.
        ended = Answer.EMPTY if measurement.value is None else Answer.VALUE
        value = np.nan if measurement.value is None else measurement.value
        phases = case.metric.evaluate(np.array([value]), np.array([ended], dtype=np.int8))
        alike += int(phases[0]) == measurement.phase
        tally.take(_ONE, phases)
        verdict = Phase(int(tally.assess(case.metric, _ONE, case.count)[0]))
    return alike, (Phase.SUCCESSFUL if verdict is Phase.RUNNING and real.terminated else verdict)


def row(case: Case, real: Real) -> dict[str, Any]:
    """One case as JSON."""
    phase, reached = predicted(case, real)
    alike, verdict = replayed(case, real)
    return {
        "case": case.name,
        "real": real.phase.name,
        "restated": phase.name,
        "real_seconds": round(real.ended - real.began, 1),
        "restated_seconds": round(reached - real.began, 1),
        "measurements": len(real.measurements),
        "judged_alike": alike,
        "replayed": verdict.name,
        "message": real.message,
        "agrees": phase is real.phase and verdict is real.phase and alike == len(real.measurements),
    }


def as_table(result: Mapping[str, Any]) -> str:
    """The comparison for people: Markdown."""
    header = ("case", "controller", "re-statement", "after, s", "re-stated", "measurements", "judged alike", "agree")
    rows: Iterable[Mapping[str, Any]] = result["cases"]
    lines = [
        (
            found["case"],
            found["real"].capitalize(),
            found["restated"].capitalize(),
            number(found["real_seconds"], 0),
            number(found["restated_seconds"], 0),
            str(found["measurements"]),
            str(found["judged_alike"]),
            "yes" if found["agrees"] else "**no**",
        )
        for found in rows
    ]
    agree = sum(found["agrees"] for found in result["cases"])
    told = f"Argo Rollouts {result['version']}: {agree} of {len(lines)} cases agree."
    return f"{told}\n\n{table(header, lines)}\n"

"""Builders for reports of a few moments."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from orchestrator_operator.report.model import Decided, Moment, Report
from orchestrator_operator.specs.rollout_status import CriterionStatus, RolloutStatus, Verdict

from tests.support.rollouts import START


def moment(hours: float, percent: float = 5, **fields: Any) -> Moment:
    """A look so many hours after the start."""
    stood: dict[str, Any] = {"stage": "one", "phase": "Progressing", "number": round(hours * 60) + 1} | fields
    return Moment(at=START + timedelta(hours=hours), percent=percent, **stood)


def judged(name: str = "failures", verdict: Verdict = Verdict.INCONCLUSIVE, **fields: Any) -> CriterionStatus:
    """A criterion with some evidence."""
    stood: dict[str, Any] = {
        "k1": 10,
        "n1": 1000,
        "k2": 1,
        "n2": 50,
        "log_evidence": 0.5,
        "log_threshold": 6.0,
    } | fields
    return CriterionStatus(name=name, verdict=verdict, sentence="a sentence", **stood)


def said(action: str, message: str = "why") -> Decided:
    return Decided(action, "Reason", message, "controller")


def of(*moments: Moment, **fields: Any) -> Report:
    """A report of these moments."""
    return Report("shop/v2", "a test", moments, RolloutStatus(), **fields)


def printed(hour: int, age: str = "10m", **changes: Any) -> dict[str, Any]:
    """One row as `rollout simulate` prints it."""
    row = {
        "line": hour + 1,
        "start": (START + timedelta(hours=hour)).isoformat().replace("+00:00", "Z"),
        "end": (START + timedelta(hours=hour + 1)).isoformat().replace("+00:00", "Z"),
        "criterion": "failures",
        "age": age,
        "observed": {"percent": 5.0, "n1": 950, "k1": 10, "n2": 50, "k2": 2},
        "totals": [{"percent": 5.0, "n1": 950 * (hour + 1), "k1": 10, "n2": 50 * (hour + 1), "k2": 2}],
        "logEvidenceBadNoRestarts": 0.1,
        "logEvidenceBad": 0.2,
        "logEvidence": 0.3,
        "logEvidenceJudged": 0.4,
        "logThreshold": 6.0,
        "logPassEvidence": None,
        "logPassThreshold": None,
        "verdict": "Inconclusive",
        "verdictSentence": "not yet",
        "percent": 5.0,
        "phase": "Progressing",
        "stage": "one",
        "action": "Continue",
        "reason": "StageRunning",
        "sentence": "one: 5 % of new executions go to V2",
        "decisions": [],
    }
    return row | changes


def _decided(hour: float, action: str) -> dict[str, Any]:
    at = (START + timedelta(hours=hour)).isoformat().replace("+00:00", "Z")
    return {"at": at, "action": action, "reason": "Why", "message": "a sentence", "actor": "controller"}


SIMULATED = [
    printed(0, "1m", decisions=[_decided(0, "Start")]),
    printed(0, "10m", decisions=[_decided(0, "Start")], logEvidenceJudged=2.5),
    printed(1, "1m", phase="RolledBack", percent=0.0, decisions=[_decided(2, "RollBack")]),
    printed(1, "10m", phase="RolledBack", percent=0.0, decisions=[_decided(2, "RollBack")]),
]
"""Two hours of a simulation that ends with a rollback."""

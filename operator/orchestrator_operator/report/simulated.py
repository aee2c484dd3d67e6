"""From what `orchestrator rollout simulate --output json` prints to a report. Pure.

It prints an object for each row of the history. Those of one `end` are one moment: each criterion by the age that says
most against V2, the totals of every age, and what was decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from orchestrator.errors import InvalidInput, Problem
from orchestrator_operator.report.counted import finite
from orchestrator_operator.report.model import Decided, Moment, Report
from orchestrator_operator.rollout.statistics.evidence import Cell
from orchestrator_operator.rollout.wording import show_evidence
from orchestrator_operator.specs.rollout_status import CriterionStatus, RolloutStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator_operator.report.model import Counted
    from orchestrator_operator.rollout.statistics.evidence import Cells

_FIELDS = {
    "logEvidenceJudged": "log_evidence",
    "logThreshold": "log_threshold",
    "logPassEvidence": "log_pass_evidence",
    "logPassThreshold": "log_pass_threshold",
}


def report(document: Any, source: str) -> Report:
    """The story of a simulation; raises InvalidInput where the document is something else."""
    rows = document.get("rows") if isinstance(document, Mapping) else document
    if not isinstance(rows, list) or not rows or not all(isinstance(row, Mapping) for row in rows):
        message = "no rows: make it by `orchestrator rollout simulate SPEC --data TOTALS.csv --output json`"
        raise InvalidInput([Problem(source, message)])
    moments: list[Moment] = []
    try:
        for _, together in groupby(rows, key=lambda row: row["end"]):
            moments += _moments(tuple(together), moments)
        status = _status(rows[-1], moments)
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError, ValidationError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InvalidInput(
            [Problem(f"{source}, row {len(moments) + 1}", f"no row of a simulation ({reason})")]
        ) from None
    return Report(source, f"a simulation, {source}", tuple(moments), status, kind="Simulation")


def _moments(rows: Sequence[Mapping[str, Any]], before: Sequence[Moment]) -> Iterator[Moment]:
    """What was decided since the rows before, each decision a moment of its own; else one at which nothing was."""
    first, number = rows[0], len(before) + 1
    criteria = [_strongest(list(same)) for _, same in groupby(sorted(rows, key=_name), key=_name)]
    cells: dict[Counted, Cells] = {(_name(row), str(row["age"] or "")): _cells(row["totals"]) for row in rows}
    look = Moment(
        at=_at(first["end"]),
        number=number,
        percent=float(first["percent"]),
        stage=str(first["stage"]),
        phase=str(first["phase"]),
        criteria=tuple(sorted(criteria, key=lambda item: [_name(row) for row in rows].index(item.name))),
        cells=cells,
    )
    decisions = [item for item in first["decisions"] if _at(item["at"]) <= look.at]
    for place, item in enumerate(decisions):
        said = Decided(*(str(item[name]) for name in ("action", "reason", "message", "actor")))
        yield replace(look, number=number + place, at=_at(item["at"]), decided=said)
    if not decisions or decisions[-1]["at"] != first["end"]:
        yield replace(look, number=number + len(decisions))


def _name(row: Mapping[str, Any]) -> str:
    return str(row["criterion"])


def _strongest(rows: Sequence[Mapping[str, Any]]) -> CriterionStatus:
    """A criterion by the age whose evidence is nearest to, or farthest beyond, its limit."""
    row = max(rows, key=lambda item: (finite(item["logEvidenceJudged"]) or 0) - (finite(item["logThreshold"]) or 0))
    totals = row["totals"]
    counts = {name: sum(int(cell[name]) for cell in totals) for name in ("k1", "n1", "k2", "n2")} if totals else {}
    logs = {ours: finite(row[theirs]) for theirs, ours in _FIELDS.items()}
    return CriterionStatus(
        name=_name(row),
        verdict=row["verdict"],
        sentence=row["verdictSentence"],
        age=row["age"],
        **counts,
        **logs,
    )


def _cells(totals: Sequence[Mapping[str, Any]]) -> Cells:
    return tuple(
        Cell(
            Decimal(str(cell["percent"])).normalize(),
            *(int(number) for arm in ("1", "2") for number in (cell[f"k{arm}"], cell[f"n{arm}"] - cell[f"k{arm}"])),
        )
        for cell in totals
    )


def _status(row: Mapping[str, Any], moments: Sequence[Moment]) -> RolloutStatus:
    """How it ended, as a status would say it."""
    last = moments[-1]
    against = [item for item in last.criteria if item.log_evidence is not None and item.log_threshold is not None]
    strongest = max(against, key=lambda item: (item.log_evidence or 0) - (item.log_threshold or 0), default=None)
    shown = ""
    if strongest is not None:
        shown = f"{show_evidence(strongest.log_evidence or 0)} of {show_evidence(strongest.log_threshold or 0)}"
    return RolloutStatus(
        phase=row["phase"],
        reason=row["reason"],
        message=row["sentence"],
        stage=row["stage"],
        percent=str(row["percent"]),
        attempt=1,
        started_at=moments[0].at,
        verdict=row["verdict"],
        evidence=shown,
        criteria=last.criteria,
    )


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)

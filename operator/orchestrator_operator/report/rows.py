"""From the rows of the decision log (rollout/log/chain.py) to a report. Pure; what cannot be read is named by row.

Read are `planned.status` (how the rollout stood afterwards), `inputs` (the counts by percent, the restarts, the spec)
and `judgement.criteria`. A row that was decided in the same breath as another has that one's content; a row that was
written down after a crash has no inputs, and leaves the rollout as the row before had it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from orchestrator import durations
from orchestrator.errors import InvalidInput, Problem
from orchestrator_operator.report import counted
from orchestrator_operator.report.model import Decided, Moment, Report, criteria_of
from orchestrator_operator.rollout.log.chain import OBSERVED
from orchestrator_operator.rollout.log.sharing import resolved, shared_values
from orchestrator_operator.specs.rollout_status import RolloutStatus, read_status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.store.evidence import DecisionRow

_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)


def report(rows: Sequence[DecisionRow], source: str, attempt: int | None = None) -> Report:
    """The story of one attempt, the newest one without its number; `rows` are the whole log, oldest first.

    Raises InvalidInput where there is no row of that attempt, or one cannot be read.
    """
    wanted = attempt if attempt is not None else max((_attempt(row) for row in rows), default=0)
    known = _Known()
    moments: list[Moment] = []
    status, spec = RolloutStatus(), dict[str, Any]()
    for row in rows:
        path = f"{source}, row {row.number}"
        content = known.content(row, path)
        if _attempt(row) != wanted:
            continue
        status = _status(content, path) or status
        inputs = _object(content, "inputs", path)
        spec = dict(_object(inputs, "spec", f"{path}: inputs")) or spec
        moments.append(_moment(row, content, inputs, status, path))
    if not moments:
        which = "yet: has the rollout started?" if attempt is None else f"of attempt {attempt}"
        raise _wrong(source, f"there is no row {which}")
    return with_spec(Report(str(rows[-1].name), source, tuple(moments), status), spec)


def with_spec(report: Report, spec: Mapping[str, Any]) -> Report:
    """The report with what the spec says of limits and restarts; a spec that is half there spoils nothing."""
    limits = {str(item.get("name")): float(item["max"]) for item in criteria_of(spec) if _is_number(item.get("max"))}
    analysis = spec.get("analysis")
    raw = analysis.get("restart", "1d") if isinstance(analysis, Mapping) else "1d"
    try:
        restart = durations.parse(raw)
    except ValueError:
        restart = None
    return replace(report, spec=spec, limits=limits, restart=restart)


class _Known:
    """The rows that were read, which later ones refer to."""

    def __init__(self) -> None:
        self._contents: dict[int, Mapping[str, Any]] = {}
        self._shared: dict[int, Mapping[str, Any]] = {}

    def content(self, row: DecisionRow, path: str) -> Mapping[str, Any]:
        """A row's content with everything that it shares with earlier ones."""
        try:
            body = json.loads(row.content)
            content = self._contents[body["same"]] if "same" in body else self._whole(row.number, body)
        except (*_UNREADABLE, RecursionError) as error:
            raise _wrong(path, f"its content cannot be read ({type(error).__name__}: {error})") from None
        self._contents[row.number] = content
        return content

    def _whole(self, number: int, body: dict[str, Any]) -> Mapping[str, Any]:
        if body.get("inputs") is None:
            return body
        inputs = resolved(body["inputs"], self._shared)
        self._shared[number] = shared_values(inputs)
        return {**body, "inputs": inputs}


def _moment(
    row: DecisionRow, content: Mapping[str, Any], inputs: Mapping[str, Any], status: RolloutStatus, path: str
) -> Moment:
    judgement = _object(content, "judgement", path)
    said = Decided(str(row.action), str(row.reason), str(row.message), str(row.actor))
    return Moment(
        at=row.at.astimezone(UTC),
        number=row.number,
        percent=counted.percent(status.percent, f"{path}: planned.status.percent"),
        stage=status.stage,
        phase=status.phase.value,
        criteria=counted.criteria(judgement.get("criteria") or (), path),
        cells=counted.cohorts(inputs.get("cohorts") or (), path),
        starts=counted.cells(inputs.get("starts"), f"{path}: inputs.starts"),
        decided=None if row.action == OBSERVED else said,
        digest=row.hash,
        restarts=len(inputs.get("restarts") or ()),
        notes=counted.notes(judgement, path),
    )


def _status(content: Mapping[str, Any], path: str) -> RolloutStatus | None:
    raw = _object(content, "planned", path).get("status")
    if not raw:
        return None
    try:
        return read_status(raw)
    except (AttributeError, ValidationError) as error:
        raise _wrong(f"{path}: planned.status", str(error).splitlines()[0]) from None


def _attempt(row: DecisionRow) -> int:
    """The attempt's number: the end of its id (`3f2a9c1e-2`); 0 where the row has none."""
    last = str(row.attempt).rpartition("-")[2]
    return int(last) if last.isascii() and last.isdigit() else 0


def _object(content: Mapping[str, Any], name: str, path: str) -> Mapping[str, Any]:
    found = content.get(name) or {}
    if not isinstance(found, Mapping):
        raise _wrong(f"{path}: {name}", "this is to be a JSON object")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong(path: str, message: str) -> InvalidInput:
    return InvalidInput([Problem(path, message)])

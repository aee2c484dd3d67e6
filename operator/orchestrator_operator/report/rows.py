"""From the rows of the decision log to a report. Pure; what cannot be read is named with its row and its field.

A row is a JSON object as `orchestrator rollout history --output jsonl` exports it: what rollout/chain.py seals, with
`content` as JSON. Read here are, all but `at` if they are there,

    number, at, name, attempt, action, reason, message, actor, hash
    content.planned.status      how the rollout stood afterwards
    content.inputs              cohorts and starts (counts by percent), restarts, spec
    content.judgement.criteria  each criterion's verdict, counts, evidence and limits
    content.same                the row that was decided in the same breath, and has all that

An `action` of `Observed` is a look at which nothing was decided.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from orchestrator import durations
from orchestrator.errors import InvalidInput, Problem
from orchestrator_operator.report import counted
from orchestrator_operator.report.model import Decided, Moment, Report
from orchestrator_operator.specs.rollout_status import RolloutStatus, read_status

if TYPE_CHECKING:
    from collections.abc import Sequence

OBSERVED = "Observed"
_AS = "$as"  # names the earlier row that has the same (rollout/sharing.py)

Row = Mapping[str, Any]


def parse_lines(text: str, source: str) -> tuple[Row, ...]:
    """The rows of a JSON-lines text; raises InvalidInput that names the line in `source`."""
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _wrong(f"{source}:{number}", f"not JSON ({error}): was the file cut off?") from None
        if not isinstance(row, Mapping):
            raise _wrong(f"{source}:{number}", "a row is a JSON object; export with `rollout history --output jsonl`")
        rows.append(row)
    return tuple(rows)


def of_attempt(rows: Sequence[Row], attempt: int | None = None) -> tuple[Row, ...]:
    """The rows of one attempt, by its number; of the newest one without it.

    Rows of another attempt that a kept row refers to are not lost: `report` is given all rows for that.
    """
    numbers = [_attempt(row) for row in rows]
    wanted = attempt if attempt is not None else max((n for n in numbers if n is not None), default=None)
    return tuple(row for row, number in zip(rows, numbers, strict=True) if number in (None, wanted))


def report(
    rows: Sequence[Row], source: str, *, attempt: int | None = None, status: RolloutStatus | None = None
) -> Report:
    """The story that these rows tell, oldest first. `status` is the resource's, where it is newer than the rows.

    Raises InvalidInput where there is no row of that attempt, or one is wrong.
    """
    chosen = of_attempt(rows, attempt)
    if not chosen:
        which = "yet: has the rollout started?" if attempt is None else f"of attempt {attempt}"
        raise _wrong(source, f"there is no row {which}")
    whole = {_number(row, place, source): row for place, row in enumerate(rows, start=1)}
    moments: list[Moment] = []
    newest, spec = RolloutStatus(), dict[str, Any]()
    for place, row in enumerate(chosen, start=1):
        number = _number(row, place, source)
        path = f"{source}, row {number}"
        content = _content(row, whole, path)
        newest = _status(content, path) or newest
        spec = _spec(content, whole, path) or spec
        moments.append(_moment(row, number, content, newest, moments[-1] if moments else None, whole, path))
    name = str(chosen[-1].get("name") or source)
    settled = status if status is not None and attempt is None else newest
    return with_spec(Report(name, source, tuple(moments), settled), spec)


def with_spec(report: Report, spec: Mapping[str, Any]) -> Report:
    """The report with what the spec says of limits and restarts; a spec that is half there spoils nothing."""
    criteria = [item for item in spec.get("criteria") or () if isinstance(item, Mapping)]
    limits = {
        str(item["name"]): float(item["max"]) for item in criteria if _is_number(item.get("max")) and "name" in item
    }
    analysis = spec.get("analysis")
    raw = analysis.get("restart", "1d") if isinstance(analysis, Mapping) else "1d"
    try:
        restart = durations.parse(raw)
    except ValueError:
        restart = None
    return replace(report, spec=spec, limits=limits, restart=restart)


def _moment(
    row: Row,
    number: int,
    content: Row,
    status: RolloutStatus,
    before: Moment | None,
    whole: Mapping[int, Row],
    path: str,
) -> Moment:
    inputs = _object(content, "inputs", path)
    action = str(row.get("action") or OBSERVED)
    said = Decided(action, *(str(row.get(name) or "") for name in ("reason", "message", "actor")))
    restarts = _length(inputs, "restarts", whole)
    return Moment(
        at=_at(row, path),
        number=number,
        percent=counted.percent(status.percent, f"{path}.content.planned.status.percent"),
        stage=status.stage,
        phase=status.phase.value,
        criteria=counted.criteria(_object(content, "judgement", path).get("criteria") or (), path),
        cells=counted.cohorts(inputs.get("cohorts") or (), path),
        starts=counted.cells(inputs.get("starts"), f"{path}.content.inputs.starts"),
        decided=None if action == OBSERVED else said,
        digest=str(row.get("hash") or ""),
        restarts=max(restarts, before.restarts if before else 0),
    )


def _content(row: Row, whole: Mapping[int, Row], path: str) -> Row:
    """A row's own content, or that of the row that was decided in the same breath."""
    content = _object(row, "content", path)
    for _ in whole:  # of several decisions each names the one before it
        same = content.get("same")
        if not isinstance(same, int) or same not in whole:
            break
        content = _object(whole[same], "content", path)
    return content


def _status(content: Row, path: str) -> RolloutStatus | None:
    raw = _object(content, "planned", path).get("status")
    if not raw:
        return None
    try:
        return read_status(raw)
    except (AttributeError, ValidationError) as error:
        raise _wrong(f"{path}.content.planned.status", str(error).splitlines()[0]) from None


def _spec(content: Row, whole: Mapping[int, Row], path: str) -> dict[str, Any]:
    """The spec, perhaps of the earlier row that had the same."""
    found = _object(content, "inputs", path).get("spec") or {}
    if isinstance(found, Mapping) and _AS in found:
        earlier = whole.get(found[_AS], {})
        found = _object(_object(earlier, "content", path), "inputs", path).get("spec") or {}
    return dict(found) if isinstance(found, Mapping) and _AS not in found else {}


def _length(inputs: Row, name: str, whole: Mapping[int, Row]) -> int:
    """How many members a list has that may be the beginning of an earlier row's list and some more."""
    found = inputs.get(name) or ()
    if not isinstance(found, Mapping):
        return len(found)
    if "first" in found:
        return int(found["first"]) + len(found.get("then") or ())
    earlier = whole.get(found.get(_AS, -1), {})
    following = (earlier.get("content") or {}).get("inputs") or {}
    return _length(following, name, whole) if following is not inputs else 0


def _attempt(row: Row) -> int | None:
    """The attempt's number: the end of its id (`3f2a9c1e-2`)."""
    last = str(row.get("attempt", "")).rpartition("-")[2]
    return int(last) if last.isascii() and last.isdigit() else None


def _number(row: Row, place: int, source: str) -> int:
    raw = row.get("number", place)
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise _wrong(f"{source}, row {place}.number", f"{raw!r} is no whole number")
    return raw


def _at(row: Row, path: str) -> datetime:
    try:
        at = datetime.fromisoformat(row["at"])
    except (KeyError, TypeError, ValueError):
        raise _wrong(f"{path}.at", f"{row.get('at')!r} is no RFC 3339 moment") from None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def _object(row: Row, name: str, path: str) -> Row:
    found = row.get(name) or {}
    if not isinstance(found, Mapping):
        raise _wrong(f"{path}.{name}", "this is to be a JSON object")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong(path: str, message: str) -> InvalidInput:
    return InvalidInput([Problem(path, message)])

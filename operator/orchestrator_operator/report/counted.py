"""Counts and verdicts as the rows of the decision log spell them (rollout/log/jsonform.py). Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from orchestrator import durations
from orchestrator.errors import InvalidInput, Problem
from orchestrator_operator.rollout.statistics.evidence import Cell
from orchestrator_operator.specs.rollout_status import CriterionStatus

if TYPE_CHECKING:
    from orchestrator_operator.report.model import Counted
    from orchestrator_operator.rollout.statistics.evidence import Cells

_COUNTS = ("bad_v1", "good_v1", "bad_v2", "good_v2")  # of a cell; what is 0 is left out
_LOGS = ("log_evidence", "log_threshold", "log_pass_evidence", "log_pass_threshold")
_SHOWN = 2.0  # the relative risk that a stage should be able to show
_BAD = (ArithmeticError, AttributeError, KeyError, TypeError, ValueError)


def cohorts(raw: Any, path: str) -> dict[Counted, Cells]:
    """`[[["failures", 600.0], cells], …]`: the readable counts by what is counted and at which age."""
    try:
        pairs = [((str(what), durations.show(timedelta(seconds=age))), found) for (what, age), found in raw]
    except _BAD:
        raise _wrong(f"{path}: inputs.cohorts", "pairs of [preset, age in seconds] and counts") from None
    read = {key: cells(found, f"{path}: inputs.cohorts") for key, found in pairs}
    return {key: found for key, found in read.items() if found}


def cells(raw: Any, path: str) -> Cells:
    """`[{"percent": "5", "bad_v1": 30, …}, …]`; what could not be read stands there as an object: no counts."""
    if raw is None or isinstance(raw, Mapping):
        return ()
    try:
        return tuple(Cell(Decimal(item["percent"]), *(_count(item.get(name, 0)) for name in _COUNTS)) for item in raw)
    except _BAD:
        raise _wrong(path, f"a list of objects with `percent` and whole numbers {', '.join(_COUNTS)}") from None


def criteria(raw: Any, path: str) -> tuple[CriterionStatus, ...]:
    """Each criterion's verdict with its numbers; evidence that is no finite number is left out."""
    try:
        return tuple(_criterion(item) for item in raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _wrong(f"{path}: judgement.criteria.{where}", first["msg"]) from None
    except _BAD as error:
        raise _wrong(f"{path}: judgement.criteria", f"{type(error).__name__}: {error}") from None


def notes(raw: Any, path: str) -> tuple[str, ...]:
    """What a judgement says of the experiment: its alarms, and what the traffic cannot show where that is too much."""
    power = raw.get("power") or {}
    try:
        said = [f"{alarm['reason']}: {alarm['sentence']}" for alarm in raw.get("alarms") or ()]
        if power and float(power["smallest"]) > _SHOWN:
            said.append(str(power["sentence"]))
    except _BAD as error:
        raise _wrong(f"{path}: judgement", f"{type(error).__name__}: {error}") from None
    return tuple(said)


def percent(raw: str, path: str) -> float:
    """From 0 to 100."""
    try:
        found = float(raw or 0)
    except ValueError:
        found = math.nan
    if not 0 <= found <= 100:  # noqa: PLR2004 - per cent
        raise _wrong(path, f"{raw!r} is no percent from 0 to 100")
    return found


def finite(raw: Any) -> float | None:
    """A number; None for none, and for those that are infinite or no number."""
    return None if raw is None or not math.isfinite(float(raw)) else float(raw)


def _criterion(raw: Any) -> CriterionStatus:
    counts = raw.get("counts")
    k1, n1, k2, n2 = counts if counts is not None else (None, None, None, None)
    age = raw.get("age")
    return CriterionStatus(
        name=raw["criterion"],
        verdict=raw["verdict"],
        sentence=raw.get("sentence", ""),
        age=None if age is None else durations.show(timedelta(seconds=age)),
        k1=k1,
        n1=n1,
        k2=k2,
        n2=n2,
        value=finite(raw.get("value")),
        breached_since=raw.get("breached_since"),
        **{name: finite(raw.get(name)) for name in _LOGS},
    )


def _count(raw: Any) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int) or raw < 0:
        raise ValueError(f"{raw!r} is no count")
    return raw


def _wrong(path: str, message: str) -> InvalidInput:
    return InvalidInput([Problem(path, message)])

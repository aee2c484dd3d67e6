"""Checks a rollout's log of decisions: that no row was touched, and that each verdict follows from what was looked at.

Two questions of each row, in their order; the first answer that is a difference is the result:

    the chain     does it have the next number, the hash of the row before, and a hash that fits what it says?
    the decision  do the very same judge and plan come to the same, from the inputs that it records?

A row that another judge decided (judge.JUDGE) is no forgery for that: this one may come to other figures by right. What
it comes to is told, and is not the result; the software that wrote the row derives it.

The end of the log is compared with every place where it was published: the status, Events, the last line of an export.
Pure.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from orchestrator_operator.rollout.judging.judge import JUDGE, judge
from orchestrator_operator.rollout.log import chain, jsonform
from orchestrator_operator.rollout.log.chain import OBSERVED
from orchestrator_operator.rollout.log.sharing import resolved, shared_values, with_closed
from orchestrator_operator.rollout.model import Gathered, Tell
from orchestrator_operator.rollout.planning.plan import plan
from orchestrator_operator.specs.rollout_status import RolloutStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orchestrator.store.evidence import DecisionRow
    from orchestrator_operator.specs.rollout_status import DecisionHead

_PRECISION = 1e-9  # relative: another machine's libraries may round the last digits of a logarithm otherwise
_SHOWN = 160  # characters of a value in a sentence
_UNSAID = chain.status_after(RolloutStatus())  # what an earlier version did not know of a status was as it is at first
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, StopIteration, ValidationError)


@dataclass(frozen=True, slots=True)
class Published:
    """An end of the log as it was told somewhere."""

    place: str  # "the status", "the Event …"
    head: DecisionHead


@dataclass(frozen=True, slots=True)
class Otherwise:
    """A row of another judge, and how this one's decision differs from it."""

    number: int
    judge: int
    version: str  # of the software that wrote it
    difference: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found. `difference` is one sentence about the first thing that is wrong; "": nothing is."""

    rows: int
    derived: int = 0  # rows whose verdicts and actions were derived again
    without_inputs: tuple[int, ...] = ()  # written down late, after their process had ended: nothing to derive from
    otherwise: tuple[Otherwise, ...] = ()  # rows of another judge, to which this one comes otherwise
    difference: str = ""


def verify(rows: Sequence[DecisionRow], published: Iterable[Published] = (), attempt: str | None = None) -> Verified:
    """Check a whole log, from its first row on; derive again what `attempt` decided (None: all of it)."""
    if difference := _chain(rows) or _ends(rows, published):
        return Verified(len(rows), difference=difference)
    derivation = _Derivation()
    derived, without, otherwise, difference = 0, [], [], ""
    for row in rows:
        try:
            found = derivation.of(row)
        except _UNREADABLE as error:
            found = f"its content cannot be read: {type(error).__name__}: {error}"
        if found is None:
            without.append(row.number)
        elif attempt is not None and row.attempt != attempt:
            continue
        elif not found:
            derived += 1
        elif (by := derivation.judge_of(row)) is not None:
            otherwise.append(Otherwise(row.number, *by, found))
        else:
            difference = f"row {row.number}: {found}"
            break
    return Verified(len(rows), derived, tuple(without), tuple(otherwise), difference)


class _Derivation:
    """Derives row after row again, and keeps what later rows refer to."""

    def __init__(self) -> None:
        self._shared: dict[int, dict[str, Any]] = {}
        self._told: dict[int, list[tuple[Any, ...]]] = {}  # what the inputs of a row lead to
        self._others: dict[int, tuple[int, str]] = {}  # rows that another judge decided

    def judge_of(self, row: DecisionRow) -> tuple[int, str] | None:
        """The number and the version of the judge that decided the row, if it was another than this one."""
        return self._others.get(row.number)

    def of(self, row: DecisionRow) -> str | None:
        """How a row differs from what follows from its inputs; "" if it does not, None if it has no inputs."""
        body = json.loads(row.content)
        if lost := body.get("lost"):
            return f"rows up to {lost['number']} had been published when it was written, and were gone by then"
        if "same" in body:
            if other := self._others.get(body["same"]):
                self._others[row.number] = other
            return _told(row, self._told[body["same"]])
        if body["inputs"] is None:
            return None
        if (number := body.get("judge", 1)) != JUDGE:
            self._others[row.number] = int(number), str(body["version"])
        inputs = resolved(body["inputs"], self._shared)
        self._shared[row.number] = shared_values(inputs)
        gathered = jsonform.load(with_closed(inputs), Gathered)
        judgement = judge(gathered)
        planned = plan(gathered, judgement)
        told = [_words(action.decision) for action in planned.actions if isinstance(action, Tell)]
        self._told[row.number] = told
        recorded = {**body["planned"], "status": {**_UNSAID, **body["planned"]["status"]}}
        after = {"status": chain.status_after(planned.status), "actions": list(chain.actions(planned))}
        return (
            _difference(chain.judged(judgement), body["judgement"], "the judgement")
            or _difference(after, recorded, "the plan")
            or _told(row, told)
        )


def _chain(rows: Sequence[DecisionRow]) -> str:
    """The first break of the chain, as a sentence."""
    before = None
    for number, row in enumerate(rows, start=1):
        if row.number != number:
            after = (
                f"after row {number - 1} comes row {row.number}" if number > 1 else f"it begins with row {row.number}"
            )
            return f"row {number} is missing or in another place: {after}"
        if before is not None and row.rollout != before.rollout:
            return f"row {number} belongs to another rollout: {row.rollout}, and not {before.rollout}"
        if row.prev_hash != (before.hash if before is not None else ""):
            return (
                f"row {number} does not follow the row before it: prev_hash is {row.prev_hash[:12] or 'empty'}; "
                "a row was changed, removed, inserted or moved here"
            )
        try:
            made = chain.digest(row)
        except ValueError as error:
            return f"row {number}: its content is no JSON: {error}"
        if made != row.hash:
            return f"row {number} was changed after it was written: its hash is {row.hash[:12]}, but it has {made[:12]}"
        before = row
    return ""


def _ends(rows: Sequence[DecisionRow], published: Iterable[Published]) -> str:
    """The first published end that the log does not have."""
    for one in published:
        number = one.head.number
        if number > len(rows):
            return f"{one.place} names row {number}, but the log ends with row {len(rows)}: its end was cut off"
        stands = rows[number - 1].hash if number else ""
        if stands != one.head.hash:
            return f"{one.place} names row {number} with the hash {one.head.hash[:12]}, but the log has {stands[:12]}"
    return ""


def _told(row: DecisionRow, told: Sequence[tuple[Any, ...]]) -> str:
    """Whether the decision of a row is one of those that its inputs lead to."""
    if _words(row) in told or (row.action == OBSERVED and not told):
        return ""
    made = " and ".join(f"{words[1]} ({words[2]})" for words in told) or "no decision"
    return f"it records {row.action} ({row.reason}), but its inputs lead to {made}, or to other words"


def _words(decision: Any) -> tuple[Any, ...]:
    cleaned = (chain.cleaned(getattr(decision, name)) for name in ("action", "reason", "message", "actor"))
    return decision.at, *cleaned


def _difference(derived: Any, recorded: Any, place: str) -> str:
    """The first place where two JSON values differ, as a sentence; numbers may differ in their last digits."""
    if isinstance(derived, dict) and isinstance(recorded, dict):
        for key in sorted(derived.keys() | recorded.keys()):
            if found := _difference(derived.get(key), recorded.get(key), f"{place}, {key}"):
                return found
        return ""
    if isinstance(derived, list) and isinstance(recorded, list) and len(derived) == len(recorded):
        pairs = zip(derived, recorded, strict=True)
        return next((found for n, pair in enumerate(pairs) if (found := _difference(*pair, f"{place}[{n}]"))), "")
    if isinstance(derived, float) and isinstance(recorded, int | float):
        same = math.isclose(derived, recorded, rel_tol=_PRECISION, abs_tol=_PRECISION)
    else:
        same = derived == recorded
    return "" if same else f"{place}: recorded is {_shown(recorded)}, derived again is {_shown(derived)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"

"""What was counted in one interval, and the file that says so. Every row is checked. Pure.

    start,criterion,age,percent,n1,k1,n2,k2
    2026-03-01T00:00:00Z,failures,10m,5,950,9,50,1

n are all executions that reached the age in the interval, k the bad ones of them; 1 is V1, 2 is V2; `percent` is the
probability with which they went to V2. Four empty counts say that the interval could not be read.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from orchestrator import durations
from orchestrator.errors import InvalidInput, Problem
from orchestrator.flag import parse_percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from orchestrator_operator.specs.rollout import Criterion, RolloutSpec

COLUMNS = ("start", "criterion", "age", "percent", "n1", "k1", "n2", "k2")
_COUNTS = COLUMNS[4:]
_DIGITS = 15  # of a count: beyond them a float would not hold it exactly
_TOLD = 20  # problems; a file of the wrong kind has one in every line

Counts = tuple[int, int, int, int]  # n1, k1, n2, k2
_Place = tuple[datetime, str, timedelta | None, Decimal]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Row:
    """One line: what was counted of one criterion at one age, from `start` until the interval's end."""

    line: int  # in the file, from 1; 0: it comes from no file
    start: datetime
    criterion: Criterion
    age: timedelta | None  # None: a counter of a user's own, which has no ages
    percent: Decimal
    counts: Counts | None  # None: could not be read

    @property
    def preset(self) -> str:
        """The metric's label: what it is counted under."""
        return str(self.criterion.preset) if self.criterion.preset else self.criterion.name


def read(lines: Iterable[str], spec: RolloutSpec, source: str) -> tuple[Row, ...]:
    """The rows of a CSV file with a header, in ascending order of `start`.

    Raises InvalidInput with the first twenty problems, each with its line, its field and what is wrong.
    """
    problems: list[Problem] = []
    rows: list[Row] = []
    seen: dict[_Place, int] = {}
    for line, found in _parsed(lines, spec, source):
        wrong = _misplaced(found, rows, seen) if isinstance(found, Row) else found
        problems += [Problem(f"{source}:{line}", str(problem)) for problem in wrong]
        if len(problems) >= _TOLD:
            raise InvalidInput(problems)
        if isinstance(found, Row):
            rows.append(found)
    if problems:
        raise InvalidInput(problems)
    if not rows:
        raise InvalidInput([Problem(source, f"has no rows below its header {','.join(COLUMNS)}")])
    return tuple(rows)


def interval(rows: Sequence[Row], fallback: timedelta) -> timedelta:
    """How long each row's interval is: the shortest time between two starts; `fallback` where there is one only."""
    starts = sorted({row.start for row in rows})
    return min((after - before for before, after in pairwise(starts)), default=fallback)


def _parsed(lines: Iterable[str], spec: RolloutSpec, source: str) -> Iterator[tuple[int, Row | list[Problem]]]:
    """Each line below the header with its number: a row, or what is wrong with it."""
    reader = csv.reader(lines, strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        _check_header(header, source)
        for cells in reader:
            if len(cells) == len(header):
                text = dict(zip(header, (cell.strip() for cell in cells), strict=True))
                yield reader.line_num, _row(reader.line_num, text, spec)
            elif any(cell.strip() for cell in cells):  # an empty line is no row
                yield reader.line_num, [Problem("", f"has {len(cells)} fields where the header has {len(header)}")]
    except csv.Error as error:
        raise InvalidInput([Problem(f"{source}:{reader.line_num}", f"is not CSV: {error}")]) from None
    except UnicodeDecodeError as error:
        raise InvalidInput([Problem(source, f"is not UTF-8 text: {error.reason}")]) from None


def _check_header(header: list[str], source: str) -> None:
    missing = [name for name in COLUMNS if name not in header]
    unknown = [name for name in header if name not in COLUMNS]
    twice = sorted({name for name in header if header.count(name) > 1})
    wrong = [f"no column {name}" for name in missing] + [f"an unknown column {name!r}" for name in unknown]
    wrong += [f"the column {name} twice" for name in twice]
    if wrong:
        message = f"the header has {', '.join(wrong)}; it must be {','.join(COLUMNS)}"
        raise InvalidInput([Problem(f"{source}:1", message)])


def _row(line: int, text: Mapping[str, str], spec: RolloutSpec) -> Row | list[Problem]:
    problems: list[Problem] = []

    def field(name: str, parse: Callable[[str], T]) -> T | None:
        try:
            return parse(text[name])
        except ValueError as error:
            problems.append(Problem(name, str(error)))
            return None

    start = field("start", _start)
    criterion = field("criterion", lambda value: _criterion(value, spec))
    age = field("age", lambda value: _age(value, criterion, spec)) if criterion else None
    percent = field("percent", _percent)
    counts = _counts(text, problems) if any(text[name] for name in _COUNTS) else None
    if problems or start is None or criterion is None or percent is None:
        return problems
    return Row(line, start, criterion, age, percent, counts)


def _misplaced(row: Row, rows: Sequence[Row], seen: dict[_Place, int]) -> list[Problem]:
    """What is wrong with a row where it stands."""
    if rows and row.start < rows[-1].start:
        return [Problem("start", f"lies before that of line {rows[-1].line}: the rows must ascend by start")]
    place = (row.start, row.preset, row.age, row.percent)
    first = seen.setdefault(place, row.line)
    if first != row.line:
        return [Problem("", f"says again what line {first} says: the same start, criterion, age and percent")]
    return []


def _start(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no RFC 3339 moment, such as 2026-03-01T00:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset: end it with Z or with one such as -03:00")
    return moment.astimezone(UTC)


def _percent(text: str) -> Decimal:
    try:
        return parse_percent(text)
    except InvalidInput as error:
        raise ValueError(error.problems[0].message) from None


def _criterion(text: str, spec: RolloutSpec) -> Criterion:
    for criterion in spec.comparisons:
        if text and text in (str(criterion.preset), criterion.name):
            return criterion
    known = ", ".join(str(item.preset or item.name) for item in spec.comparisons)
    raise ValueError(f"{text!r} is none of the comparisons of the spec: {known}")


def _age(text: str, criterion: Criterion, spec: RolloutSpec) -> timedelta | None:
    if criterion.preset is None:
        if text:
            raise ValueError(f"{text!r}: a counter of your own has no ages; leave it empty")
        return None
    age = durations.parse(text)
    if age not in spec.analysis.ages:
        known = ", ".join(durations.show(item) for item in spec.analysis.ages)
        raise ValueError(f"{text!r} is none of spec.analysis.ages: {known}")
    return age


def _counts(text: Mapping[str, str], problems: list[Problem]) -> Counts | None:
    found: dict[str, int] = {}
    for name in _COUNTS:
        if not (text[name].isascii() and text[name].isdigit()):
            message = f"{text[name]!r} is no count" if text[name] else "is empty while the other counts are not"
            problems.append(Problem(name, f"{message}: a whole number of 0 or more"))
        elif len(text[name]) > _DIGITS:
            problems.append(Problem(name, f"{text[name][:_DIGITS]}… is more than anybody can have counted"))
        else:
            found[name] = int(text[name])
    if len(found) < len(_COUNTS):
        return None
    for bad, total in (("k1", "n1"), ("k2", "n2")):
        if found[bad] > found[total]:
            problems.append(Problem(bad, f"{found[bad]} bad executions of {found[total]} ({total})"))
    return found["n1"], found["k1"], found["n2"], found["k2"]

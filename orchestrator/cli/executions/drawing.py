"""A timeline in ASCII that fits the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from orchestrator.timeline import FAILED, QUEUED, WAITED, WORKED, Line, Stretch
from orchestrator.wording import length

_MOST: Final = 60  # lines for people; JSON has them all
_LEAST: Final = 10  # columns that a bar needs to say anything
_WIDEST: Final = 72  # beyond that a bar says no more
_MARGIN: Final = 2
_NOTICED: Final = timedelta(seconds=1)  # a queue that took less is none
_LEGEND: Final = f"{WORKED} worked   {WAITED} waited   {FAILED} failed"


def draw(lines: Sequence[Line], now: datetime, width: int) -> list[str]:
    """The timeline as text of at most so many columns: a heading, a line a step, a legend."""
    shown = [line for line in lines if not _unnoticed(line)]
    left_out = max(0, len(shown) - _MOST)
    if left_out:
        shown = [*shown[: _MOST // 2], *shown[-_MOST // 2 :]]
    rows = [_cells(line, lines, now) for line in shown]
    heading = ("STEP", "STATUS", "AT", "TOOK", "TRIES")
    columns = [max(len(row[index]) for row in (heading, *rows)) for index in range(len(heading))]
    columns[0] = min(columns[0], max(12, width // 4))
    begin, end = _span(lines, now)
    space = min(_WIDEST, width - sum(columns) - _MARGIN * len(columns) - 2)
    bars = space >= _LEAST
    drawn = [_row(heading, columns).rstrip()]
    for index, (line, row) in enumerate(zip(shown, rows, strict=True)):
        if left_out and index == _MOST // 2:
            drawn.append(f"… {left_out} more; --output json has them all")
        text = _row(row, columns)
        if bars and line.started:
            text += f" |{_bar(line.stretches, begin, end, now, space)}|"
        drawn.append(text.rstrip())
        if line.notes:
            drawn.append(f"  {'; '.join(line.notes)}"[:width])
    return [*drawn, _LEGEND] if bars and any(line.started for line in shown) else drawn


def line_json(line: Line) -> dict[str, Any]:
    """A line for programs."""
    return {
        "step": line.key,
        "type": line.type or None,
        "status": line.status or None,
        "started_at": line.started.isoformat() if line.started else None,
        "ended_at": line.ended.isoformat() if line.ended else None,
        "attempts": line.attempts,
        "notes": line.notes,
        "stretches": [
            {"start": s.start.isoformat(), "end": s.end.isoformat() if s.end else None, "kind": _KINDS[s.kind]}
            for s in line.stretches
        ],
    }


_KINDS: Final = {WORKED: "worked", WAITED: "waited", FAILED: "failed"}


def _unnoticed(line: Line) -> bool:
    if line.key != QUEUED or line.started is None or line.ended is None:
        return False
    return line.ended - line.started < _NOTICED


def _cells(line: Line, lines: Sequence[Line], now: datetime) -> tuple[str, ...]:
    begin, _ = _span(lines, now)
    if line.started is None:
        return line.key, line.status, "", "", ""
    at = f"+{length(line.started - begin)}"
    # A pause before a retry that is still to come ends later than now.
    took = length(min(line.ended or now, now) - line.started)
    return line.key, line.status, at, took, str(line.attempts or "")


def _span(lines: Sequence[Line], now: datetime) -> tuple[datetime, datetime]:
    noticed = [line for line in lines if line.started and not _unnoticed(line)]
    begin = min((line.started for line in noticed if line.started), default=now)
    end = max((min(line.ended or now, now) for line in noticed), default=now)
    return begin, max(end, begin)


def _row(cells: Sequence[str], columns: Sequence[int]) -> str:
    return (" " * _MARGIN).join(_fit(cell, size) for cell, size in zip(cells, columns, strict=True))


def _fit(text: str, size: int) -> str:
    return text.ljust(size) if len(text) <= size else text[: size - 1] + "…"


def _bar(stretches: Sequence[Stretch], begin: datetime, end: datetime, now: datetime, space: int) -> str:
    """Each stretch has at least one column; where two share one, the one that worked or failed is seen."""
    whole = max((end - begin).total_seconds(), 1e-9)
    cells = [" "] * space
    for stretch in sorted(stretches, key=lambda s: s.kind != WAITED):
        first = int((stretch.start - begin).total_seconds() / whole * space)
        last = int((min(stretch.end or now, end) - begin).total_seconds() / whole * space)
        first = min(max(first, 0), space - 1)
        for place in range(first, min(max(last, first + 1), space)):
            cells[place] = stretch.kind
    return "".join(cells)

"""The report in a terminal: the share on V2 and each criterion's evidence over time, as wide as there is room. Pure."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from rich.text import Text

from orchestrator_operator.report import derive, scales
from orchestrator_operator.report.canvas import Sheet
from orchestrator_operator.report.markup import visible
from orchestrator_operator.report.percent_chart import kind
from orchestrator_operator.report.wording import evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator_operator.report.model import Moment, Report
    from orchestrator_operator.specs.rollout_status import CriterionStatus

_GUTTER = 9  # columns to the left, for the labels
_LEAST, _WIDEST = 24, 110  # columns of the plot
_HIGH, _LOW = 5, 4  # rows of the share; of a criterion
_WEAKEST, _ROOM = -2.0, 0.6  # decimal logarithms: the bottom of the plot; what is shown beyond the limit
_TICKS = 14  # columns between two labels of time
_LN10 = math.log(10)
_RAISED = "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"
_LOWERED = str.maketrans(_RAISED, "-0123456789")
_LETTERS = {"P": ("P", "green"), "F": ("F", "bold red"), "B": ("B", "yellow"), "I": (".", "dim"), "N": ("-", "dim")}
_MARKS = {"up": ("▲", "^", "green"), "down": ("▼", "v", "red"), "hold": ("■", "#", "yellow"), "other": ("◆", "o", "")}


def chart(report: Report, width: int, *, unicode: bool) -> list[Text]:
    """Lines of at most `width` columns, where that leaves any room; styled by names of colours.

    Verdicts are letters: P Pass, F Fail, B Blind, - NotApplicable, and a dot for Inconclusive.
    """
    columns = min(max(width - _GUTTER - 1, _LEAST), _WIDEST)
    drawn = [Text(_plain(f"share of new executions on V2, {report.start:%Y-%m-%d %H:%M} UTC on", unicode=unicode))]
    drawn += _share(report, columns, unicode=unicode)
    for name in report.names:
        if not report.is_guardrail(name):
            drawn += _evidence(report, name, columns, unicode=unicode)
    for line in drawn:
        line.truncate(max(width, 1), overflow="crop")
    return drawn


def _share(report: Report, columns: int, *, unicode: bool) -> list[Text]:
    sheet = Sheet(columns, _HIGH, unicode=unicode)
    points: list[tuple[float, float]] = []
    for moment in report.moments:
        x, y = _x(report, moment), moment.percent / 100
        points += [(x, points[-1][1]), (x, y)] if points else [(x, y)]
    sheet.line([*points, (1.0, points[-1][1])], "cyan")
    _shade(report, sheet)
    labels = {0: "100 %", _HIGH // 2: "50 %", _HIGH - 1: "0 %"}
    return [*_framed(sheet, labels, unicode=unicode), _marks(report, columns, unicode=unicode), _axis(report, columns)]


def _evidence(report: Report, name: str, columns: int, *, unicode: bool) -> list[Text]:
    """Evidence against V2 up to its limit, and the verdicts below it."""
    sheet = Sheet(columns, _LOW, unicode=unicode)
    found = [(moment, item) for moment in report.moments if (item := moment.criterion(name))]
    limits = [item.log_threshold for _, item in found if item.log_threshold is not None]
    scale = scales.Linear(_WEAKEST, max(limits, default=0.0) / _LN10 + _ROOM, 0.0, 1.0)
    for run in _runs([(moment, item.log_evidence) for moment, item in found]):
        sheet.line([(_x(report, moment), scale.y(log / _LN10)) for moment, log in run], "red")
    labels = {_LOW - 1: "0.01"}
    if limits:
        height = scale.y(limits[-1] / _LN10)
        sheet.across(height, "red")
        labels[sheet.row(height)] = evidence(limits[-1])
    _shade(report, sheet)
    framed = _framed(sheet, labels, unicode=unicode)
    return [_heading(name, found[-1][1], unicode=unicode), *framed, _verdicts(report, found, columns)]


def _heading(name: str, newest: CriterionStatus, *, unicode: bool) -> Text:
    heading = Text(_plain(name, unicode=unicode), style="bold")
    parts = [f": {newest.verdict}"]
    if newest.log_evidence is not None and newest.log_threshold is not None:
        parts.append(f"evidence against V2 {evidence(newest.log_evidence)} of {evidence(newest.log_threshold)}")
    if newest.log_pass_evidence is not None and newest.log_pass_threshold is not None:
        parts.append(f"for a Pass {evidence(newest.log_pass_evidence)} of {evidence(newest.log_pass_threshold)}")
    heading.append(_plain(", ".join(parts), unicode=unicode), style="not bold")
    return heading


def _verdicts(report: Report, found: Sequence[tuple[Moment, CriterionStatus]], columns: int) -> Text:
    """A letter a column: the verdict that stood there last, and goes on until another one does."""
    cells = [" "] * columns
    for (moment, item), following in zip(found, [*(m for m, _ in found[1:]), None], strict=True):
        first = _column(report, moment, columns)
        last = columns - 1 if following is None else max(first, _column(report, following, columns) - 1)
        cells[first : last + 1] = item.verdict.value[0] * (last + 1 - first)
    line = Text(" verdict ")
    for letter in cells:
        shown, style = _LETTERS.get(letter, (letter, ""))
        line.append(shown, style=style)
    return line


def _runs(series: Sequence[tuple[Moment, float | None]]) -> list[list[tuple[Moment, float]]]:
    """Broken where there is no number."""
    runs: list[list[tuple[Moment, float]]] = [[]]
    for moment, log in series:
        if log is not None:
            runs[-1].append((moment, log))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _framed(sheet: Sheet, labels: dict[int, str], *, unicode: bool) -> list[Text]:
    lines = []
    for number, row in enumerate(sheet.rows()):
        label = _plain(labels.get(number, ""), unicode=unicode)
        line = Text(label.rjust(_GUTTER - 1)[: _GUTTER - 1], style="")
        line.append(("┤" if label else "│") if unicode else ("+" if label else "|"))
        for character, style in row:
            line.append(character, style=style)
        line.rstrip()
        lines.append(line)
    return lines


def _marks(report: Report, columns: int, *, unicode: bool) -> Text:
    """The decisions below the share; of two in one column the later is seen, but a rollback always is."""
    cells: list[tuple[str, str]] = [(" ", "")] * columns
    for moment in sorted(report.decisions, key=lambda m: m.decided is not None and kind(m.decided) == "down"):
        if moment.decided is not None:
            fine, plain, style = _MARKS[kind(moment.decided)]
            cells[_column(report, moment, columns)] = (fine if unicode else plain, style)
    line = Text(" " * (_GUTTER - 1) + ("└" if unicode else "+"))
    for character, style in cells:
        line.append(character, style=style)
    line.rstrip()
    return line


def _axis(report: Report, columns: int) -> Text:
    """Round moments, each label beginning at its place."""
    times = scales.Times(report.start, report.end, 0, columns)
    line = " " * _GUTTER
    for at, label in times.ticks(_TICKS):
        place = _GUTTER + int(times.x(at))
        if place >= len(line) and place + len(label) <= _GUTTER + columns:
            line = line.ljust(place) + label + " "
    return Text(line.rstrip())


def _shade(report: Report, sheet: Sheet) -> None:
    for stretch in derive.blindness(report):
        whole = report.end - report.start
        sheet.shade((stretch.start - report.start) / whole, (stretch.end - report.start) / whole, "yellow")


def _x(report: Report, moment: Moment) -> float:
    return (moment.at - report.start) / (report.end - report.start)


def _column(report: Report, moment: Moment, columns: int) -> int:
    return min(int(_x(report, moment) * columns), columns - 1)


def _plain(text: str, *, unicode: bool) -> str:
    """Only what the terminal can write, and nothing that steers it: 10⁵ becomes 10^5, the rest a question mark."""
    text = visible(text)
    if unicode:
        return text
    powers = re.sub(f"[{_RAISED}]+", lambda found: "^" + found[0].translate(_LOWERED), text)
    return powers.encode("ascii", "replace").decode()

"""One criterion over time: its evidence on a logarithmic scale against its limits, or its value against its limit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator_operator.report import derive, scales
from orchestrator_operator.report.frame import (
    CHARACTER,
    ground,
    path,
    picture,
    restarts,
    row_name,
    strip,
    thinned,
    time_axis,
    value_line,
    window,
)
from orchestrator_operator.report.markup import el, group
from orchestrator_operator.report.scales import Linear
from orchestrator_operator.report.wording import evidence, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from orchestrator_operator.report.frame import Canvas, Point
    from orchestrator_operator.report.markup import Element
    from orchestrator_operator.report.model import Moment, Report
    from orchestrator_operator.specs.rollout_status import CriterionStatus

_PLOT, _LOW_PLOT = 190, 96  # pixels of the plot; of a guardrail's
_TOP, _LABELLED_TOP = 14, 30  # pixels above the plot; where the limits' names stand there
_OUT = 8.0  # pixels beyond the plot to which a line leads that leaves it
_LOWEST = -2.0  # decimal logarithm: weaker evidence than 0.01 is drawn at the bottom
_ROOM, _MORE = 1.0, 3.0  # powers of ten drawn beyond the limits; and for evidence that convicts, which is rarer
_SLICES = 120  # places that answer to the pointer
_LINE = 16  # pixels between two labels

_LN10 = math.log(10)


@dataclass(frozen=True, slots=True)
class _Series:
    """A line with its limit, both by name of their class; values are natural logarithms."""

    name: str
    value: Callable[[CriterionStatus], float | None]
    limit: Callable[[CriterionStatus], float | None]
    by_stage: bool  # whether it begins anew with each stage


_FAIL = _Series("fail", lambda item: item.log_evidence, lambda item: item.log_threshold, by_stage=False)
_PASS = _Series("pass", lambda item: item.log_pass_evidence, lambda item: item.log_pass_threshold, by_stage=True)


def draw(report: Report, canvas: Canvas, name: str, key: str) -> Element:
    """The picture of a comparison at one width; `key` is unique in the page."""
    top = _top(canvas)
    bottom = top + _PLOT
    scale = _scale(report, name, top, bottom)
    decades = scales.decades(scale, 24)
    return picture(
        canvas,
        bottom + 42,
        key,
        _words(report, name),
        group(part for n in decades for part in value_line(canvas, scale.y(n), scales.power_of_ten(n))),
        group(time_axis(report, canvas, top, bottom + 18)),
        group(ground(report, canvas, key, top, bottom)),
        window(canvas, top, bottom, _area(report, canvas, name, scale)),
        *(window(canvas, top, bottom, _lines(report, canvas, name, series, scale)) for series in (_FAIL, _PASS)),
        restarts(report, canvas, bottom),
        group(_limit_labels(report, canvas, name, scale)),
        group(_peak(report, canvas, name, scale)),
        strip(report, canvas, bottom + 6, derive.verdicts(report, name), "verdict"),
        row_name(canvas, bottom + 14, "verdict"),
        group(_slices(report, canvas, name, top, bottom)) if canvas.roomy else None,
    )


def draw_guardrail(report: Report, canvas: Canvas, name: str, key: str) -> Element:
    """The picture of a guardrail at one width: its value, and what it must not exceed."""
    top, limit = _top(canvas), report.limits.get(name)
    bottom = top + _LOW_PLOT
    runs = list(_runs(report, name, lambda item: item.value, by_stage=False))
    largest = max((value for run in runs for _, value in run), default=0.0)
    scale = Linear(0, max(largest, limit or 0.0) * 1.25 or 1.0, bottom, top)
    times = canvas.times(report)
    drawn = (path(thinned((times.x(m.at), scale.y(value)) for m, value in run)) for run in runs)
    lines = [el("path", d=d, class_="line value") for d in drawn]
    if limit is not None:
        y = scale.y(limit)
        lines.append(el("line", x1=canvas.left, x2=canvas.width - canvas.right, y1=y, y2=y, class_="limit limit-fail"))
        lines.append(_label(canvas, y, f"at most {limit:g}", "fail"))
    return picture(
        canvas,
        bottom + 42,
        key,
        f"The value of {name} over time, {'at most ' + format(limit, 'g') + ' allowed' if limit is not None else ''}",
        group(part for at in scale.ticks(3) for part in value_line(canvas, scale.y(at), f"{at:.4g}")),
        group(time_axis(report, canvas, top, bottom + 18)),
        group(ground(report, canvas, key, top, bottom)),
        group(lines),
        strip(report, canvas, bottom + 6, derive.verdicts(report, name), "verdict"),
        row_name(canvas, bottom + 14, "verdict"),
        group(_slices(report, canvas, name, top, bottom)) if canvas.roomy else None,
    )


def _top(canvas: Canvas) -> float:
    return _TOP if canvas.roomy else _LABELLED_TOP


def _scale(report: Report, name: str, top: float, bottom: float) -> Linear:
    found = [item for moment in report.moments if (item := moment.criterion(name))]
    limits = [log / _LN10 for item in found for log in (item.log_threshold, item.log_pass_threshold) if log is not None]
    against = [item.log_evidence / _LN10 for item in found if item.log_evidence is not None]
    highest = max(limits, default=2.0)
    return Linear(_LOWEST, max(highest + _ROOM, min(max(against, default=0.0) + 0.3, highest + _MORE)), bottom, top)


def _runs(
    report: Report, name: str, value: Callable[[CriterionStatus], float | None], *, by_stage: bool
) -> Iterator[list[tuple[Moment, float]]]:
    """Moments with a value, broken where there is none; and where a stage begins, if the value starts anew there."""
    run: list[tuple[Moment, float]] = []
    for moment in report.moments:
        item = moment.criterion(name)
        found = value(item) if item else None
        broken = run and by_stage and run[-1][0].stage != moment.stage
        if (found is None or broken) and run:
            yield run
            run = []
        if found is not None:
            run.append((moment, found))
    if run:
        yield run


def _area(report: Report, canvas: Canvas, name: str, scale: Linear) -> Iterator[Element]:
    """What lies below the evidence against V2: the line that matters most is seen first."""
    times = canvas.times(report)
    for run in _runs(report, name, _FAIL.value, by_stage=False):
        points = thinned((times.x(moment.at), scale.y(log / _LN10, _OUT)) for moment, log in run)
        area = [(points[0][0], scale.bottom), *points, (points[-1][0], scale.bottom)]
        yield el("path", d=path(area) + "Z", class_="area-fail")


def _lines(report: Report, canvas: Canvas, name: str, series: _Series, scale: Linear) -> Iterator[Element]:
    times = canvas.times(report)
    for run in _runs(report, name, series.limit, by_stage=False):
        yield el("path", d=path(_steps(canvas, report, run, scale)), class_=f"limit limit-{series.name}")
    for run in _runs(report, name, series.value, by_stage=series.by_stage):
        points = thinned((times.x(moment.at), scale.y(log / _LN10, _OUT)) for moment, log in run)
        if len(points) == 1:
            yield el("circle", cx=points[0][0], cy=points[0][1], r=2, class_=f"dot dot-{series.name}")
            continue
        yield el("path", d=path(points), class_=f"line line-{series.name}")


def _steps(canvas: Canvas, report: Report, run: Sequence[tuple[Moment, float]], scale: Linear) -> list[Point]:
    """A limit holds until the next one; it is drawn to the edge, so that the eye can follow it."""
    times, points = canvas.times(report), list[tuple[float, float]]()
    for moment, log in run:
        x, y = times.x(moment.at), scale.y(log / _LN10)
        if points and points[-1][1] == y:
            continue
        points += [(x, points[-1][1]), (x, y)] if points else [(x, y)]
    return [*points, (times.x(run[-1][0].at), points[-1][1])]


def _limit_labels(report: Report, canvas: Canvas, name: str, scale: Linear) -> Iterator[Element]:
    wanted: list[tuple[float, str, str]] = []
    for series, verb in ((_FAIL, "Fail"), (_PASS, "Pass")):
        limit = _last(report, name, series.limit)
        if limit is not None:
            wanted.append((scale.y(limit / _LN10), f"{verb} from {evidence(limit)}", series.name))
    taken = -math.inf
    for y, text, kind in sorted(wanted):
        at = max(y, taken + _LINE)
        taken = at
        yield _label(canvas, at, text, kind)


def _label(canvas: Canvas, y: float, text: str, kind: str) -> Element:
    """A limit's name beside its line; above the plot where there is no room: on the left, and a Pass on the right."""
    if canvas.roomy:
        return el("text", text, x=canvas.width - canvas.right + 8, y=y + 4, class_=f"limit-name name-{kind}")
    right = kind == _PASS.name
    x = canvas.width - canvas.right if right else canvas.left
    anchor = "end" if right else "start"
    return el("text", text, x=x, y=_LABELLED_TOP - 10, text_anchor=anchor, class_=f"limit-name name-{kind}")


def _peak(report: Report, canvas: Canvas, name: str, scale: Linear) -> Iterator[Element]:
    """What is too strong to be drawn is said."""
    times = canvas.times(report)
    found = (pair for run in _runs(report, name, _FAIL.value, by_stage=False) for pair in run)
    moment, log = max(found, key=lambda pair: pair[1], default=(None, 0.0))
    if moment is not None and scale.outside(log / _LN10):
        text = f"up to {evidence(log)}"
        x = times.x(moment.at)
        before = x - CHARACTER * len(text) > canvas.left
        place, anchor = (x - 8, "end") if before else (x + 8, "start")
        yield el("text", text, x=place, y=scale.top + 14, text_anchor=anchor, class_="limit-name name-fail")


def _slices(report: Report, canvas: Canvas, name: str, top: float, bottom: float) -> Iterator[Element]:
    """Invisible columns that say what stood there when a pointer rests on them."""
    times = canvas.times(report)
    width = (times.right - times.left) / _SLICES
    newest: dict[int, Moment] = {}
    for moment in report.moments:
        if moment.criterion(name):
            newest[min(int((times.x(moment.at) - times.left) / width), _SLICES - 1)] = moment
    for place, moment in newest.items():
        item = moment.criterion(name)
        if item is not None:
            said = el("title", f"{moment.at:%d %b %H:%M} UTC, {summary(item)}")
            x = times.left + place * width
            yield el("rect", said, x=x, y=top, width=width, height=bottom - top, class_="slice")


def _last(report: Report, name: str, value: Callable[[CriterionStatus], float | None]) -> float | None:
    found: Iterable[float | None] = (value(item) for m in reversed(report.moments) if (item := m.criterion(name)))
    return next((log for log in found if log is not None), None)


def _words(report: Report, name: str) -> str:
    item = next((found for moment in reversed(report.moments) if (found := moment.criterion(name))), None)
    newest = f": at the end {summary(item)}" if item else ""
    return f"The evidence of {name} against V2 and for a Pass over time, on a logarithmic scale, with limits{newest}"

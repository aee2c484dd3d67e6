"""The share of new executions on V2 over time: asked for and seen, with the phases and the decisions below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator_operator.report import derive
from orchestrator_operator.report.frame import CHARACTER, ground, path, picture, row_name, strip, time_axis, value_line
from orchestrator_operator.report.markup import add, el, group
from orchestrator_operator.report.scales import Linear

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator_operator.report.frame import Canvas, Point
    from orchestrator_operator.report.markup import Element
    from orchestrator_operator.report.model import Decided, Moment, Report

_TOP, _PLOT = 24, 176  # pixels above the plot, for the stages' names; of the plot
_LANE = 20  # pixels of a row of marks
_APART = 17.0  # pixels between two marks of one row
_LANES = 4
_FIVE = (0, 25, 50, 75, 100)

# The four kinds of marks, each by its shape as well as by its colour.
_SHAPES = {
    "up": "M0 -6L6.5 5.5H-6.5Z",
    "down": "M0 6L6.5 -5.5H-6.5Z",
    "hold": "M-5 -5.5H-1.2V5.5H-5ZM1.2 -5.5H5V5.5H1.2Z",
    "other": "M0 -5L5 0L0 5L-5 0Z",
}
_KINDS = {
    **dict.fromkeys(("Start", "Promote", "Complete", "Resume", "SetPercent"), "up"),
    **dict.fromkeys(("RollBack", "RolledBack", "ClearFlag", "Abort"), "down"),
    **dict.fromkeys(("Hold", "Pause", "AwaitApproval", "Wait"), "hold"),
}


def kind(decided: Decided) -> str:
    """Which mark a decision gets: up, down, hold or other."""
    return _KINDS.get(decided.action, "other")


def glyph(name: str) -> Element:
    """A mark by itself, for the list of decisions and the legend."""
    shape = el("path", d=_SHAPES[name], transform="translate(8 8)", class_=f"mark mark-{name}")
    return el("svg", shape, viewBox="0 0 16 16", class_="glyph", aria_hidden="true")


def anchor(moment: Moment) -> str:
    """The id of a decision's place in the list."""
    return f"decision-{moment.number}"


def draw(report: Report, canvas: Canvas) -> Element:
    """The picture at one width."""
    bottom = _TOP + _PLOT
    share = Linear(0, 100, bottom, _TOP)
    lanes = _lanes(report, canvas)
    marks_top = bottom + 26
    floor = marks_top + _LANE * (max(lanes, default=0) + 1) - 4
    label = (
        f"The share of new executions that V2 was to get and got, from {report.start:%d %b %Y} to "
        f"{report.end:%d %b %Y}: {_words(report)}"
    )
    return picture(
        canvas,
        floor + 24,
        "percent",
        label,
        group(line for at in _FIVE for line in value_line(canvas, share.y(at), f"{at} %")),
        group(time_axis(report, canvas, _TOP, floor)),
        group(ground(report, canvas, "percent", _TOP, bottom)),
        _asked(report, canvas, share),
        _seen(report, canvas, share),
        group(_names(report, canvas)),
        strip(report, canvas, bottom + 8, derive.phases(report), "phase"),
        row_name(canvas, bottom + 16, "phase"),
        group(_marks(report, canvas, lanes, marks_top)),
        row_name(canvas, marks_top + 10, "decisions"),
        role="group",
    )


def _asked(report: Report, canvas: Canvas, share: Linear) -> Element:
    times, points = canvas.times(report), list[tuple[float, float]]()
    for moment in report.moments:
        x, y = times.x(moment.at), share.y(moment.percent)
        if points and points[-1][1] != y:
            points += [(x, points[-1][1]), (x, y)]
        elif not points:
            points.append((x, y))
    points.append((times.x(report.end), points[-1][1]))
    area: list[Point] = [(points[0][0], share.bottom), *points, (points[-1][0], share.bottom)]
    return group((el("path", d=path(area) + "Z", class_="area"), el("path", d=path(points), class_="line asked")))


def _seen(report: Report, canvas: Canvas, share: Linear) -> Element:
    times = canvas.times(report)
    return group(
        el(
            "circle",
            el("title", f"{dot.share:.2f} % of {dot.executions:,} executions until {dot.at:%d %b %H:%M} UTC"),
            cx=times.x(dot.at),
            cy=share.y(dot.share),
            r=2.6 if canvas.roomy else 1.8,
            class_="seen",
        )
        for dot in derive.seen(report)
    )


def _names(report: Report, canvas: Canvas) -> Iterator[Element]:
    """Each stage's name above it, as much as there is room for."""
    times = canvas.times(report)
    for stage in derive.stages(report):
        x, room = times.x(stage.start), times.x(stage.end) - times.x(stage.start)
        full = f"{stage.name} · {stage.percent:g} %"
        for label in (full, f"{stage.percent:g} %", f"{stage.percent:g}"):
            if len(label) * CHARACTER <= room:
                yield el("text", el("title", full), label, x=x + 2, y=_TOP - 9, class_="stage-name")
                break


def _lanes(report: Report, canvas: Canvas) -> Sequence[int]:
    """The row of each decision's mark, so that no two lie on each other while there are rows."""
    times, free, lanes = canvas.times(report), [-_APART] * _LANES, list[int]()
    for moment in report.decisions:
        x = times.x(moment.at)
        lane = next((n for n, end in enumerate(free) if x - end >= _APART), _LANES - 1)
        free[lane] = x
        lanes.append(lane)
    return lanes


def _marks(report: Report, canvas: Canvas, lanes: Sequence[int], top: float) -> Iterator[Element]:
    times = canvas.times(report)
    for moment, lane in zip(report.decisions, lanes, strict=True):
        said = moment.decided
        if said is None:
            continue
        x, y = times.x(moment.at), top + _LANE * lane + 6
        title = f"{said.action} ({said.reason}), {moment.at:%d %b %H:%M} UTC: {said.message}"
        link = el("a", el("title", title), href=f"#{anchor(moment)}", aria_label=title, class_="mark-link")
        target = el("circle", cx=x, cy=y, r=9, class_="target")
        shape, place = kind(said), f"translate({x:.1f} {y:.1f})"
        yield add(link, target, el("path", d=_SHAPES[shape], transform=place, class_=f"mark mark-{shape}"))


def _words(report: Report) -> str:
    steps = [f"{stage.percent:g} % in {stage.name} from {stage.start:%d %b}" for stage in derive.stages(report)]
    return "; ".join([*steps, f"now {report.status.phase} at {report.moments[-1].percent:g} %"])

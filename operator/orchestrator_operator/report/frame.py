"""What all pictures of one report share: their two widths, the axis of time, and what is shaded and marked on it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from orchestrator_operator.report import derive
from orchestrator_operator.report.markup import el, group
from orchestrator_operator.report.scales import Times

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from orchestrator_operator.report.markup import Element
    from orchestrator_operator.report.model import Report, Stretch

Point = tuple[float, float]

CHARACTER = 7.4  # pixels at most that a character of a picture's text takes on average, in any common font
_AXIS = 22  # pixels for the labels of time
_RESTART = 5  # pixels of a restart's tick


@dataclass(frozen=True, slots=True)
class Canvas:
    """A width that a picture is drawn for: text keeps its size, so a phone gets a picture of its own."""

    name: str
    width: float
    left: float  # margin for the labels of the values
    right: float  # margin for the labels of the limits; where it is narrow they stand within
    apart: float  # pixels between two labels of time

    @property
    def roomy(self) -> bool:
        """Whether labels fit beside the plot."""
        return self.right > 60  # noqa: PLR2004 - a short label's width

    def times(self, report: Report) -> Times:
        return Times(report.start, report.end, self.left, self.width - self.right)


WIDE = Canvas("wide", 1080, 62, 124, 84)
NARROW = Canvas("narrow", 356, 55, 12, 62)
CANVASES = (WIDE, NARROW)


def picture(canvas: Canvas, height: float, key: str, label: str, *parts: Element | None, role: str = "img") -> Element:
    """An SVG of the canvas' width; `label` is what it shows in a sentence, for who does not see it."""
    hatch = el(
        "pattern",
        el("rect", width=8, height=8, class_="hatch-ground"),
        el("path", d="M-2 10L10 -2M-6 6L6 -6M2 14L14 2", class_="hatch-line"),
        id=hatch_id(key, canvas),
        width=8,
        height=8,
        patternUnits="userSpaceOnUse",
    )
    return el(
        "svg",
        el("title", label),
        el("defs", hatch),
        *parts,
        viewBox=f"0 0 {canvas.width:g} {height:g}",
        role=role,
        aria_label=label,
        class_=canvas.name,
        data_chart=key,
    )


def hatch_id(key: str, canvas: Canvas) -> str:
    """The id of a picture's pattern for blind times."""
    return f"hatch-{key}-{canvas.name}"


def ground(report: Report, canvas: Canvas, key: str, top: float, bottom: float) -> Iterator[Element]:
    """Behind the lines: blind times, and where stages begin."""
    times = canvas.times(report)
    for stretch in derive.blindness(report):
        x = times.x(stretch.start)
        width = max(times.x(stretch.end) - x, 2.0)
        said = el("title", f"Blind from {stretch.start:%d %b %H:%M} to {stretch.end:%d %b %H:%M} UTC")
        fill = f"url(#{hatch_id(key, canvas)})"
        yield el("rect", said, x=x, y=top, width=width, height=bottom - top, fill=fill, class_="blind")
    for before, after in pairwise(derive.stages(report)):
        if before.name != after.name:
            yield _upright(times.x(after.start), top, bottom, "stage-line")


def restarts(report: Report, canvas: Canvas, bottom: float) -> Element:
    """Where the evidence starts afresh: ticks on the ground."""
    times = canvas.times(report)
    ticks = (_upright(times.x(at), bottom - _RESTART, bottom, "restart") for at in derive.restarts(report))
    return group(ticks, class_="restarts")


def time_axis(report: Report, canvas: Canvas, top: float, bottom: float) -> Iterator[Element]:
    """Round moments below `bottom`, with a line up to `top`; as far as their labels stay within the picture."""
    times = canvas.times(report)
    for at, label in times.ticks(canvas.apart):
        x, half = times.x(at), CHARACTER * len(label) / 2
        if half <= x <= canvas.width - half:
            yield _upright(x, top, bottom, "grid")
            yield el("text", label, x=x, y=bottom + _AXIS - 6, text_anchor="middle", class_="tick")


def value_line(canvas: Canvas, y: float, label: str) -> tuple[Element, Element]:
    """A line of the grid at a value, with the value to the left of it."""
    line = el("line", x1=canvas.left, x2=canvas.width - canvas.right, y1=y, y2=y, class_="grid")
    return line, el("text", label, x=canvas.left - 7, y=y + 4, text_anchor="end", class_="tick")


def row_name(canvas: Canvas, y: float, name: str) -> Element | None:
    """What a row below the plot is, to the right of it; nothing where there is no room."""
    return el("text", name, x=canvas.width - canvas.right + 8, y=y, class_="tick") if canvas.roomy else None


def window(canvas: Canvas, top: float, bottom: float, parts: Iterable[Element]) -> Element:
    """The plot alone: what leads out of it is cut off at its edge."""
    width, height = canvas.width - canvas.right - canvas.left, bottom - top
    box = f"{canvas.left:g} {top:g} {width:g} {height:g}"
    return el("svg", *parts, x=canvas.left, y=top, width=width, height=height, viewBox=box)


def path(points: Sequence[Point]) -> str:
    """Points joined by straight lines, as an SVG path."""
    return "".join(f"{'M' if n == 0 else 'L'}{x:.1f} {y:.1f}" for n, (x, y) in enumerate(points))


def thinned(points: Iterable[Point]) -> list[Point]:
    """At most four points a pixel: the first, the lowest, the highest and the last. Nothing that is seen is lost."""
    columns: dict[int, list[Point]] = {}
    for point in points:
        columns.setdefault(round(point[0]), []).append(point)
    kept: list[Point] = []
    for column in columns.values():
        by_height = sorted(range(len(column)), key=lambda n: column[n][1])
        kept += [column[n] for n in sorted({0, by_height[0], by_height[-1], len(column) - 1})]
    return kept


def strip(report: Report, canvas: Canvas, y: float, stretches: Iterable[Stretch], kind: str) -> Element:
    """A band that says by its colour what held when: `kind` is the prefix of the colours' classes."""
    times = canvas.times(report)
    return group(
        (
            el(
                "rect",
                el("title", f"{item.name} from {item.start:%d %b %H:%M} to {item.end:%d %b %H:%M} UTC"),
                x=times.x(item.start),
                y=y,
                width=max(times.x(item.end) - times.x(item.start), 1.5),
                height=8,
                class_=f"{kind} {kind}-{item.name.lower()}",
            )
            for item in stretches
        ),
        class_="strip",
    )


def _upright(x: float, top: float, bottom: float, kind: str) -> Element:
    return el("line", x1=x, x2=x, y1=top, y2=bottom, class_=kind)

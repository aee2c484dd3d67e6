"""What stands behind the pictures, as tables and lists that a screen reader and a printer take as well."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING

from orchestrator.wording import moment as utc
from orchestrator_operator.report import derive, risk
from orchestrator_operator.report.markup import el
from orchestrator_operator.report.percent_chart import anchor, glyph, kind
from orchestrator_operator.report.wording import evidence, share, summary, times

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator_operator.report.markup import Element
    from orchestrator_operator.report.model import Moment, Report
    from orchestrator_operator.rollout.statistics.evidence import Cell
    from orchestrator_operator.specs.rollout_status import CriterionStatus

_LEVEL = 0.95
_FOREST, _LOW, _HIGH = 180.0, -2.0, 4.0  # pixels; from a quarter to 16 times, in powers of two
_COUNTED = ("Age", "On V2", "Bad on V1", "Bad on V2", "Relative risk")
_SHORT = 12  # characters of a hash that tell rows apart


def counts(report: Report) -> Element | None:
    """Bad executions of all by criterion, age and percent, with the relative risk; None where nothing was recorded."""
    found, own = derive.latest_cells(report), derive.own_counts(report)
    if not found and not own:
        return None
    head = el("thead", el("tr", *(el("th", text, scope="col") for text in _COUNTED), el("th", _ruler(), scope="col")))
    bodies = []
    for what, rows in groupby(found, key=lambda row: row[0]):
        bodies.append(_body(what, (el("tr", el("td", age), *_counted(cell)) for _, age, cell in rows)))
    bodies += [_body(item.name, [_own(item)]) for item in own]
    caption = el("caption", f"Executions as of {utc(report.moments[-1].at)}, since the attempt began.")
    return _scrolling("Counts by criterion, age and percent", el("table", caption, head, *bodies, class_="counts"))


def decisions(report: Report) -> Element:
    """Every decision, newest first."""
    return el("ol", *(_decision(moment) for moment in reversed(report.decisions)), class_="decisions")


def rows(report: Report) -> Element:
    """Every row that the pictures were drawn from."""
    names = report.names
    headings = ("Row", "UTC", "Decided", "Phase", "Stage", "V2 %", *names, "Hash")
    head = el("thead", el("tr", *(el("th", text, scope="col") for text in headings)))
    body = el("tbody", *(_row(moment, names) for moment in report.moments))
    return _scrolling("Every recorded row", el("table", head, body, class_="rows"))


def _counted(cell: Cell) -> Iterable[Element]:
    found = risk.interval(cell, _LEVEL)
    within = "" if found is None else f" ({times(found[0])} to {times(found[1])})"
    yield el("td", f"{cell.percent.normalize():f} %", class_="number")
    yield el("td", share(cell.bad_v1, cell.n1), class_="number")
    yield el("td", share(cell.bad_v2, cell.n2), class_="number")
    yield el("td", times(risk.relative_risk(cell)) + within, class_="number")
    yield el("td", _forest(cell, found), class_="forest-cell")


def _body(name: str, rows: Iterable[Element]) -> Element:
    heading = el("tr", el("th", name, scope="rowgroup", colspan=str(len(_COUNTED) + 1)))
    return el("tbody", heading, *rows)


def _own(item: CriterionStatus) -> Element:
    """Counters of a user's own: no coin was tossed for what they count, so there is no interval by it."""
    k1, n1, k2, n2 = (float(number or 0) for number in (item.k1, item.n1, item.k2, item.n2))
    ratio = (k2 / n2) / (k1 / n1) if n1 and n2 and k1 else None
    cells = (share(item.k1, item.n1), share(item.k2, item.n2), times(ratio))
    return el("tr", el("td", "own"), el("td", "all"), *(el("td", text, class_="number") for text in cells), el("td"))


def _forest(cell: Cell, interval: tuple[float, float] | None) -> Element | None:
    """The interval as a line, with the relative risk as a dot and 1 as the upright."""
    if interval is None:
        return None
    low, high = (_place(end) for end in interval)
    worse = "worse" if interval[0] > 1 else "better" if interval[1] < 1 else "unclear"
    parts = [
        el("line", x1=_place(1), x2=_place(1), y1=0, y2=18, class_="forest-one"),
        el("line", x1=low, x2=max(high, low + 1), y1=9, y2=9, class_=f"forest {worse}"),
    ]
    ratio = risk.relative_risk(cell)
    if ratio is not None:
        parts.append(el("circle", cx=_place(ratio), cy=9, r=3.5, class_=f"forest-dot {worse}"))
    return el("svg", *parts, viewBox=f"0 0 {_FOREST:g} 18", class_="forest-plot", aria_hidden="true")


def _ruler() -> Element:
    """The heading above the intervals: the relative risks that their places stand for."""
    texts = (el("text", f"{n:g}", x=_place(n), y=13, text_anchor="middle") for n in (0.25, 1, 4, 16))
    return el("svg", *texts, viewBox=f"0 0 {_FOREST:g} 18", class_="forest-plot", role="img", aria_label="interval")


def _place(ratio: float) -> float:
    power = math.log2(ratio) if 0 < ratio < math.inf else (_HIGH if ratio else _LOW)
    part = (min(max(power, _LOW), _HIGH) - _LOW) / (_HIGH - _LOW)
    return 16 + part * (_FOREST - 32)


def _decision(moment: Moment) -> Element:
    said = moment.decided
    if said is None:  # pragma: no cover - decisions alone come here
        return el("li")
    place = f"{moment.stage}, {moment.percent:g} %" if moment.stage else f"{moment.percent:g} %"
    shown = [el("span", utc(moment.at)), el("span", f"by {said.actor or 'controller'}"), el("span", place)]
    if moment.digest:
        shown.append(el("code", moment.digest[:_SHORT], title=f"SHA-256 {moment.digest}"))
    return el(
        "li",
        el(
            "p",
            glyph(kind(said)),
            el("strong", said.action),
            " ",
            el("span", said.reason, class_="reason"),
            class_="what",
        ),
        el("p", said.message, class_="sentence"),
        el("p", *shown, class_="meta"),
        id=anchor(moment),
    )


def _row(moment: Moment, names: Iterable[str]) -> Element:
    said = moment.decided
    cells = (
        str(moment.number),
        f"{moment.at:%Y-%m-%d %H:%M:%S}",
        f"{said.action} ({said.reason})" if said else "",
        moment.phase,
        moment.stage,
        f"{moment.percent:g}",
        *(_short(moment.criterion(name)) for name in names),
    )
    return el("tr", *(el("td", text) for text in cells), el("td", el("code", moment.digest)))


def _short(item: CriterionStatus | None) -> Element | str:
    if item is None:
        return ""
    shown = item.verdict.value
    if item.log_evidence is not None:
        shown += f", {evidence(item.log_evidence)}"
    elif item.value is not None:
        shown += f", {item.value:.4g}"
    return el("span", shown, title=summary(item))


def _scrolling(label: str, table: Element) -> Element:
    """A table may be wider than a phone: then it is scrolled by itself, by keyboard too."""
    return el("div", table, class_="scroll", role="region", aria_label=label, tabindex="0")

"""The whole report as one page: no script, nothing loaded, nothing that is not in the file."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources
from typing import TYPE_CHECKING

import yaml

from orchestrator.wording import length
from orchestrator.wording import moment as utc
from orchestrator_operator.report import evidence_chart, percent_chart, tables
from orchestrator_operator.report.frame import CANVASES
from orchestrator_operator.report.markup import el, html
from orchestrator_operator.report.percent_chart import glyph, kind
from orchestrator_operator.report.wording import evidence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from orchestrator_operator.report.markup import Element
    from orchestrator_operator.report.model import Report
    from orchestrator_operator.specs.rollout_status import CriterionStatus

_INTERVAL = (
    "A relative risk of 2 says that bad executions were twice as frequent on V2. The interval covers the truth with a "
    "chance of 95 % over the whole rollout, however often it is looked at (a confidence sequence, for one share and "
    "one age at a time). The verdicts do not come from it: they come from the evidence above."
)
_EVIDENCE = (
    "The evidence says how many times better the counts are explained by a V2 that is worse (for a Pass: that is "
    "better than the margin) than by one that is not. If V2 is not worse, the chance that its evidence ever reaches "
    "400 is at most 1 in 400, however often one looks. A line that reaches its limit decides."
)


def render(report: Report, now: datetime) -> str:
    """The page as text; `now` is said in its foot."""
    style = resources.files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="referrer", content="no-referrer"),
        el("link", rel="icon", href="data:,"),
        el("title", f"{report.name}: {_spaced(report.status.phase)}, {report.moments[-1].percent:g} % on V2"),
        el("style", style),
    )
    body = el("body", el("a", "Skip to the decisions", href="#decisions", class_="skip"), *_body(report, now))
    return html(el("html", head, body, lang="en"))


def _body(report: Report, now: datetime) -> Iterator[Element]:
    yield _header(report)
    counted = tables.counts(report)
    yield el(
        "main",
        _section("percent", "The share on V2", _percent_legend(report), _figure(report)),
        _section("evidence", "The evidence", el("p", _EVIDENCE, class_="note"), _evidence_legend(), *_criteria(report)),
        None if counted is None else _section("counts", "What was counted", el("p", _INTERVAL, class_="note"), counted),
        _section("decisions", "Every decision", tables.decisions(report)),
        _section("behind", "Behind the pictures", *_behind(report)),
    )
    yield _footer(report, now)


def _header(report: Report) -> Element:
    status = report.status
    phase = status.phase.lower()
    notes = next((moment.notes for moment in reversed(report.moments) if moment.criteria), ())
    kicker = el("p", f"{report.kind} ", el("b", report.name), f" · attempt {max(status.attempt, 1)}", class_="kicker")
    heading = el(
        "h1",
        el("span", _spaced(status.phase), class_=f"phase-name phase-text-{phase}"),
        *((" ", el("span", status.reason, class_="reason")) if status.reason else ()),
    )
    return el(
        "header",
        kicker,
        heading,
        el("p", status.message or "Nothing has been said yet.", class_="lead"),
        el("ul", *(el("li", note) for note in notes), class_="notes") if notes else None,
        el("dl", *(el("div", el("dt", name), el("dd", value)) for name, value in _facts(report)), class_="facts"),
        class_=f"top top-{phase}",
    )


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    status, last = report.status, report.moments[-1]
    yield "On V2", f"{last.percent:g} % of new executions"
    yield "Stage", status.stage or last.stage or "none yet"
    yield "Verdict", _spaced(status.verdict) or "none yet"
    yield "Strongest evidence", _strongest(report)
    yield "Time covered", f"{length(report.end - report.start)} since {report.start:%d %b %Y, %H:%M} UTC"
    yield "Blind", status.blind or "never in this stage"
    if status.next is not None:
        yield "Next planned move", utc(status.next)


def _strongest(report: Report) -> str:
    """The evidence that is nearest to its limit, or farthest beyond it, when it was judged last."""
    newest = next((moment.criteria for moment in reversed(report.moments) if moment.criteria), ())
    logs = [(item.log_evidence, item.log_threshold, item.name) for item in newest]
    found = [(log - limit, log, limit, name) for log, limit, name in logs if log is not None and limit is not None]
    if not found:
        return "none yet"
    _, log, limit, name = max(found)
    return f"{evidence(log)} of {evidence(limit)}, {name}"


def _figure(report: Report) -> Element:
    return el("figure", *(percent_chart.draw(report, canvas) for canvas in CANVASES))


def _criteria(report: Report) -> Iterator[Element]:
    for place, name in enumerate(report.names):
        item = next(found for moment in reversed(report.moments) if (found := moment.criterion(name)))
        draw = evidence_chart.draw_guardrail if report.is_guardrail(name) else evidence_chart.draw
        key = f"criterion-{place}"
        heading = el("h3", name, " ", _verdict(item), id=key)
        figure = el("figure", *(draw(report, canvas, name, key) for canvas in CANVASES))
        yield el("article", heading, el("p", item.sentence, class_="sentence"), figure, aria_labelledby=key)


def _behind(report: Report) -> Iterator[Element]:
    summary = f"Every recorded row ({len(report.moments):,}), with its hash"
    yield el("details", el("summary", summary), tables.rows(report))
    if report.spec:
        document = yaml.safe_dump(_plain(report.spec), sort_keys=False, allow_unicode=True, width=100)
        yield el("details", el("summary", "The spec"), el("pre", document, tabindex="0", aria_label="The spec as YAML"))


def _footer(report: Report, now: datetime) -> Element:
    head = report.moments[-1]
    chain = f" The newest of {len(report.moments):,} rows is number {head.number}: " if head.digest else ""
    said = el("p", f"Drawn {utc(now)} from {report.source}.", chain)
    if head.digest:
        said.append(el("code", head.digest))
        code = el("code", f"orchestrator rollout verify {report.name.rpartition('/')[2]}")
        return el("footer", said, el("p", code, " derives each verdict again, and checks the chain of the hashes."))
    return el("footer", said)


def _section(name: str, title: str, *children: Element | None) -> Element:
    heading = f"{name}-heading"
    return el("section", el("h2", title, id=heading), *children, id=name, aria_labelledby=heading)


def _verdict(item: CriterionStatus) -> Element:
    verdict = item.verdict.value
    return el("span", _spaced(verdict), class_=f"badge badge-{verdict.lower()}")


def _percent_legend(report: Report) -> Element:
    """Only of what can be seen."""
    marks = {kind(moment.decided) for moment in report.decisions if moment.decided}
    lasted = {moment.phase.lower() for moment in report.moments}
    blind = [(_swatch_rect("blind-swatch"), "blind")] if any(moment.blind for moment in report.moments) else []
    return _legend(
        (_swatch("line asked"), "asked for"),
        (el("svg", el("circle", cx=8, cy=8, r=3, class_="seen"), viewBox="0 0 16 16", class_="glyph"), "seen"),
        *blind,
        *((glyph(name), text) for name, text in _MARKS.items() if name in marks),
        *((_swatch_rect(f"phase phase-{name}"), text) for name, text in _PHASES.items() if name in lasted),
    )


_MARKS = {"up": "forward", "hold": "held or waiting", "down": "rolled back", "other": "other"}
_PHASES = {
    "progressing": "stage runs",
    "held": "Held",
    "paused": "Paused",
    "awaitingapproval": "Awaiting approval",
    "completed": "Completed",
    "rolledback": "Rolled back",
}


def _evidence_legend() -> Element:
    return _legend(
        (_swatch("line line-fail"), "evidence that V2 is worse"),
        (_swatch("limit limit-fail"), "its limit: Fail"),
        (_swatch("line line-pass"), "evidence for a Pass, by stage"),
        (_swatch("limit limit-pass"), "its limit: Pass"),
        (el("svg", el("path", d="M8 3V13", class_="restart"), viewBox="0 0 16 16", class_="glyph"), "starts afresh"),
        (_swatch_rect("blind-swatch"), "blind"),
    )


def _legend(*entries: tuple[Element, str]) -> Element:
    for mark, _ in entries:
        mark.set("aria-hidden", "true")
    return el("ul", *(el("li", mark, text) for mark, text in entries), class_="legend")


def _swatch(kind: str) -> Element:
    return el("svg", el("path", d="M0 8H28", class_=kind), viewBox="0 0 28 16", class_="swatch")


def _swatch_rect(kind: str) -> Element:
    return el("svg", el("rect", x=1, y=4, width=14, height=8, class_=kind), viewBox="0 0 16 16", class_="glyph")


def _spaced(camel: str) -> str:
    """`AwaitingApproval` as `Awaiting approval`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", camel)
    return words[:1] + words[1:].lower()


def _plain(value: object) -> object:
    """Plain mappings and lists, which is all that a YAML of a spec needs."""
    if hasattr(value, "items"):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value

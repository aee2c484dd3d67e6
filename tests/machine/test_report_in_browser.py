"""A rollout's report as a real browser draws it: on a desk, on a phone, in the dark, on paper; by mouse and by key.

What is asserted is what is drawn (rectangles, colours, requests), never single pixels: fonts differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.report import page, rows

from tests.support.browser import Browser
from tests.support.recorded_rollout import recorded
from tests.support.reports import judged, moment, of, said

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestrator_operator.report.model import Report

    from tests.support.browser import Page

NOW = datetime(2026, 4, 1, tzinfo=UTC)
HOSTILE = "</title></style><script>document.title='taken'</script><img src=//example.org/x onerror=alert(1)>"

# Helpers in the page. Boxes are [left, top, right, bottom] in CSS pixels of the window.
LIBRARY = """
const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom] };
const onPage = ([a, b, c, d]) => [a + scrollX, b + scrollY, c + scrollX, d + scrollY];
const paint = e => {
  const s = getComputedStyle(e); return s.stroke === 'none' || e.matches('.seen') ? s.fill : s.stroke };
const drawn = e => { const r = e.getBoundingClientRect(); return r.width > 0 || r.height > 0 };
const charts = () => [...document.querySelectorAll('svg[data-chart]')].filter(drawn);
const name = e => `${e.tagName}.${e.getAttribute('class')} ${(e.textContent || '').slice(0, 40)}`;
const within = (a, b, slack) =>
  a[0] >= b[0] - slack && a[1] >= b[1] - slack && a[2] <= b[2] + slack && a[3] <= b[3] + slack;
const overlap = (a, b) =>
  Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0])) * Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
const rgb = text => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
const light = c => c.slice(0, 3).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, n) => sum + v * [.2126, .7152, .0722][n], 0);
const contrast = (a, b) => {
  const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + .05) / (y + .05) };
const behind = e => { for (; e; e = e.parentElement) {
  const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c } return [255, 255, 255] };
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as started:
        yield started


@dataclass(frozen=True)
class View:
    """One way to look at a page."""

    width: int
    scheme: str = "light"
    media: str = "screen"

    def __str__(self) -> str:
        return f"{self.width}-{self.scheme}-{self.media}"


VIEWS = (View(1280), View(390), View(1280, "dark"), View(390, "dark"), View(820), View(718, "dark", "print"))


@dataclass
class Shown:
    """A page as it is seen."""

    tab: Page
    view: View
    url: str
    picture: Path | None = None  # a PNG of all of it

    def ask(self, expression: str) -> Any:
        return self.tab.evaluate(f"(() => {{ {LIBRARY} return {expression} }})()")


def show(browser: Browser, report: Report, folder: Path, view: View) -> Shown:
    path = folder / f"report-{view}.html"
    path.write_text(page.render(report, NOW), encoding="utf-8")
    tab = browser.page()
    tab.resize(view.width, phone=view.width < 600)
    tab.prefer(view.scheme, view.media)
    tab.open(path.as_uri())
    return Shown(tab, view, path.as_uri())


@pytest.fixture(scope="module", params=VIEWS, ids=str)
def shown(request: pytest.FixtureRequest, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    story = rows.report(recorded(), "the log of decisions of shop/v2")
    folder = tmp_path_factory.mktemp("report")
    found = show(browser, story, folder, request.param)
    found.picture = folder / f"{request.param}.png"
    found.tab.screenshot(found.picture)
    return found


@pytest.fixture
def desk(browser: Browser, tmp_path: Path) -> Shown:
    """A page that a test may do something to."""
    return show(browser, rows.report(recorded(), "the log"), tmp_path, View(1280))


def test_it_asks_for_nothing_and_complains_of_nothing(shown: Shown) -> None:
    assert shown.tab.requests() == [shown.url]
    assert shown.tab.complaints() == []


def test_nothing_is_wider_than_the_window(shown: Shown) -> None:
    assert shown.ask("document.documentElement.scrollWidth") <= shown.view.width


def test_every_picture_is_there_once(shown: Shown) -> None:
    assert shown.ask("charts().map(c => c.dataset.chart)") == ["percent", "criterion-0", "criterion-1", "criterion-2"]


def test_everything_that_is_drawn_lies_within_its_picture(shown: Shown) -> None:
    outside = """charts().flatMap(c => [...c.querySelectorAll('path, line, rect, circle, text')]
        .filter(e => !e.closest('defs') && drawn(e) && !within(box(e), box(c), 1)).map(name))"""
    assert shown.ask(outside) == []


def test_the_lines_are_drawn_at_their_length(shown: Shown) -> None:
    """Their percent, two criteria against their limits, one guardrail: not one of them empty or a dot."""
    lengths = "charts().map(c => [...c.querySelectorAll('path.line')].reduce((sum, e) => sum + e.getTotalLength(), 0))"
    widths = shown.ask("charts().map(c => c.viewBox.baseVal.width)")
    assert all(length > width / 2 for length, width in zip(shown.ask(lengths), widths, strict=True))


# What each picture must show, by the class of what draws it: V2's share as it was wanted, and as it was counted; the
# evidence for and against V2, and the limit of each; a guardrail's value, and its limit.
INKS = (
    (".asked", ".seen"),
    *((".line-fail", ".limit-fail", ".line-pass", ".limit-pass"),) * 2,
    (".value", ".limit-fail"),
)


def test_the_picture_that_was_taken_has_the_colours_of_all_that_it_draws(shown: Shown, browser: Browser) -> None:
    """In the pixels of the PNG: the box of each, with its own colour in it, along a good part of its length."""
    scale = 2 if shown.view.width < 600 else 1  # pixels of a phone in one of CSS
    tab = browser.page()  # the report's own policy forbids what reads the picture
    for place, inks in enumerate(INKS):
        chart = f"charts()[{place}]"
        box = [scale * side for side in shown.ask(f"onPage(box({chart}))")]
        colours = [shown.ask(f"paint({chart}.querySelector('{ink}'))") for ink in inks]
        ground = shown.ask(f"`rgb(${{behind({chart}.closest('section')).slice(0, 3).join(',')}})`")
        *counts, blank = tab.pixels(shown.picture, box, [*colours, ground])
        everything = (box[2] - box[0]) * (box[3] - box[1])
        assert 0.02 < 1 - blank / everything < 0.9
        assert min(counts) > 60 * scale, dict(zip(inks, counts, strict=True))


def test_a_page_that_draws_nothing_would_not_pass_for_one(desk: Shown, browser: Browser, tmp_path: Path) -> None:
    empty = browser.page()
    empty.screenshot(tmp_path / "empty.png")
    colours = [
        desk.ask(f"getComputedStyle(document.querySelector('{ink}')).stroke") for ink in (".line-fail", ".asked")
    ]
    assert browser.page().pixels(tmp_path / "empty.png", [0, 0, 300, 200], colours) == [0, 0]


def test_no_label_lies_on_another(shown: Shown) -> None:
    pairs = """charts().flatMap(c => { const all = [...c.querySelectorAll('text')].filter(drawn);
        return all.flatMap((a, n) => all.slice(n + 1).filter(b => overlap(box(a), box(b)) > 2)
            .map(b => `${name(a)} / ${name(b)}`)) })"""
    assert shown.ask(pairs) == []


def test_labels_can_be_read(shown: Shown) -> None:
    """At least nine pixels high as they are seen, on a phone ten."""
    smallest = """Math.min(...charts().flatMap(c => [...c.querySelectorAll('text')].filter(drawn).map(e =>
        parseFloat(getComputedStyle(e).fontSize) * c.getBoundingClientRect().width / c.viewBox.baseVal.width)))"""
    least = {390: 10, 718: 7.5}.get(shown.view.width, 9)  # paper is held closer than a screen
    assert shown.ask(smallest) >= least


def test_text_stands_out_from_what_is_behind_it(shown: Shown) -> None:
    """WCAG 2.2, level AA: 4.5 to 1."""
    faint = """[...document.querySelectorAll('main *, header *, footer *')].filter(e => drawn(e) &&
        [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && e.tagName !== 'title').flatMap(e => {
            const s = getComputedStyle(e), ink = rgb(e.ownerSVGElement ? s.fill : s.color);
            const ratio = contrast(ink, behind(e.ownerSVGElement ? e.closest('section') : e));
            return ratio < 4.5 ? [`${ratio.toFixed(2)} ${name(e)}`] : [] })"""
    assert shown.ask(faint) == []


def test_lines_and_marks_stand_out_too(shown: Shown) -> None:
    """WCAG 2.2, level AA, for what is no text: 3 to 1."""
    faint = """charts().flatMap(c => [...c.querySelectorAll('.line, .limit, .mark, .seen, .dot')].flatMap(e => {
        const s = getComputedStyle(e), ink = rgb(s.stroke === 'none' || e.matches('.seen') ? s.fill : s.stroke);
        const ratio = contrast(ink, behind(c.closest('section')));
        return ratio < 3 ? [`${ratio.toFixed(2)} ${name(e)}`] : [] }))"""
    assert shown.ask(faint) == []


def test_no_text_is_cut_off(shown: Shown) -> None:
    cut = """[...document.querySelectorAll('h1, h2, h3, p, dd, dt, li, .badge, summary')]
        .filter(e => drawn(e) && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline')
        .map(name)"""
    assert shown.ask(cut) == []


def test_each_decision_has_a_mark_of_its_own(shown: Shown) -> None:
    boxes = shown.ask("[...charts()[0].querySelectorAll('.mark')].map(box)")
    told = shown.ask("document.querySelectorAll('.decisions > li').length")
    assert (len(boxes), told) == (10, 10)
    pairs = [(a, b) for n, a in enumerate(boxes) for b in boxes[n + 1 :]]
    assert all(a[2] <= b[0] + 1 or b[2] <= a[0] + 1 or a[3] <= b[1] + 1 or b[3] <= a[1] + 1 for a, b in pairs)


def test_the_share_falls_to_the_ground_where_the_rollback_is_marked(desk: Shown) -> None:
    line = desk.ask("(() => { const e = charts()[0].querySelector('.asked'); return [box(e), box(charts()[0])] })()")
    (left, top, right, bottom), (_, chart_top, _, _) = line
    marks = desk.ask("[...charts()[0].querySelectorAll('.mark-down')].map(box)")
    assert left < marks[0][0] < right
    assert marks[0][2] - right < 30
    assert bottom - top > 80
    assert top > chart_top


def test_blindness_is_shaded_in_every_picture_at_the_same_place(desk: Shown) -> None:
    shades = desk.ask("charts().map(c => [...c.querySelectorAll('.blind')].map(e => box(e)[0]))")
    assert len(shades) == 4
    assert all(len(shade) == 1 and abs(shade[0] - shades[0][0]) < 1 for shade in shades)


def test_the_evidence_that_convicted_crosses_its_limit(desk: Shown) -> None:
    """Of first-attempts: the top of the red line lies above the dashed one; of failures it stays below."""
    tops = """charts().slice(1, 3).map(c => ['.line-fail', '.limit-fail'].map(s =>
        Math.min(...[...c.querySelectorAll(s)].map(e => box(e)[1]))))"""
    (failures, limit), (first_attempts, other_limit) = desk.ask(tops)
    assert failures > limit
    assert first_attempts <= other_limit + 1


def test_a_mark_leads_to_its_decision(desk: Shown) -> None:
    desk.tab.evaluate(
        "document.querySelector('svg.wide .mark-link').dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    target = desk.ask("document.querySelector('.decisions li:target')?.textContent")
    assert target.startswith("Start")


def test_it_is_walked_through_by_keyboard(desk: Shown) -> None:
    desk.tab.press("Tab")
    assert desk.ask("document.activeElement.className") == "skip"
    desk.tab.press("Tab")
    assert desk.ask("document.activeElement.closest('a').getAttribute('href')") == "#decision-1"
    desk.tab.press("Enter")
    assert desk.ask("location.hash") == "#decision-1"


def test_what_is_folded_opens_without_a_script(desk: Shown) -> None:
    heights = desk.ask("[...document.querySelectorAll('details')].map(d => { d.open = true; return d.offsetHeight })")
    assert len(heights) == 2
    assert min(heights) > 100
    assert desk.ask("document.documentElement.scrollWidth") <= 1280


def test_it_prints_on_a_few_sheets(desk: Shown) -> None:
    printed = desk.tab.call("Page.printToPDF", preferCSSPageSize=False, printBackground=True)
    assert len(printed["data"]) > 20_000


def test_what_others_wrote_is_shown_and_not_obeyed(browser: Browser, tmp_path: Path) -> None:
    hostile = moment(0, stage=HOSTILE, criteria=(judged(HOSTILE),), decided=said("Hold", HOSTILE))
    seen = show(browser, of(hostile, moment(1)), tmp_path, View(1280))
    assert seen.ask("document.querySelectorAll('script, img').length") == 0
    assert seen.ask("document.title").startswith("shop/v2")
    assert HOSTILE in seen.ask("document.querySelector('.decisions .sentence').textContent")
    assert (seen.tab.requests(), seen.tab.complaints()) == ([seen.url], [])

"""The page is whole in itself, escapes what others wrote, and tells everything that was recorded."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from orchestrator_operator.report import page
from orchestrator_operator.report.model import Decided
from orchestrator_operator.specs.rollout_status import Phase, RolloutStatus, Verdict

from tests.support.reports import judged, moment, of, said

if TYPE_CHECKING:
    from orchestrator_operator.report.model import Report

NOW = datetime(2026, 4, 1, tzinfo=UTC)
HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(2)>\x00\ud800\u202e\"'&"
VOID = {"meta", "link"}


class Seen(HTMLParser):
    """Elements with their attributes, and the text, as a browser would take them; every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get(attribute)) is not None]


@pytest.fixture(scope="module")
def text(story: Report) -> str:
    return page.render(story, NOW)


@pytest.fixture(scope="module")
def seen(text: str) -> Seen:
    return Seen(text)


def test_it_loads_nothing(seen: Seen) -> None:
    links = [*seen.all("src"), *seen.all("href"), *seen.all("xlink:href"), *seen.all("action")]
    assert {link for link in links if not link.startswith("#")} == {
        "data:,"
    }  # the icon that keeps browsers from asking


def test_it_runs_no_script(seen: Seen) -> None:
    assert "script" not in {tag for tag, _ in seen.elements}
    assert [name for _, attributes in seen.elements for name in attributes if name.startswith("on")] == []
    assert seen.all("style") == []


def test_the_policy_allows_its_own_style_and_nothing_else(text: str, seen: Seen) -> None:
    (policy,) = [a["content"] or "" for t, a in seen.elements if a.get("http-equiv") == "Content-Security-Policy"]
    style = text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("style-src") == f"'sha256-{digest}'"
    assert rules.pop("img-src") == "data:"
    assert rules == {"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'"}


def test_its_style_loads_nothing_either(text: str) -> None:
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert not re.search(r"@import|url\(|https?:", style)


def test_ids_are_unique_and_every_link_leads_somewhere(seen: Seen) -> None:
    ids = seen.all("id")
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    named = [name for value in seen.all("aria-labelledby") for name in value.split()]
    links = [link[1:] for link in seen.all("href") if link.startswith("#")]
    assert {*named, *links} - set(ids) == set()


def test_every_decision_is_told_with_its_sentence_and_its_hash(story: Report, seen: Seen) -> None:
    told = "".join(seen.text)
    for decision in story.decisions:
        assert decision.decided is not None
        assert decision.decided.message in told
        assert decision.digest in told
        assert f"decision-{decision.number}" in seen.all("id")


def test_every_recorded_row_stands_behind_the_pictures(story: Report, text: str) -> None:
    table = text.partition('class="rows"')[2].partition("</table>")[0]
    assert table.count("<tr>") == len(story.moments) + 1


def test_every_picture_is_drawn_for_a_desk_and_for_a_phone(seen: Seen) -> None:
    drawn = Counter(seen.all("data-chart"))
    assert drawn == {"percent": 2, "criterion-0": 2, "criterion-1": 2, "criterion-2": 2}


def test_every_picture_says_in_words_what_it_shows(seen: Seen) -> None:
    pictures = [attributes for tag, attributes in seen.elements if tag == "svg" and "data-chart" in attributes]
    assert all(attributes["role"] in ("img", "group") for attributes in pictures)
    assert all(len(attributes["aria-label"] or "") > 30 for attributes in pictures)


def test_what_others_wrote_stays_text() -> None:
    hostile = judged(HOSTILE, Verdict.FAIL).model_copy(update={"sentence": HOSTILE})
    status = RolloutStatus(phase=Phase.HELD, reason=HOSTILE, message=HOSTILE, stage=HOSTILE, verdict=HOSTILE)
    decided = Decided(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    look = moment(0, stage=HOSTILE, phase=HOSTILE, criteria=(hostile,), decided=decided, digest=HOSTILE)
    later = moment(1, stage=HOSTILE, phase=HOSTILE, criteria=(hostile,))
    report = replace(of(look, later), name=HOSTILE, source=HOSTILE, status=status, spec={HOSTILE: [HOSTILE]})
    seen = Seen(page.render(report, NOW))
    assert {tag for tag, _ in seen.elements} & {"script", "img"} == set()
    assert [name for _, attributes in seen.elements for name in attributes if name.startswith("on")] == []
    assert sum("<script>alert(1)</script>" in text for text in seen.text) > 5
    everything = "".join([*seen.text, *(v or "" for _, a in seen.elements for v in a.values())])
    assert re.search("[\x00\ud800\u202e]", everything) is None
    everything.encode()


def test_counters_of_a_users_own_are_counted_too() -> None:
    report = of(moment(0, criteria=(judged("refunds", k1=20, n1=1000, k2=6, n2=100),)), moment(1))
    report = replace(report, spec={"criteria": [{"name": "refunds", "bad": "a", "total": "b"}]})
    table = page.render(report, NOW).partition('class="counts"')[2].partition("</table>")[0]
    assert all(text in table for text in ("refunds", "20 of 1,000 (2 %)", "6 of 100 (6 %)", ">3<"))


def test_findings_about_the_experiment_stand_at_the_top() -> None:
    look = moment(0, criteria=(judged(),), notes=("NotCalibrated: the coin is not fair",))
    assert "the coin is not fair" in page.render(of(look, moment(1)), NOW).partition("</header>")[0]


def test_a_rollout_that_has_just_begun_has_a_page_too() -> None:
    assert "Pending" in page.render(of(moment(0, 0, phase="Pending", stage="")), NOW)


def test_evidence_beyond_all_bounds_is_written_at_the_edge() -> None:
    looks = (moment(n, criteria=(judged(log_evidence=float(n * 40)),)) for n in range(4))
    assert "up to 10⁵²" in page.render(of(*looks), NOW)


def test_the_legend_explains_what_is_there_and_no_more() -> None:
    legend = page.render(of(moment(0, decided=said("Promote")), moment(1)), NOW).partition("</figure>")[0]
    assert "forward" in legend
    assert "rolled back" not in legend
    assert "blind" not in legend.partition("<body>")[2]


def test_the_same_report_is_drawn_the_same(story: Report, text: str) -> None:
    assert page.render(story, NOW) == text

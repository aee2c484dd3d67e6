"""The chart fits the terminal, and says the same without colours and without Unicode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_operator.report.terminal import chart
from orchestrator_operator.specs.rollout_status import Verdict

from tests.support.reports import judged, moment, of, said

if TYPE_CHECKING:
    from orchestrator_operator.report.model import Report


def drawn(report: Report, width: int = 80, *, unicode: bool = True) -> list[str]:
    return [line.plain for line in chart(report, width, unicode=unicode)]


@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize("width", [34, 40, 80, 81, 120, 300])
def test_no_line_is_wider_than_the_terminal(story: Report, width: int, unicode: bool) -> None:
    assert max(map(len, drawn(story, width, unicode=unicode))) <= width


@pytest.mark.parametrize("unicode", [True, False])
def test_a_name_does_not_steer_the_terminal(unicode: bool) -> None:
    report = of(moment(0, criteria=(judged("\x1b[2J\x1b]0;x\x07own"),)), moment(1))
    assert not any("\x1b" in line or "\x07" in line for line in drawn(report, unicode=unicode))


def test_without_unicode_it_is_ascii(story: Report) -> None:
    assert "".join(drawn(story, unicode=False)).isascii()


@pytest.mark.parametrize("unicode", [True, False])
def test_each_decision_has_its_mark_below_the_share(unicode: bool) -> None:
    looks = (moment(0, decided=said("Start")), moment(1, decided=said("Hold")), moment(2, decided=said("RollBack")))
    lines = drawn(of(*looks, moment(3)), unicode=unicode)
    assert [mark for mark in lines[6] if mark in "▲■▼^#v"] == list("▲■▼" if unicode else "^#v")


def test_a_rollback_is_not_hidden_by_what_follows_it() -> None:
    looks = (moment(0), moment(900, decided=said("RollBack")), moment(900.1, decided=said("Told")), moment(1000))
    assert "▼" in drawn(of(*looks), 40)[6]


def test_the_share_rises_from_left_to_right() -> None:
    lines = drawn(of(moment(0, 5), moment(5, 100), moment(10, 100)), 80)
    assert len(lines[1].rstrip()) > 60
    assert lines[1][10:40].strip() == ""
    assert lines[5][10:40].strip() != ""


def test_blind_times_are_shaded() -> None:
    blind = judged(verdict=Verdict.BLIND, log_evidence=None)
    looks = (moment(0, criteria=(judged(),)), moment(4, criteria=(blind,)), moment(6, criteria=(judged(),)), moment(10))
    assert sum("░" in line for line in drawn(of(*looks))) >= 5
    assert sum(":::" in line for line in drawn(of(*looks), unicode=False)) >= 5


def test_verdicts_are_letters() -> None:
    verdicts = (Verdict.INCONCLUSIVE, Verdict.PASS, Verdict.BLIND, Verdict.FAIL)
    looks = (moment(n, criteria=(judged(verdict=verdict),)) for n, verdict in enumerate(verdicts))
    (line,) = [line for line in drawn(of(*looks, moment(4))) if line.startswith(" verdict")]
    letters = line.split()[1]
    assert "".join(dict.fromkeys(letters)) == ".PBF"
    assert len(letters) == 70


def test_the_limit_is_named_at_its_height(story: Report) -> None:
    lines = drawn(story, 100)
    (heading,) = [n for n, line in enumerate(lines) if line.startswith("failures: ")]
    assert lines[heading + 1].lstrip().startswith("200┤╌")
    assert "evidence against V2" in lines[heading]


def test_a_rising_line_of_evidence_rises() -> None:
    logs = (0.0, 1.0, 3.0, 5.9)
    looks = [moment(n, criteria=(judged(log_evidence=log),)) for n, log in enumerate(logs)]
    lines = drawn(of(*looks), unicode=False)
    (heading,) = [n for n, line in enumerate(lines) if line.startswith("failures: ")]
    rows = [line[9:] for line in lines[heading + 1 : heading + 5]]
    firsts = [row.find("*") for row in rows if "*" in row]
    assert firsts == sorted(firsts, reverse=True)
    assert len(firsts) >= 2


@given(st.lists(st.tuples(st.floats(0.01, 50), st.floats(0, 100), st.floats(-900, 900)), min_size=1, max_size=8))
def test_any_story_can_be_drawn(steps: list[tuple[float, float, float]]) -> None:
    at, looks = 0.0, []
    for after, percent, log in steps:
        at += after
        looks.append(moment(at, percent, criteria=(judged(log_evidence=log, log_pass_evidence=-log),)))
    for unicode in (True, False):
        assert max(map(len, drawn(of(*looks), 60, unicode=unicode))) <= 60

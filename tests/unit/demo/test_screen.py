"""What a person sees: the table, the line for a pipe, the flag in words, the summary."""

from __future__ import annotations

import io
from typing import Any

import pytest
from orchestrator_operator.demo import screen
from orchestrator_operator.demo.checks import Claim
from orchestrator_operator.demo.facts import Sighting
from orchestrator_operator.demo.stack import newest_of
from orchestrator_operator.demo.traffic import Sent
from rich.console import Console

SENT = Sent(wanted=20, created=900, errors=0, last_error="", rate_now=19.9, rate=20.0)
STATUS: dict[str, Any] = {
    "phase": "Progressing",
    "stage": "week-2",
    "percent": "25",
    "verdict": "Inconclusive",
    "evidence": "0.4 of 400",
    "decisions": [{"action": "Promote", "reason": "Underpowered", "message": "week-1 ends without a Pass"}],
}
FLAG = {"USE_ORCHESTRATOR_V2": "true", "USE_ORCHESTRATOR_V2_PERCENT": "25"}
FRAME = screen.Frame(
    elapsed=65,
    act="Rollout 1",
    sighting=Sighting(64.0, "v2", STATUS, FLAG),
    sent=SENT,
    meters={"v1": screen.Meter(15.04, 3.26, 31)},
)
CLAIMS = [Claim("it was so", True, "seen 3 times", "a.log"), Claim("it was thus", False, "never", "operator.log")]


def drawn(what: Any) -> str:
    paper = io.StringIO()
    Console(file=paper, width=140).print(what)
    return paper.getvalue()


@pytest.mark.parametrize(
    "word",
    ["1:05", "Rollout 1", "Progressing", "week-2", "25 %", "Inconclusive", "0.4 of 400", "15.0/s", "3.3 %", "900"],
)
def test_the_table_shows(word: str) -> None:
    assert word in drawn(screen.table(FRAME))


def test_the_table_ends_with_the_last_decision() -> None:
    assert "Promote (Underpowered): week-1 ends without a Pass" in drawn(screen.table(FRAME))


@pytest.mark.parametrize("word", ["1:05", "v2: Progressing week-2 25 %", "V1 15.0/s", "V2 -/s", "true, percent 25"])
def test_the_line_shows(word: str) -> None:
    assert word in screen.line(FRAME)


def test_without_a_rollout_the_table_still_draws() -> None:
    assert "none" in drawn(screen.table(screen.Frame(0, "start", Sighting(0, "", {}, None), SENT)))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (None, "unreadable"),
        ({}, "no keys (V1)"),
        ({"USE_ORCHESTRATOR_V2": "true"}, "true"),
        ({"USE_ORCHESTRATOR_V2_PERCENT": "5"}, "no main key, percent 5"),
    ],
)
def test_the_flag_in_words(keys: dict[str, str] | None, words: str) -> None:
    assert screen.flag(keys) == words


def test_a_claim_that_was_not_kept_says_where_to_look() -> None:
    assert "operator.log" in drawn(screen.summary(CLAIMS))
    assert "a.log" not in drawn(screen.summary(CLAIMS))


def test_the_summary_for_a_pipe_says_the_same() -> None:
    lines = screen.summary_lines(CLAIMS)
    assert ("✓ it was so" in lines, "✗ it was thus" in lines, "    look at: operator.log" in lines) == (
        True,
        True,
        True,
    )


def test_the_newest_executions_keep_their_heading() -> None:
    assert newest_of("NAME\na\nb\nc", shown=2) == "NAME\nb\nc"
    assert newest_of("NAME\na\nb\nc\nd", shown=2, skipped=1) == "NAME\nb\nc"
    assert newest_of("", shown=2) == ""

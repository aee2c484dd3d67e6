"""The decision log tells its story; a row that cannot be read is named."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import replace
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_operator.report import rows
from orchestrator_operator.rollout.log.verify import verify
from orchestrator_operator.rollout.statistics.evidence import totals

from orchestrator.errors import InvalidInput
from tests.support.recorded_rollout import recorded

if TYPE_CHECKING:
    from orchestrator_operator.report.model import Report

    from orchestrator.store.evidence import DecisionRow


@cache
def content() -> dict[str, Any]:
    """Of one row that needs no other: what it shares with earlier ones is put in."""
    spec = json.loads(recorded()[0].content)["inputs"]["spec"]
    found: dict[str, Any] = json.loads(recorded()[40].content)
    return found | {"inputs": found["inputs"] | {"spec": spec, "restarts": []}}


def row(**changes: Any) -> DecisionRow:
    """That row, with changes to its content."""
    return replace(recorded()[40], content=json.dumps(content() | changes))


def other(*, attempt: str = "3f2a9c1e-1", **changes: Any) -> DecisionRow:
    """A decision that follows it, with this content."""
    return replace(row(), number=42, action="Hold", attempt=attempt, content=json.dumps(changes))


def test_the_recording_is_one_that_the_controller_could_have_made() -> None:
    assert verify(recorded()[:40]).difference == ""


def test_every_row_is_a_moment_with_its_hash(story: Report) -> None:
    assert [(m.number, m.at, m.digest) for m in story.moments] == [(r.number, r.at, r.hash) for r in recorded()]


def test_decisions_are_told_apart_from_looks(story: Report) -> None:
    told = [m.decided.action for m in story.decisions if m.decided]
    assert told == [
        *("Start", "Hold", "Hold", "Resume", "Promote", "Hold", "Resume", "Promote", "RollBack", "RolledBack")
    ]


def test_the_story_ends_as_the_newest_row_says(story: Report) -> None:
    assert (story.name, story.status.phase, story.moments[-1].percent) == ("shop/v2", "RolledBack", 0)


def test_the_limit_of_a_guardrail_and_the_restarts_come_from_the_spec(story: Report) -> None:
    assert (story.limits, story.restart and story.restart.days) == ({"slow-checkpoint": 0.05}, 2)
    assert story.is_guardrail("slow-checkpoint")
    assert not story.is_guardrail("failures")


def test_counts_are_those_of_the_inputs(story: Report) -> None:
    cells = story.moments[40].cells["failures", "10m"]
    ((_, raw),) = [pair for pair in content()["inputs"]["cohorts"] if pair[0] == ["failures", 600.0]]
    assert totals(cells)[0] == sum(cell.get("bad_v1", 0) for cell in raw) > 100
    assert cells[-1].percent == Decimal(5)


def test_while_it_is_blind_there_are_no_counts(story: Report) -> None:
    blind = [moment for moment in story.moments if moment.blind]
    assert len(blind) > 3
    assert all(moment.cells == {} and moment.starts == () for moment in blind)


def test_restarts_that_an_earlier_row_has_are_counted_too(story: Report) -> None:
    counted = [moment.restarts for moment in story.moments]
    assert counted == sorted(counted)
    assert max(counted) == 8


def test_a_row_decided_in_the_same_breath_has_the_content_of_the_first() -> None:
    one, two = rows.report([row(), other(same=41)], "log").moments
    assert (two.criteria, two.cells, two.percent) == (one.criteria, one.cells, one.percent)
    assert two.decided is not None


def test_a_row_without_inputs_leaves_the_rollout_where_it_was() -> None:
    one, two = rows.report([row(), other(inputs=None, late=True)], "log").moments
    assert (two.phase, two.percent, two.stage) == (one.phase, one.percent, one.stage)


def test_the_newest_attempt_is_drawn_unless_another_is_named() -> None:
    log = [row(), other(attempt="3f2a9c1e-2", **content())]
    assert [m.number for m in rows.report(log, "log").moments] == [42]
    assert [m.number for m in rows.report(log, "log", 1).moments] == [41]


def test_evidence_that_is_no_finite_number_is_not_drawn() -> None:
    item = {"criterion": "failures", "verdict": "Inconclusive", "log_evidence": "-inf", "log_threshold": 5.0}
    (moment,) = rows.report([row(judgement={"criteria": [item]})], "log").moments
    assert (moment.criteria[0].log_evidence, moment.criteria[0].log_threshold) == (None, 5.0)


def test_findings_about_the_experiment_are_noted() -> None:
    alarms = [{"reason": "SampleRatioMismatch", "sentence": "6 % went to V2"}]
    weak, strong = {"smallest": "inf", "sentence": "shows nothing"}, {"smallest": 1.5, "sentence": "shows 1.5"}
    found = [
        rows.report([row(judgement={"alarms": alarms, "power": power})], "log").moments[0].notes
        for power in (weak, strong)
    ]
    assert found == [("SampleRatioMismatch: 6 % went to V2", "shows nothing"), ("SampleRatioMismatch: 6 % went to V2",)]


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"planned": 3}, "planned"),
        ({"planned": {"status": {"phase": "Odd"}}}, "planned.status"),
        ({"planned": {"status": {"percent": "101"}}}, "planned.status.percent"),
        ({"judgement": {"criteria": [{"criterion": "x"}]}}, "judgement.criteria"),
        ({"judgement": {"criteria": 7}}, "judgement.criteria"),
        ({"inputs": {"cohorts": [[["failures", 60], [{"percent": "x"}]]]}}, "inputs.cohorts"),
        ({"inputs": {"starts": [{"percent": "5", "good_v1": -1}]}}, "inputs.starts"),
        ({"judgement": {"alarms": [3]}}, "judgement"),
        ({"same": 7}, "its content"),
        ({"inputs": {"spec": {"$as": 7}}}, "its content"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_with_its_field(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        rows.report([row(**changes)], "log")
    assert re.match(rf"log, row 41: {re.escape(place)}\b", str(caught.value))


@pytest.mark.parametrize("text", ["{", "[]", "null", "[" * 100_000])
def test_content_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="log, row 41: its content cannot be read"):
        rows.report([replace(row(), content=text)], "log")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["criteria", "analysis", "stages"]), json_values)
def test_a_spec_that_is_half_there_spoils_nothing(field: str, value: Any) -> None:
    story = rows.report([row(inputs={"spec": {field: value, "deadman": "1h"}})], "log")
    assert story.spec["deadman"] == "1h"


@given(st.sampled_from(["inputs", "judgement", "planned", "same"]), json_values)
def test_whatever_stands_in_a_row_is_read_or_refused_in_words(field: str, value: Any) -> None:
    with contextlib.suppress(InvalidInput):
        rows.report([row(**{field: value})], "log")


def test_a_log_without_rows_says_so() -> None:
    with pytest.raises(InvalidInput, match="has the rollout started"):
        rows.report([], "log")


def test_an_attempt_that_never_was_is_named() -> None:
    with pytest.raises(InvalidInput, match="no row of attempt 3"):
        rows.report([row()], "log", 3)

"""The status that is built from the store's row."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from orchestrator_operator.specs.conditions import MESSAGE_LIMIT, condition, upsert
from orchestrator_operator.specs.execution import ExecutionStatus, build_status, show_duration

from orchestrator.model import Failure, Status
from tests.support.cluster import merge
from tests.support.stores import running

if TYPE_CHECKING:
    from orchestrator.store import ExecutionRecord

AT = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)
RECORD = running(
    AT, id="5f0c", revision="af05b9243c419cac", current_node="charge", done=3, total=7, retries=1, seq=9, version=9
)
SUCCESS = replace(RECORD, status=Status.SUCCESS, done=7, finished_at=AT + timedelta(seconds=2.4), output={"r": 1})
FAILED = replace(
    RECORD,
    status=Status.FAILED,
    finished_at=AT + timedelta(seconds=1),
    failure=Failure("HttpStatus", "the service answered 422", node="charge"),
)


def conditions(record: ExecutionRecord) -> dict[str, tuple[str, str]]:
    return {item["type"]: (item["status"], item["reason"]) for item in build_status(record)["conditions"]}


def test_a_running_one() -> None:
    status = build_status(RECORD)
    assert (status["phase"], status["engine"], status["currentNode"]) == ("Running", "v2", "charge")
    assert (status["progress"], status["retries"], status["duration"]) == ("3/7", 1, None)
    assert status["startedAt"] == "2026-03-01T12:00:00.123Z"
    assert conditions(RECORD) == {"Accepted": ("True", "Submitted"), "Succeeded": ("Unknown", "Running")}


def test_a_successful_one_tells_duration_and_output() -> None:
    status = build_status(SUCCESS)
    assert (status["phase"], status["duration"], status["output"]) == ("Success", "2.4s", {"r": 1})
    assert status["currentNode"] is None
    assert conditions(SUCCESS)["Succeeded"] == ("True", "Success")


def test_a_failed_one_tells_where_and_why() -> None:
    status = build_status(FAILED)
    assert (status["phase"], status["reason"], status["currentNode"]) == ("Failed", "HttpStatus", "charge")
    assert status["message"] == "node charge: the service answered 422"
    assert conditions(FAILED)["Succeeded"] == ("False", "Failed")


def test_a_restored_one_tells_how_to_resume_it() -> None:
    status = build_status(replace(RECORD, status=Status.SUSPENDED, message="Restored"))
    assert (status["phase"], status["reason"]) == ("Suspended", "Restored")
    assert "orchestrator.dev/resume" in status["message"]


def test_a_large_output_is_a_reference() -> None:
    status = build_status(replace(SUCCESS, output={"rows": ["x" * 100] * 50}))
    assert status["output"] is None
    assert status["outputReference"].endswith("orchestrator executions show 5f0c")


def test_what_an_earlier_state_left_is_removed_and_what_others_wrote_stays() -> None:
    before = merge({}, build_status(FAILED)) | {"handled": {"resume": "1"}}
    after = merge(before, build_status(RECORD))
    assert "message" not in after
    assert "finishedAt" not in after
    assert after["handled"] == {"resume": "1"}


@pytest.mark.parametrize("status", Status)
def test_every_status_is_a_phase_of_the_schema(status: Status) -> None:
    ended = AT if status.terminal else None
    written = merge({}, build_status(replace(RECORD, status=status, finished_at=ended)))
    assert ExecutionStatus.model_validate(written).phase == status.value.capitalize()


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20_000)
json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | text,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=200), inner, max_size=20),
)


@given(
    text,
    st.text(max_size=2000),
    json_value,
    st.sampled_from(Status),
    st.from_regex(r"\A[a-z][A-Za-z0-9_]{0,62}\Z"),
    text,
)
@example("𝄞" * 20_000, "𝄞" * 2000, "x" * 4090, Status.FAILED, "n" * 63, "𝄞" * 20_000)
def test_a_status_is_never_over_10_kb(
    message: str, kind: str, output: Any, status: Status, node: str, suspended: str
) -> None:
    record = replace(
        RECORD,
        status=status,
        output=output,
        current_node=node,
        message=suspended,
        finished_at=AT if status.terminal else None,
        failure=Failure(kind, message, node=node) if status is Status.FAILED else None,
    )
    handled = {"handled": {"resume": "x" * 256, "suspend": True}}
    assert len(json.dumps(build_status(record) | handled, ensure_ascii=False).encode()) <= 10_240


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0s"),
        (2.44, "2.4s"),
        (59.94, "59.9s"),
        (59.96, "1m00s"),
        (192, "3m12s"),
        (3720, "1h02m"),
        (183_600, "2d03h"),
    ],
)
def test_durations_for_people(seconds: float, shown: str) -> None:
    assert show_duration(timedelta(seconds=seconds)) == shown


class TestConditions:
    def test_the_transition_time_moves_only_with_the_status(self) -> None:
        first = condition("Valid", False, "A", "…", at=AT)
        later = AT + timedelta(hours=1)
        (same,) = upsert([first], [condition("Valid", False, "B", "…", at=later)])
        (other,) = upsert([first], [condition("Valid", True, "B", "…", at=later)])
        assert (same["reason"], same["lastTransitionTime"]) == ("B", "2026-03-01T12:00:00Z")
        assert other["lastTransitionTime"] == "2026-03-01T13:00:00Z"

    def test_others_stay_and_what_is_no_condition_goes(self) -> None:
        found = upsert(
            [{"type": "Other", "status": "True"}, 3, {"status": "True"}], [condition("A", None, "", "", at=AT)]
        )
        assert [item["type"] for item in found] == ["Other", "A"]

    @pytest.mark.parametrize("existing", [None, "x", 3, {}])
    def test_anything_may_stand_there(self, existing: Any) -> None:
        assert len(upsert(existing, [condition("A", True, "", "", at=AT)])) == 1

    def test_a_long_message_shows_that_it_was_cut(self) -> None:
        message = condition("A", True, "", "x" * 5000, at=AT)["message"]
        assert len(message.encode()) == MESSAGE_LIMIT
        assert message.endswith("…")

    def test_no_character_is_cut_in_two(self) -> None:
        assert set(condition("A", True, "", "𝄞" * 5000, at=AT)["message"]) == {"𝄞", "…"}

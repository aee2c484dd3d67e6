"""`logs`: what a cluster tells of an execution, in order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from orchestrator_operator.cli.verbs import story
from orchestrator_operator.cli.verbs.standing import Standing
from orchestrator_operator.cli.verbs.story import Line

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
BODY: dict[str, Any] = {
    "metadata": {"name": "one", "creationTimestamp": "2026-03-01T12:00:00Z"},
    "spec": {"workflow": "flow"},
    "status": {
        "phase": "Failed",
        "engine": "v2",
        "revision": "abc",
        "progress": "1/3",
        "duration": "2.0s",
        "message": "node pay: 503",
        "startedAt": "2026-03-01T12:00:00.500Z",
        "finishedAt": "2026-03-01T12:00:02.500Z",
    },
}


def test_a_resource_tells_its_creation_its_start_and_its_end() -> None:
    assert [str(line) for line in story.of_resource(BODY)] == [
        "2026-03-01T12:00:00.000Z execution    created: an execution of flow",
        "2026-03-01T12:00:00.500Z execution    started on v2, revision abc",
        "2026-03-01T12:00:02.500Z execution    Failed after 2.0s, 1/3 nodes: node pay: 503",
    ]


def test_one_that_goes_on_says_where_it_stands() -> None:
    running = {**BODY, "status": {"phase": "Waiting", "currentNode": "pay", "progress": "1/3"}}
    assert story.where(Standing.of(running)) == "now Waiting at pay, 1/3 nodes"
    assert story.where(Standing.of(BODY)) == ""


def test_lines_of_a_container_have_its_node_and_attempt_and_their_own_moments() -> None:
    labels = {"orchestrator.dev/node": "pack", "orchestrator.dev/attempt": "2"}
    source = story.container_of({"metadata": {"name": "p", "labels": labels}})
    lines = story.of_log("2026-03-01T12:00:01.123456789Z hello world\n2026-03-01T12:00:02.0Z \n", source)
    assert [(line.source, line.text) for line in lines] == [("pack#2", "hello world"), ("pack#2", "")]
    assert lines[0].at == AT + timedelta(seconds=1, microseconds=123456)


def test_an_event_stands_where_it_happened_last() -> None:
    event = {"metadata": {}, "reason": "Approved", "message": "by ada", "lastTimestamp": "2026-03-01T12:00:01Z"}
    (line,) = story.of_events([event])
    assert (line.at, line.text) == (AT + timedelta(seconds=1), "Approved: by ada")


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=4))
def test_everything_is_told_once_in_order_and_ties_keep_their_order(parts: list[list[int]]) -> None:
    made = [
        [Line(AT + timedelta(seconds=second), str(part), str(place)) for place, second in enumerate(sorted(seconds))]
        for part, seconds in enumerate(parts)
    ]
    found = story.in_order(*made)
    assert [line.at for line in found] == sorted(line.at for part in made for line in part)
    for part, lines in enumerate(made):
        assert [line for line in found if line.source == str(part)] == lines


@given(st.text())
def test_a_line_without_a_moment_is_told_as_it_is(text: str) -> None:
    assert story.line_of(text, "a#1").text in text

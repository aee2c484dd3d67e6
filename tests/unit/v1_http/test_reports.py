"""What the legacy engine says, read into one form; what cannot be read is never guessed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.engines.v1_http import reports
from orchestrator.engines.v1_http.reports import Answer, BadReport, Report
from orchestrator.engines.v1_http.words import Words
from orchestrator.model import Failure, Status

WORDS = Words.parse("ok=success")


def answer(status: int, body: Any = None) -> Answer:
    return Answer(status, body, f"POST https://legacy answered {status}")


@pytest.mark.parametrize(
    ("document", "report"),
    [
        ({"status": "success"}, Report(Status.SUCCESS)),
        ({"status": "ok", "output": [1]}, Report(Status.SUCCESS, output=[1])),
        ({"status": "success", "error": "ignored"}, Report(Status.SUCCESS)),
        ({"status": "cancelled", "output": 1}, Report(Status.CANCELLED)),
        ({"status": "running", "node": "b"}, Report(Status.RUNNING, node="b")),
        ({"status": "queued", "node": None}, Report(Status.RUNNING)),
        ({"status": "failed", "error": " no stock "}, reports.failed("V1Failed", "no stock")),
        ({"status": "failed", "error": {"message": "no"}}, reports.failed("V1Failed", "no")),
        ({"status": "failed", "error": {"code": "E1", "message": "no"}}, reports.failed("V1Failed", "E1: no")),
        ({"status": "failed", "error": ["ü"]}, reports.failed("V1Failed", '["ü"]')),
        ({"status": "Error"}, reports.failed("V1Failed", "the legacy engine says 'Error' and no more")),
    ],
)
def test_a_document_is_read(document: Any, report: Report) -> None:
    assert reports.from_document(document, WORDS) == report


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([1], "$"),
        (None, "$"),
        ({}, "status"),
        ({"status": ""}, "status"),
        ({"status": 3}, "status"),
        ({"status": "purple"}, "status"),
        ({"status": "success", "ouput": 1}, "ouput"),
        ({"status": "running", "node": 7}, "node"),
        ({"status": "running", "node": "x" * 201}, "node"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_field(document: Any, field: str) -> None:
    with pytest.raises(BadReport) as caught:
        reports.from_document(document, WORDS)
    assert [problem.path for problem in caught.value.problems] == [field]


@pytest.mark.parametrize("message", ["a\x00b", "a\ud800b", "x" * 100_000])
def test_a_message_is_what_any_store_can_keep(message: str) -> None:
    failure = reports.failed("V1Failed", message).failure
    assert failure is not None
    assert "\x00" not in failure.message
    assert len(failure.message.encode()) <= 2010


@pytest.mark.parametrize(
    ("status", "body", "field", "expected"),
    [
        (200, {"a": 1}, "", Report(Status.SUCCESS, output={"a": 1})),
        (204, None, "", Report(Status.SUCCESS)),
        (200, {"state": "ok", "output": 1}, "state", Report(Status.SUCCESS, output=1)),
        (200, {"state": "failed", "error": "no"}, "state", reports.failed("V1Failed", "no")),
        (200, {"state": "cancelled"}, "state", Report(Status.CANCELLED)),
        (202, {"state": "ok"}, "state", "V1BadAnswer"),
        (202, None, "", "V1BadAnswer"),
        (200, {"state": "running"}, "state", "V1BadAnswer"),
        (200, {"state": "purple"}, "state", "V1BadAnswer"),
        (200, {}, "state", "V1BadAnswer"),
        (200, "ok", "state", "V1BadAnswer"),
        (307, None, "", "HttpStatus"),
        (500, {"state": "ok"}, "state", "HttpStatus"),
    ],
)
def test_an_answer_is_an_outcome(status: int, body: Any, field: str, expected: Report | str) -> None:
    report = reports.from_answer(answer(status, body), field, WORDS)
    if isinstance(expected, str):
        assert report.failure is not None
        assert (report.status, report.failure.kind) == (Status.FAILED, expected)
    else:
        assert report == expected


@pytest.mark.parametrize(
    ("status", "refused"),
    [(200, False), (202, False), (307, True), (400, True), (404, True), (408, False), (429, True), (500, False)],
)
def test_a_post_is_refused_by_what_cannot_have_started_it(status: int, refused: bool) -> None:
    assert (reports.refusal(answer(status)) is not None) is refused


def test_a_timeout_says_when_and_why() -> None:
    report = reports.timed_out(datetime(2026, 3, 1, 12, tzinfo=UTC), doubt="the table has no row")
    assert report.failure == Failure(
        "V1Timeout", "no outcome by 2026-03-01T12:00:00Z (ORCHESTRATOR_V1_TIMEOUT): the table has no row"
    )

"""What the legacy engine says about an execution, read into one form: pure.

A report that cannot be read is a verdict of its own (`BadReport`), never a guess.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from orchestrator.errors import InvalidInput, Problem
from orchestrator.model import Failure, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from orchestrator.engines.v1_http.words import Words

LARGEST: Final = 1 << 20  # bytes of an answer, a callback or an output in a table
_LONGEST = 2000  # characters of a message that are kept
_LONGEST_NODE = 200
_FIELDS: Final = ("status", "output", "error", "node")
_OK, _ACCEPTED, _BEYOND = 200, 202, 300
_REQUEST_TIMEOUT, _SERVER_ERROR = 408, 500


@dataclass(frozen=True, slots=True)
class Report:
    """How an execution stands: RUNNING (perhaps at `node`), SUCCESS with `output`, FAILED with `failure`, CANCELLED."""

    status: Status
    output: Any = None
    failure: Failure | None = None
    node: str = ""


class BadReport(InvalidInput):
    """A report that cannot be read; its one problem names the field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__([Problem(field, message)])

    @property
    def message(self) -> str:
        """What is wrong, without the field."""
        return self.problems[0].message


@dataclass(frozen=True, slots=True)
class Answer:
    """What the endpoint answered to the post of an execution."""

    status: int
    body: Any  # parsed if it is JSON, else text; None if it is empty
    shown: str  # request, status and an excerpt, for messages

    @property
    def accepted(self) -> bool:
        """Any 2xx."""
        return _OK <= self.status < _BEYOND


def failed(kind: str, message: str) -> Report:
    """A failure that this side found; never repeated by itself, as V1 never is."""
    return Report(Status.FAILED, failure=Failure(kind, _cut(message), retryable=False))


def timed_out(deadline: datetime, *, doubt: str) -> Report:
    """No outcome was learnt in time; `doubt` is what is known of why."""
    why = f": {doubt}" if doubt else ""
    return failed("V1Timeout", f"no outcome by {deadline:%Y-%m-%dT%H:%M:%SZ} (ORCHESTRATOR_V1_TIMEOUT){why}")


def from_document(document: Any, words: Words) -> Report:
    """`{"status": word, "output": …, "error": text or object, "node": id}`; raises BadReport."""
    if not isinstance(document, dict):
        raise BadReport("$", "must be a JSON object")
    unknown = sorted(set(document) - set(_FIELDS))
    if unknown:
        raise BadReport(unknown[0], f"is no field that exists here; these do: {', '.join(_FIELDS)}")
    node = document.get("node") or ""
    if not isinstance(node, str) or len(node) > _LONGEST_NODE:
        raise BadReport("node", f"must be text of at most {_LONGEST_NODE} characters")
    return from_fields(document.get("status"), document.get("output"), document.get("error"), node, words)


def from_fields(word: Any, output: Any, error: Any, node: str, words: Words) -> Report:
    """A report from its parts, as a row or a document holds them; raises BadReport."""
    if not isinstance(word, str) or not word.strip():
        raise BadReport("status", "is required: a word such as running, success, failed or cancelled")
    meaning = words.meaning(word)
    if meaning is None:
        raise BadReport("status", f"{word[:50]!r} is a word that nobody told us: add it to ORCHESTRATOR_V1_STATUSES")
    match meaning:
        case Status.SUCCESS:
            return Report(meaning, output=output)
        case Status.FAILED:
            return failed("V1Failed", _told(error) or f"the legacy engine says {word.strip()!r} and no more")
        case Status.CANCELLED:
            return Report(meaning)
        case _:
            return Report(meaning, node=_clean(node)[:_LONGEST_NODE])


def from_answer(answer: Answer, status_field: str, words: Words) -> Report:
    """The outcome when the answer is all that there ever is of it."""
    if not answer.accepted:
        return failed("HttpStatus", answer.shown)
    if answer.status == _ACCEPTED:
        wrong = "it was accepted, and is not over; set ORCHESTRATOR_V1_OUTCOME to table or callback"
    elif not status_field:
        return Report(Status.SUCCESS, output=answer.body)
    elif not isinstance(answer.body, dict):
        wrong = f"must be a JSON object with the field {status_field!r}"
    else:
        body: Mapping[str, Any] = answer.body
        try:
            report = from_fields(body.get(status_field), body.get("output"), body.get("error"), "", words)
        except BadReport as bad:
            wrong = f"{status_field}: {bad.message}"
        else:
            if report.status is not Status.RUNNING:
                return report
            wrong = "it says that the execution is not over"
    return failed("V1BadAnswer", f"{answer.shown}: {wrong}")


def refusal(answer: Answer) -> Report | None:
    """A refused post, when the outcome is learnt elsewhere; None if the execution was, or may have been, started.

    A 5xx or 408 may come from a gateway behind which the execution goes on: the table or the callback tells.
    """
    if answer.accepted or answer.status >= _SERVER_ERROR or answer.status == _REQUEST_TIMEOUT:
        return None
    return failed("HttpStatus", answer.shown)


def cleaned(report: Report, clean: Callable[[Any], Any]) -> Report:
    """A report with its output and its message as `clean` leaves them."""
    failure = report.failure
    if failure is not None:
        failure = replace(failure, message=clean(failure.message))
    return replace(report, output=clean(report.output), failure=failure)


def _told(error: Any) -> str:
    """What failed, in words: text as it is, an object's `message`, else the JSON itself."""
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        kind = error.get("kind") or error.get("name") or error.get("code")
        return f"{kind}: {error['message']}" if isinstance(kind, str) else str(error["message"])
    if error is None or isinstance(error, str):
        return (error or "").strip()
    return json.dumps(error, ensure_ascii=False)


def _cut(text: str) -> str:
    text = _clean(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _clean(text: str) -> str:
    """Without what no database keeps as text: a foreign message must not be what fails the record of a failure."""
    return text.encode(errors="replace").decode().replace("\x00", "\ufffd")

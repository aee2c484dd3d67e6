"""What is answered when a request cannot be accepted: RFC 9457 documents that name the field and say what to do."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from orchestrator.errors import InvalidInput, OrchestratorError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATH: Final = "/functions/v1/execute-workflow"
MEDIA_TYPE: Final = "application/problem+json"
_AGAIN: Final = 2  # seconds after which what is away may be back


class Refused(OrchestratorError):
    """A request is refused; `status` is the HTTP status, `problems` name the fields."""

    def __init__(
        self, status: HTTPStatus, problems: Sequence[Problem], *, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status, self.problems, self.headers = status, tuple(problems), dict(headers or {})
        super().__init__("; ".join(map(str, problems)))


class KeyTaken(OrchestratorError):
    """The idempotency key is that of another request; `field` is where the two differ."""

    def __init__(self, field: str, execution_id: str) -> None:
        self.field, self.execution_id = field, execution_id
        super().__init__(
            f"the idempotency key is that of execution {execution_id}, which was asked for with another `{field}`: "
            "send the same request again, or take a new key"
        )


def bad_request(path: str, message: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, [Problem(path, message)])


def later(status: HTTPStatus, message: str, seconds: int) -> Refused:
    """A refusal that will pass; `seconds` say when it is worth while to come again."""
    return Refused(status, [Problem("", message)], headers={"Retry-After": str(seconds)})


def document(status: HTTPStatus, problems: Sequence[Problem]) -> dict[str, Any]:
    """The body of an answer that refuses."""
    return {
        "title": status.phrase,
        "status": status.value,
        "detail": "; ".join(map(str, problems)),
        "errors": [{"field": problem.path, "message": problem.message} for problem in problems],
    }


def response(refused: Refused) -> web.Response:
    text = json.dumps(document(refused.status, refused.problems), ensure_ascii=False) + "\n"
    return web.Response(
        status=refused.status, text=text, content_type=MEDIA_TYPE, charset="utf-8", headers=refused.headers
    )


def unavailable(message: str) -> Refused:
    """Something that this needs is away."""
    advice = "come again; with an idempotency key nothing is executed twice"
    return later(HTTPStatus.SERVICE_UNAVAILABLE, f"{message}: {advice}", _AGAIN)


def unprocessable(error: InvalidInput) -> Refused:
    """It was understood and cannot be run; paths as the caller wrote them."""
    problems = [Problem(problem.path.removeprefix("spec."), problem.message) for problem in error.problems]
    return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, problems)


def of_the_library(error: web.HTTPException) -> Refused:
    """What aiohttp itself refuses: an unknown path or method, a body that is too large."""
    status = HTTPStatus(error.status)
    messages = {
        HTTPStatus.NOT_FOUND: ("", f"there is nothing here; executions are asked for at POST {PATH}"),
        HTTPStatus.METHOD_NOT_ALLOWED: ("", f"only POST {PATH} and GET {PATH}/ID are there"),
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("body", "is larger than is allowed here: hand on a reference instead"),
    }
    path, message = messages.get(status, ("", error.reason or status.phrase))
    allow: Any = error.headers.get("Allow")
    return Refused(status, [Problem(path, message)], headers={"Allow": allow} if allow else {})

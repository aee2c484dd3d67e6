"""The door's OpenAPI document, made of the models that the code checks with; committed, and served as it is.

python -m orchestrator.door.openapi [--check]
"""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from orchestrator.door.answers import ExecutionAnswer, ProblemAnswer
from orchestrator.door.problems import MEDIA_TYPE, PATH
from orchestrator.door.request import KEY_HEADER, LONGEST_KEY, ExecuteRequest

DOCUMENT: Final = "/functions/v1/openapi.json"
COMMITTED: Final = Path(__file__).parents[2] / "docs" / "openapi.json"

_REFUSALS: Final = {
    "400": "The request cannot be understood; each error names its field.",
    "401": "The bearer token is missing or nobody's.",
    "404": "No execution of this id is here.",
    "408": "The body did not come in time.",
    "413": "The body is larger than is allowed here.",
    "422": "It is understood and cannot be run: no such workflow, an input that does not fit, a key that is taken.",
    "429": "Workers do not keep up. Come again after Retry-After; nothing new was accepted.",
    "500": "A defect of the server; the log says more.",
    "503": "The store or the tokens cannot be reached, or the process ends. Come again, with the same idempotency key.",
}
_POST = ("400", "401", "408", "413", "422", "429", "500", "503")
_GET = ("400", "401", "404", "500", "503")


def build() -> dict[str, Any]:
    """The document, OpenAPI 3.1."""
    models: list[Any] = [(ExecuteRequest, "validation"), (ExecutionAnswer, "validation"), (ProblemAnswer, "validation")]
    _, schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Orchestrator: execute-workflow",
            "version": "1",
            "description": "Executes workflows on the engine that the flag USE_ORCHESTRATOR_V2 chooses, as an "
            "Execution resource would be. See docs/http-door.md.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "Wherever the door listens."}],
        "security": [{"token": []}],
        "paths": {PATH: {"post": _post()}, PATH + "/{id}": {"get": _get()}},
        "components": {
            "schemas": dict(sorted(schemas["$defs"].items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {code: _refusal(code, text) for code, text in _REFUSALS.items()},
            "parameters": {"wait": _wait(), "traceparent": _traceparent()},
        },
    }


def _post() -> dict[str, Any]:
    key = {
        "name": KEY_HEADER,
        "in": "header",
        "description": "The same request with the same key is executed once; a quoted string or the bare key.",
        "schema": {"type": "string", "maxLength": 2 * LONGEST_KEY + 2},
    }
    return {
        "operationId": "executeWorkflow",
        "summary": "Execute a workflow.",
        "description": "Accepted requests are durable before they are answered. With `wait` the answer comes when the "
        "execution is over, or when that time is.",
        "parameters": [{"$ref": "#/components/parameters/wait"}, key, {"$ref": "#/components/parameters/traceparent"}],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/ExecuteRequest"},
                    "example": {"workflow": "order-fulfilment", "input": {"orderId": "A-17"}, "idempotencyKey": "A-17"},
                }
            },
        },
        "responses": _answers(_POST),
    }


def _get() -> dict[str, Any]:
    id_ = {"name": "id", "in": "path", "required": True, "description": "The execution's id.", "schema": _TEXT}
    return {
        "operationId": "readExecution",
        "summary": "Ask how an execution stands, or wait for its end.",
        "parameters": [id_, {"$ref": "#/components/parameters/wait"}],
        "responses": _answers(_GET),
    }


_TEXT: Final = {"type": "string"}


def _answers(refusals: tuple[str, ...]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/ExecutionAnswer"}}}
    location = {"description": "Where to ask how it stands.", "schema": {"type": "string", "format": "uri-reference"}}
    return {
        "200": {"description": "It is over; `status` says how.", "content": content},
        "202": {"description": "It is accepted and not over.", "headers": {"Location": location}, "content": content},
        **{code: {"$ref": f"#/components/responses/{code}"} for code in refusals},
    }


def _refusal(code: str, text: str) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}}}
    answer: dict[str, Any] = {"description": text, "content": content}
    if code in ("429", "503"):
        answer["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
    if code == "401":
        answer["headers"] = {"WWW-Authenticate": {"description": "Bearer.", "schema": _TEXT}}
    return answer


def _wait() -> dict[str, Any]:
    return {
        "name": "wait",
        "in": "query",
        "allowEmptyValue": True,
        "description": "How long to wait for the end: `30s`, `500ms`, plain seconds, or empty for as long as is "
        "allowed here.",
        "schema": _TEXT,
    }


def _traceparent() -> dict[str, Any]:
    return {
        "name": "traceparent",
        "in": "header",
        "description": "W3C Trace Context: the execution's spans and the requests of its steps belong to this trace.",
        "schema": _TEXT,
    }


@cache
def text() -> str:
    """The document as it is committed and served."""
    return json.dumps(build(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the committed document, or check it; returns the exit code."""
    if arguments == ["--check"]:
        same = COMMITTED.exists() and COMMITTED.read_text(encoding="utf-8") == text()
        if not same:
            sys.stderr.write(f"{COMMITTED} is not what the code says: run `make generate`\n")
        return 0 if same else 1
    COMMITTED.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

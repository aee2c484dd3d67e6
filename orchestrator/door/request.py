"""A request to execute a workflow, from its bytes to a checked value. Pure; every refusal names the field.

JSON as a parser would leave it open is refused: a key twice (which one counts?), NaN, nesting beyond what expressions
read, whole numbers beyond 64 bits, text that no store can keep.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from orchestrator import durations
from orchestrator.door.problems import Refused, bad_request
from orchestrator.jsonvalues import first_problem
from orchestrator.problems import problems_of

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY_HEADER: Final = "Idempotency-Key"
LONGEST_KEY: Final = 256
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,3})?")
_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')

Key = Annotated[str, Field(min_length=1, max_length=LONGEST_KEY)]


class ExecuteRequest(BaseModel):
    """What to run. Only `workflow` is required."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=False, extra="forbid", frozen=True, strict=True
    )

    workflow: Annotated[str, Field(min_length=1, max_length=253, description="Name of the Workflow.")]
    input: Annotated[
        dict[str, Any], Field(description="The input: a JSON object, checked against the workflow's input.schema.")
    ] = {}
    idempotency_key: Annotated[
        Key | None,
        Field(
            description="The same request with the same key is executed once, however often it is sent. "
            f"The header {KEY_HEADER} says the same."
        ),
    ] = None
    routing_key: Annotated[
        Key | None, Field(description="Executions with the same key stay on the same engine while the percent grows.")
    ] = None
    engine: Annotated[
        Literal["auto", "v1", "v2"],
        Field(
            description="auto (the default) lets the flag decide; v1 and v2 choose, and are not judged by a rollout."
        ),
    ] = "auto"


def read_request(body: bytes, key_header: str | None) -> ExecuteRequest:
    """The request in a body, and the key of a header if there is one; raises Refused."""
    value = _json(body)
    if not isinstance(value, dict):
        raise bad_request("body", 'must be a JSON object, such as {"workflow": "order-fulfilment", "input": {}}')
    if (problem := first_problem(value, "")) is not None:
        raise Refused(HTTPStatus.BAD_REQUEST, [problem])
    try:
        request = ExecuteRequest.model_validate(value)
    except ValidationError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, problems_of(error, "")) from None
    key = read_key(key_header)
    if key is None or key == request.idempotency_key:
        return request
    if request.idempotency_key is not None:
        raise bad_request(KEY_HEADER, "is another key than `idempotencyKey` in the body: send one of them")
    return request.model_copy(update={"idempotency_key": key})


def only(values: Sequence[str], name: str) -> str | None:
    """What a header or query parameter says; raises Refused where it is sent more than once: which one would count?"""
    if len(values) > 1:
        raise bad_request(name, f"is sent {len(values)} times: send it once")
    return values[0] if values else None


def read_key(header: str | None) -> str | None:
    """The key in a header `Idempotency-Key`: a quoted string as the standard's draft has it, or the bare key."""
    if header is None:
        return None
    text = header.strip(" \t")
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if not 1 <= len(key) <= LONGEST_KEY or not key.isprintable() or (key.startswith('"') and not quoted):
        raise bad_request(KEY_HEADER, f"must be a printable key of 1 to {LONGEST_KEY} characters, quoted or not")
    return key


def read_wait(text: str | None, longest: timedelta) -> timedelta | None:
    """How long a caller wants to wait: `30s`, `500ms`, plain seconds, empty for as long as may be. None: not at all."""
    if text is None:
        return None
    if not text:
        return longest
    try:
        wait = timedelta(seconds=float(text)) if _SECONDS.fullmatch(text) else durations.parse(text)
    except ValueError as error:
        raise bad_request("wait", str(error)) from None
    if wait > longest:
        message = f"is longer than {durations.show(longest)}, the longest here: ask again at the answer's Location"
        raise bad_request("wait", message)
    return wait


def _json(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), parse_constant=_no_constant, object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        raise bad_request("body", f"is not UTF-8 text: {error.reason}") from None
    except RecursionError:
        raise bad_request("body", "is nested too deeply") from None
    except ValueError as error:
        raise bad_request("body", f"is not JSON: {error}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for name, member in pairs:
        if name in value:
            raise ValueError(f"the key {name[:100]!r} stands twice in one object")
        value[name] = member
    return value

"""Requests to one execution as annotations of its resource: what people and `kubectl orchestrator` write. Pure.

    signal.orchestrator.dev/ID     {"name": "shipped", "payload": {"parcel": "4711"}}
    approval.orchestrator.dev/ID   {"approved": true, "by": "ada", "node": "manager", "comment": "as agreed"}

Each request has an annotation of its own: two at once cannot overwrite each other, and `kubectl annotate` refuses to.
The operator carries it out, answers in `status.handled.requests`, and takes the annotation off. A signal's ID is its
id in the store, where of one id only the first counts.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError

from orchestrator.errors import InvalidExecution, Problem
from orchestrator.jsonvalues import child, first_problem
from orchestrator.problems import problems_of
from orchestrator_operator.specs import GROUP

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNAL: Final = f"signal.{GROUP}/"
APPROVAL: Final = f"approval.{GROUP}/"
LARGEST: Final = 128 * 1024  # bytes of a request; all annotations of an object together may have 256 KB
KEPT: Final = 5  # answers that a status carries, so that it stays below 10 KB; so many requests are taken at a time
_ID = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_STRICT = ConfigDict(extra="forbid", frozen=True)


class Signal(BaseModel):
    """Tell a waiting execution something."""

    model_config = _STRICT

    name: Annotated[str, Field(min_length=1, max_length=63, description="The signal's name.")]
    payload: Annotated[Any, Field(description="What it carries, checked against its node's schema.")] = None


class Approval(BaseModel):
    """Say yes or no to an approval."""

    model_config = _STRICT

    approved: Annotated[StrictBool, Field(description="true: yes; false: no.")]
    by: Annotated[
        str, Field(min_length=1, max_length=200, description="Who decides, as the request says: nobody proves it.")
    ]
    node: Annotated[
        str | None,
        Field(min_length=1, max_length=63, description="The approval's node; without it the one that waits."),
    ] = None
    comment: Annotated[str | None, Field(max_length=2000, description="Why.")] = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it stands on the resource; `text` may be anything."""

    key: str  # of the annotation
    text: str

    @property
    def id(self) -> str:
        return self.key.partition("/")[2]

    @property
    def short(self) -> str:
        """How the status names it: signal/parcel-4711."""
        kind, _, name = self.key.partition(f".{GROUP}/")
        return f"{kind}/{name}"

    @property
    def digest(self) -> str:
        """Tells whether the text is still the one that was answered."""
        return hashlib.sha256(self.text.encode(errors="replace")).hexdigest()[:16]


def requests_in(annotations: Mapping[str, Any]) -> tuple[Asked, ...]:
    """The requests among an object's annotations, in the order of their names."""
    return tuple(Asked(key, str(annotations[key])) for key in sorted(annotations) if key.startswith((SIGNAL, APPROVAL)))


def ask(kind: type[Signal | Approval], request_id: str, **fields: Any) -> Asked:
    """The annotation that asks for it. Raises InvalidExecution with the field."""
    if not _ID.fullmatch(request_id):
        message = f"{request_id!r} is no name of an annotation: at most 63 letters, digits, and - _ . in between"
        raise InvalidExecution([Problem("--id", message)])
    if problem := first_problem(fields, ""):  # JSON would write a NaN as null
        raise InvalidExecution([problem])
    try:
        request = kind.model_validate(fields)
    except ValidationError as error:
        raise InvalidExecution(problems_of(error, "")) from None
    text = request.model_dump_json(exclude_none=kind is Approval)
    if len(text.encode()) > LARGEST:
        message = f"the request has {len(text.encode())} bytes, and at most {LARGEST} are taken: send a reference"
        raise InvalidExecution([Problem("payload" if kind is Signal else "comment", message)])
    return Asked((SIGNAL if kind is Signal else APPROVAL) + request_id, text)


def read(asked: Asked) -> Signal | Approval:
    """The request of an annotation. Raises InvalidExecution, with the annotation's path and the field's."""
    path = child("metadata.annotations", asked.key)
    if len(asked.text.encode(errors="replace")) > LARGEST:
        raise InvalidExecution([Problem(path, f"is larger than {LARGEST} bytes: send a reference")])
    try:
        value = json.loads(asked.text)
    except (ValueError, RecursionError) as error:
        raise InvalidExecution([Problem(path, f"is not JSON: {error}")]) from None
    if problem := first_problem(value, path):
        raise InvalidExecution([problem])
    model = Signal if asked.key.startswith(SIGNAL) else Approval
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InvalidExecution(problems_of(error, path)) from None

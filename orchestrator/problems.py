"""Turns what pydantic says into problems with a path and a plain sentence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orchestrator.errors import Problem
from orchestrator.jsonvalues import child

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_MARKS = frozenset({"[key]", "[text]", "[secret]"})  # "the key itself" (pydantic's), and which kind of value was meant
_SHOULD = re.compile(r"^[A-Z][a-z]+ should ")
_SENTENCES = {
    "extra_forbidden": "is no field that exists here; check its spelling",
    "missing": "is required",
    "model_type": "must be a map",
    "dict_type": "must be a map",
    "mapping_type": "must be a map",
    "too_short": "must not be empty",
    "list_type": "must be a list",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
}


def problems_of(error: ValidationError, path: str) -> list[Problem]:
    """Every finding of a validation, its place written below `path`."""
    return [_problem(details, path) for details in error.errors(include_url=False, include_input=False)]


def _problem(details: ErrorDetails, path: str) -> Problem:
    for part in details["loc"]:
        if part not in _MARKS:
            path = child(path, part)
    return Problem(path, _SENTENCES.get(details["type"]) or _plain(details["msg"]))


def _plain(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return _SHOULD.sub("must ", message)

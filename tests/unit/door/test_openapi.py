"""The OpenAPI document: valid, and committed as the code has it. That answers keep to it is held by all other tests."""

from __future__ import annotations

from openapi_spec_validator import OpenAPIV31SpecValidator

from orchestrator.door import openapi
from orchestrator.door.problems import PATH


def test_it_is_valid() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(openapi.build()).iter_errors()] == []


def test_it_is_committed_as_the_code_has_it() -> None:
    assert openapi.COMMITTED.read_text(encoding="utf-8") == openapi.text(), "run `make generate`"


def test_its_example_is_a_request() -> None:
    body = openapi.build()["paths"][PATH]["post"]["requestBody"]["content"]["application/json"]
    openapi.ExecuteRequest.model_validate(body["example"])

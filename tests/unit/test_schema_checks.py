"""What a stranger's schema and a stranger's input can cost together is bounded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from orchestrator.schemas import input_problems, schema_problems

LONG = 200


def doubled(levels: int) -> dict[str, Any]:
    """A schema of so many lines that asks for 2**levels checks."""
    twice = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": {**twice, f"d{levels}": {"type": "object"}}}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|aa)+$", "(a*)*b", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_no_regular_expression_takes_for_ever(pattern: str) -> None:
    text = "a" * 100_000 + "!"
    for schema in ({"type": "string", "pattern": pattern}, {"patternProperties": {pattern: {"type": "integer"}}}):
        assert schema_problems(schema, "spec.input.schema") == []
        input_problems(schema, text if "pattern" in schema else {text: 1}, "spec.input")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (doubled(50), {}),
        ({"type": "array", "items": {"anyOf": [{"const": n} for n in range(LONG)]}}, [-1] * 20_000),
        ({"type": "array", "items": {"items": {"enum": list(range(LONG))}}}, [[LONG] * 1000] * 1000),
    ],
    ids=["doubling", "many alternatives", "many items"],
)
def test_a_check_that_takes_too_long_says_so(schema: dict[str, Any], value: Any) -> None:
    assert schema_problems(schema, "spec.input.schema") == []
    (problem,) = input_problems(schema, value, "spec.input")
    assert problem.path == "spec.input"
    assert "cannot be applied: more than 100000 steps" in problem.message


@pytest.mark.timeout(30)
def test_uniqueness_is_found_in_one_pass() -> None:
    many = [{"n": n} for n in range(100_000)]
    schema = {"type": "array", "uniqueItems": True}
    assert input_problems(schema, many, "spec.input") == []
    assert input_problems(schema, [*many, {"n": 1.0}], "spec.input") != []


def test_a_large_ordinary_input_is_checked_to_its_end() -> None:
    schema = {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["id"],
            "properties": {"id": {"type": "string", "pattern": "^[a-z0-9-]+$"}},
        },
    }
    assert input_problems(schema, [{"id": f"order-{n}"} for n in range(10_000)], "spec.input") == []


@pytest.mark.parametrize("pattern", ["(?=a)b", r"(a)\1", "(?<!x)y", "a{2000}", "(", "(?P<n>a)(?P=n)"])
def test_what_cannot_be_matched_in_linear_time_is_refused_when_the_workflow_is(pattern: str) -> None:
    (problem,) = schema_problems({"properties": {"a": {"pattern": pattern}}}, "spec.input.schema")
    assert problem.path == "spec.input.schema.properties.a.pattern"
    assert "RE2" in problem.message


NAMES = st.sampled_from(["a", "b", "ab", "c1"])
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, 1.0, 1.5, "a", "ab", "1"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
SCHEMAS = st.recursive(
    st.sampled_from(
        [{}, True, False, {"type": "string"}, {"type": "integer"}, {"pattern": "^a"}, {"uniqueItems": True}]
    ),
    lambda inner: st.one_of(
        st.builds(lambda s: {"items": s}, inner),
        st.builds(lambda s: {"properties": {"a": s}, "additionalProperties": False}, inner),
        st.builds(lambda s, t: {"patternProperties": {"^a": s, "b$": t}}, inner, inner),
        st.builds(
            lambda s, t: {"properties": {"a": s}, "patternProperties": {"b": s}, "additionalProperties": t},
            inner,
            inner,
        ),
        st.builds(lambda s, t: {"anyOf": [s, t]}, inner, inner),
        st.builds(lambda s: {"not": s}, inner),
    ),
    max_leaves=6,
)


@given(schema=SCHEMAS, value=VALUES)
def test_the_bounds_change_no_answer(schema: Any, value: Any) -> None:
    """What fits by the library's own rules fits by ours, and what does not, does not."""
    whole = {"allOf": [schema]}
    assert (input_problems(whole, value, "spec.input") == []) == Draft202012Validator(whole).is_valid(value)

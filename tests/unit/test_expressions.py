from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import durations, expressions
from orchestrator.errors import ExpressionError
from orchestrator.expressions import check, check_condition, evaluate, evaluate_condition, references
from orchestrator.jsonvalues import canonical
from orchestrator.templates import Expression, TemplateSyntaxError, parse

SCOPE = expressions.scope(
    "e-1",
    {
        "shop": "http://shop",
        "amount": 3,
        "share": 0.5,
        "yes": True,
        "nothing": None,
        "list": [1, 2],
        "map": {"b": 1, "a": 2},
    },
    {"reserve": {"status": 200, "body": {"hold": "h-1"}}, "skipped": None},
)


def give(text: str, **more: Any) -> Any:
    return evaluate(text, {**SCOPE, **more}, "spec.x")


def failure(text: str, **more: Any) -> str:
    with pytest.raises(ExpressionError) as caught:
        give(text, **more)
    return str(caught.value)


# ---- where an expression begins and ends


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("${input.a}", "input.a"),
        ("${ input.a }", "input.a"),
        ("${{'a': {'b': 1}}.a}", "{'a': {'b': 1}}.a"),
        ("${'}'}", "'}'"),
        ('${"}\\"}"}', '"}\\"}"'),
        ("${'''it's }'''}", "'''it's }'''"),
        ("${r'\\' + '}'}", "r'\\' + '}'"),
        ("${1 // }\n + 2}", "1 // }\n + 2"),
    ],
)
def test_a_whole_expression_ends_at_its_own_brace(text: str, expression: str) -> None:
    assert parse(text).whole == Expression(expression)


def test_text_around_expressions_is_kept() -> None:
    assert parse("a ${b} c ${d}").parts == ("a ", Expression("b"), " c ", Expression("d"))


def test_a_doubled_dollar_stands_for_itself() -> None:
    assert give("costs $${5} and ${input.amount}") == "costs ${5} and 3"


def test_a_dollar_without_a_brace_is_text() -> None:
    assert give("$5 $ {x} }") == "$5 $ {x} }"


@pytest.mark.parametrize("text", ["${", "a ${input.x", "${'}", "${ }", "${}"])
def test_a_broken_template_is_refused(text: str) -> None:
    with pytest.raises(TemplateSyntaxError):
        parse(text)


@given(st.text())
def test_text_without_expressions_stays_as_it_is(text: str) -> None:
    assert parse(text.replace("$", "")).parts == (text.replace("$", ""),)


# ---- values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${input.amount}", 3),
        ("${input.share}", 0.5),
        ("${input.yes}", True),
        ("${input.nothing}", None),
        ("${input.list}", [1, 2]),
        ("${input.map}", {"a": 2, "b": 1}),
        ("${nodes.reserve.output.body.hold}", "h-1"),
        ("${nodes.skipped.output}", None),
        ("${execution.id}", "e-1"),
        ("${input.list.map(x, x * 2)}", [2, 4]),
        ("${timestamp('2031-05-01T08:00:00Z')}", "2031-05-01T08:00:00Z"),
        ("${timestamp('2031-05-01T08:00:00+02:00')}", "2031-05-01T06:00:00Z"),
        ("${duration('90s')}", "90s"),
        ("${duration('1500ms')}", "1.5s"),
        ("${7u}", 7),
    ],
)
def test_a_whole_expression_keeps_the_type_of_its_value(text: str, value: Any) -> None:
    result = give(text)
    assert result == value
    assert type(result) is type(value)


def test_values_in_text_are_written_as_json() -> None:
    assert give("${input.amount} ${input.share} ${input.yes} ${input.map} ${input.shop}") == (
        '3 0.5 true {"a":2,"b":1} http://shop'
    )


def test_every_string_of_a_value_is_evaluated_and_nothing_else() -> None:
    template = {"a": ["${input.amount}", {"b": "x${input.amount}"}], "c": None, "d": 1.5, "e": "plain"}
    assert evaluate(template, SCOPE, "spec") == {"a": [3, {"b": "x3"}], "c": None, "d": 1.5, "e": "plain"}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_value_comes_back_exactly(value: Any) -> None:
    # canonical texts, because 1 == 1.0 == True in Python
    assert canonical(give("${input}", input=value)) == canonical(value)


@given(json_values)
def test_the_keys_of_a_result_are_in_the_same_order_in_every_process(value: Any) -> None:
    result = give("${{'value': input}}", input=value)["value"]
    if isinstance(result, dict):
        assert list(result) == sorted(result)


def test_a_duration_that_was_computed_can_be_used_as_one() -> None:
    assert durations.parse(give("${duration('1h') + duration('1500ms')}")).total_seconds() == 3601.5


# ---- failures name the place and the expression


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("${nodes.skipped.output.body}", "a field is read of a value without fields"),
        ("${input.nothing.x}", "a field is read of a value without fields"),
        ("${nodes.reserve.output.body.hoold}", 'there is no key "hoold"'),
        ("${nodes.later.output}", "nodes.later.output is not known at this point"),
        ("${input.amount + 0.5}", "write double(x)"),
        ("${input.amount / 0}", "divide by zero"),
        ("${1.0 / 0.0}", "inf is not a JSON number"),
        ("${{1: 2}}", "the keys of a JSON map are text"),
        ("${{0: 1, 'a': 2}}", "the keys of a JSON map are text"),
        ("${b'x'}", "bytes"),
        ("${type(1)}", "JSON has no form for"),
        ("x${input.nothing}", "null cannot be put into text"),
        ("${18446744073709551615u}", "64 bits"),
        ("${'a\\u0000b'}", "NUL"),
    ],
)
def test_a_failure_names_place_expression_and_reason(text: str, reason: str) -> None:
    message = failure(text)
    assert message.startswith("spec.x: ${")
    assert reason in message


def test_the_place_of_a_failure_is_exact() -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate({"body": {"list": ["ok", "${input.nope}"]}}, SCOPE, "spec.nodes[1].with")
    assert caught.value.path == "spec.nodes[1].with.body.list[1]"
    assert caught.value.expression == "input.nope"


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [2**63]}, "input.a[0]"),
        ({"a": "x\x00y"}, "input.a"),
        ({"a": {"b": "\ud800"}}, "input.a.b"),
        (float("nan"), "input"),
    ],
)
def test_a_value_that_the_language_would_bend_is_refused_by_its_name(value: Any, place: str) -> None:
    assert f"{place}: " in failure("${input}", input=value)


def test_only_the_values_that_an_expression_reads_are_looked_at() -> None:
    assert give("${input.amount}", nodes={"big": {"output": 2**70}}) == 3


def test_a_runaway_comprehension_is_stopped() -> None:
    assert "10,000 steps" in failure("${input.all(x, input.all(y, true))}", input=list(range(200)))


def test_a_condition_gives_true_or_false_only() -> None:
    assert evaluate_condition("${input.amount > 2}", SCOPE, "spec.when") is True
    with pytest.raises(ExpressionError, match="it gave a number, not true or false"):
        evaluate_condition("${input.amount}", SCOPE, "spec.when")


# ---- what an expression reads


@pytest.mark.parametrize(
    ("expression", "nodes"),
    [
        ("nodes.a.output", {"a"}),
        (".nodes.a.output.x", {"a"}),
        ("nodes.a.output == nodes.b.output ? nodes.c.output : {'k': nodes.d.output}.k", {"a", "b", "c", "d"}),
        ("input.list.filter(x, x == nodes.a.output)", {"a"}),
        ("nodes.a.output[nodes.b.output.i]", {"a", "b"}),
        ("has(nodes.a.output.x)", {"a"}),
        ("'nodes.a.output'", set()),
        ("'${nodes.a.output}' + r'nodes.b.output'", set()),
        ("input.nodes.a.output", set()),
        ("[{'a': {'output': 1}}].map(nodes, nodes.a.output)", set()),
        ("1 // nodes.a.output", set()),
    ],
)
def test_references_are_what_the_checker_resolves(expression: str, nodes: set[str]) -> None:
    assert references(expression) == nodes


def messages(value: Any, **options: Any) -> list[str]:
    return [str(problem) for problem in check(value, "spec.x", **{"upstream": [], **options})]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("${input.}", "does not compile: Syntax error"),
        ("${foo(1)}", "undeclared reference to 'foo'"),
        ("${nods.a.output}", "undeclared reference to 'nods.a.output'"),
        ("${item}", "undeclared reference to 'item'"),
        ("${execution.name}", "undeclared reference to 'execution.name'"),
        ("${nodes.a.outptu}", "write nodes.<id>.output"),
        ("${nodes['a'].output}", "write nodes.<id>.output"),
        ("${nodes.a}", "write nodes.<id>.output"),
        ("${has(nodes.a.output)}", "write nodes.a.output != null"),
        ("${1 + 'a'}", "found no matching overload"),
        ("${" + "1 + " * 1500 + "1}", "4096 are allowed"),
        ("${" + "[" * 40 + "]" * 40 + "}", "recursion limit"),
        ("${'a\x00b'}", "NUL"),
        ("${input.x", "no closing }"),
    ],
)
def test_a_bad_expression_is_found_when_the_workflow_is_checked(text: str, complaint: str) -> None:
    (message,) = messages(text)
    assert message.startswith("spec.x: ")
    assert complaint in message


@pytest.mark.parametrize("name", ["item", "result"])
def test_a_name_of_one_place_is_known_there(name: str) -> None:
    assert messages(f"${{{name}.id}}", extra=frozenset({name})) == []
    assert give(f"${{{name}}}", **{name: 5}) == 5


@pytest.mark.parametrize("name", ["item", "result"])
def test_a_name_of_one_place_is_unknown_elsewhere(name: str) -> None:
    other = frozenset({"item", "result"} - {name})
    (message,) = messages(f"${{{name}}}", extra=other)
    assert f"undeclared reference to '{name}'" in message


def test_a_node_that_exists_but_is_not_upstream_is_told_apart_from_one_that_does_not_exist() -> None:
    first, second = messages(["${nodes.a.output}", "${nodes.b.output}"], known=["a"])
    assert first == "spec.x[0]: ${nodes.a.output} reads 'a', which is not upstream: add it to needs"
    assert second == "spec.x[1]: ${nodes.b.output} reads 'b', and there is no such node"


def test_a_key_with_an_expression_is_refused() -> None:
    assert messages({"${input.k}": 1}) == [
        'spec.x["${input.k}"]: a key is taken as it stands: expressions are for values'
    ]


def test_every_bad_expression_of_a_value_is_reported() -> None:
    assert len(messages({"a": "${x} ${y}", "b": ["${z}"]})) == 3


@pytest.mark.parametrize("text", ["true", "a ${input.x > 1}", "${1 + 1}", "${'true'}", "${input.x > 1} "])
def test_a_condition_must_be_one_expression_that_can_be_true(text: str) -> None:
    assert len(check_condition(text, "spec.when", upstream=[])) == 1


@pytest.mark.parametrize("text", ["${input.x > 1}", "${input.flag}", "${nodes.a.output != null}"])
def test_a_condition_whose_type_fits_or_is_unknown_is_accepted(text: str) -> None:
    assert check_condition(text, "spec.when", upstream=["a"]) == []

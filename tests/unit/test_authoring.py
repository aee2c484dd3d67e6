from __future__ import annotations

import copy
import itertools
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import graph
from orchestrator.authoring import (
    WorkflowSpec,
    check_available,
    check_input,
    compile_workflow,
    load_definition,
    read_document,
)
from orchestrator.errors import InvalidExecution, InvalidWorkflow
from orchestrator.model import RetryPolicy, Workflow

SAMPLES = Path(__file__).parents[2] / "deploy" / "samples"
A = {"id": "a", "type": "transform", "with": {"x": 1}}


def compiled(spec: Any) -> Workflow:
    return compile_workflow(spec, namespace="shop", name="order")


def problems(spec: Any) -> dict[str, str]:
    with pytest.raises(InvalidWorkflow) as caught:
        compiled(spec)
    return {problem.path: problem.message for problem in caught.value.problems}


def nodes(*more: dict[str, Any]) -> dict[str, Any]:
    return {"nodes": [A, *more]}


def node(id_: str, *needs: str, **fields: Any) -> dict[str, Any]:
    return {"id": id_, "type": "transform", "needs": list(needs), **fields}


# ---- what is accepted


def test_a_workflow_has_the_id_of_its_resource() -> None:
    assert compiled(nodes()).id == "shop/order"


def test_what_nobody_wrote_has_a_default() -> None:
    (only,) = compiled(nodes()).nodes
    assert only.timeout == timedelta(seconds=30)
    assert only.retry == RetryPolicy(5, timedelta(milliseconds=500), 2.0, timedelta(minutes=1), "full", None)


def test_a_node_goes_over_the_defaults_field_by_field() -> None:
    spec = {
        "defaults": {"timeout": "5s", "retry": {"maxAttempts": 3, "initialInterval": "1s", "maxElapsed": "1h"}},
        "nodes": [{**A, "retry": {"maxAttempts": 8, "jitter": "none"}}, node("b", timeout="1s")],
    }
    first, second = compiled(spec).nodes
    assert first.retry == RetryPolicy(8, timedelta(seconds=1), 2.0, timedelta(minutes=1), "none", timedelta(hours=1))
    assert (first.timeout, second.timeout) == (timedelta(seconds=5), timedelta(seconds=1))
    assert second.retry.max_attempts == 3


@pytest.mark.parametrize("name", ["order-fulfilment", "fan-out"])
def test_the_samples_are_valid(name: str) -> None:
    document = read_document(SAMPLES / f"{name}.yaml")
    workflow = compile_workflow(document.spec, namespace=document.namespace, name=document.name)
    assert workflow.id == f"default/{name}"


# ---- revision and definition


@pytest.mark.parametrize("name", ["order-fulfilment", "fan-out"])
def test_a_stored_definition_gives_the_same_workflow(name: str) -> None:
    workflow = compiled(read_document(SAMPLES / f"{name}.yaml").spec)
    stored = json.loads(json.dumps(workflow.definition))
    assert load_definition(stored, workflow.id) == workflow


@pytest.mark.parametrize(
    "same",
    [
        {"nodes": [{"with": {"x": 1}, "type": "transform", "id": "a"}]},
        {"nodes": [{**A, "with": {"x": 1.0}}]},
        {"nodes": [{**A, "timeout": "30000ms"}]},
        {"nodes": [{**A, "needs": []}], "defaults": {"timeout": "0.5m", "retry": {"multiplier": 2.0}}},
    ],
)
def test_the_revision_does_not_depend_on_how_the_same_thing_is_written(same: dict[str, Any]) -> None:
    assert compiled(same).revision == compiled(nodes()).revision


@pytest.mark.parametrize(
    "other",
    [
        {"nodes": [{**A, "with": {"x": 2}}]},
        {"nodes": [{**A, "timeout": "31s"}]},
        {"nodes": [{**A, "id": "b"}]},
        {"nodes": [A], "output": "${nodes.a.output}"},
        {"nodes": [A], "input": {"schema": {}}},
        {"nodes": [A], "defaults": {"retry": {"maxAttempts": 4}}},
    ],
)
def test_the_revision_changes_with_the_content(other: dict[str, Any]) -> None:
    assert compiled(other).revision != compiled(nodes()).revision


def test_a_revision_is_sixteen_hexadecimal_digits_that_never_change() -> None:
    # Stored executions are pinned to it: a change here is a change of the stored format.
    assert compiled(nodes()).revision == "5be415aa2731a2ad"


def test_compiling_changes_nothing_of_what_was_handed_in() -> None:
    spec = nodes(node("b", "a", retry={"maxAttempts": 2}, **{"with": {"n": 1.0}}))
    before = copy.deepcopy(spec)
    compiled(spec)
    assert spec == before


# ---- what is refused


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        ({}, "spec.nodes", "is required"),
        ({"nodes": []}, "spec.nodes", "must not be empty"),
        ({"nodes": "a"}, "spec.nodes", "must be a list"),
        ({"nodes": ["a"]}, "spec.nodes[0]", "must be a map"),
        ({"nodes": [node(f"n{index}") for index in range(10_001)]}, "spec.nodes", "at most 10000"),
        (nodes({"type": "wait"}), "spec.nodes[1].id", "is required"),
        (nodes(node("B")), "spec.nodes[1].id", "must match pattern"),
        (nodes(node("a/b")), "spec.nodes[1].id", "must match pattern"),
        (nodes(node("x" * 64)), "spec.nodes[1].id", "at most 63 characters"),
        (nodes(node("true")), "spec.nodes[1].id", "word of the expression language"),
        (nodes(node("a")), "spec.nodes[1].id", "is the id of spec.nodes[0] already"),
        (nodes(node("b", "c")), "spec.nodes[1].needs[0]", "there is no node 'c'"),
        (nodes(node("b", "a", "a")), "spec.nodes[1].needs[1]", "stands here twice"),
        (nodes(node("b", "b")), "spec.nodes[1].needs", "b → b"),
        (nodes(node("b", tiemout="3s")), "spec.nodes[1].tiemout", "is no field that exists here"),
        (nodes(node("b", timeout="3")), "spec.nodes[1].timeout", "is not a duration"),
        (nodes(node("b", timeout="0s")), "spec.nodes[1].timeout", "at least 1ms"),
        (nodes(node("b", when="yes")), "spec.nodes[1].when", "exactly one ${ … }"),
        (nodes(node("b", when=True)), "spec.nodes[1].when", "must be text"),
        (nodes(node("b", retry={"maxAttempts": 0})), "spec.nodes[1].retry.maxAttempts", "greater than or equal to 1"),
        (nodes(node("b", retry={"maxAttempts": "3"})), "spec.nodes[1].retry.maxAttempts", "must be a whole number"),
        (nodes(node("b", retry={"multiplier": 0.5})), "spec.nodes[1].retry.multiplier", "greater than or equal to 1"),
        (nodes(node("b", retry={"jitter": "half"})), "spec.nodes[1].retry.jitter", "'full' or 'none'"),
        (nodes(node("b", retry={"maxInterval": "x"})), "spec.nodes[1].retry.maxInterval", "is not a duration"),
        ({**nodes(), "defaults": {"retry": {"maxAttempts": 0}}}, "spec.defaults.retry.maxAttempts", "greater than"),
        ({**nodes(), "frob": 1}, "spec.frob", "is no field that exists here"),
        (nodes({"id": "b", "type": "htpp"}), "spec.nodes[1].type", "is no node type; there are approval, container"),
        (nodes(node("b", **{"with": {"x": "${nodes.a.output}"}})), "spec.nodes[1].with.x", "not upstream"),
        (nodes(node("b", "a", **{"with": {"x": "${nodes.z.output}"}})), "spec.nodes[1].with.x", "no such node"),
        (nodes(node("b", **{"with": {"x": "${nodes.b.output}"}})), "spec.nodes[1].with.x", "not upstream"),
        (nodes(node("b", **{"with": {"x": float("nan")}})), "spec.nodes[1].with.x", "not a JSON number"),
        (nodes(node("b", **{"with": {"x": 2**63}})), "spec.nodes[1].with.x", "64 bits"),
        (nodes(node("b", **{"with": {"x": "x" * (4 << 20)}})), "spec", "larger than"),
        ({**nodes(), "output": {"x": "${nodes.z.output}"}}, "spec.output.x", "no such node"),
        ({**nodes(), "output": "${foo}"}, "spec.output", "undeclared reference"),
    ],
)
def test_a_bad_workflow_is_refused_with_the_path_of_the_field(spec: dict[str, Any], path: str, message: str) -> None:
    found = problems(spec)
    assert set(found) == {path}
    assert message in found[path]


def test_a_container_is_refused_wherever_it_stands_where_there_are_none() -> None:
    box = {"type": "container", "with": {"image": "shop/box:1"}}
    spec = nodes(
        {"id": "b", **box},
        {"id": "c", "type": "map", "with": {"items": [], "do": box}},
        {"id": "d", "type": "transform", "compensate": box},
    )
    workflow = compile_workflow(spec, namespace="default", name="w")
    check_available(workflow, containers=True)
    with pytest.raises(InvalidWorkflow) as refused:
        check_available(workflow, containers=False)
    found = {problem.path: problem.message for problem in refused.value.problems}
    assert set(found) == {"spec.nodes[1].type", "spec.nodes[2].with.do.type", "spec.nodes[3].compensate.type"}
    assert all("ORCHESTRATOR_CONTAINERS=kubernetes" in message for message in found.values())


@pytest.mark.parametrize(
    ("with_", "path", "message"),
    [
        ({"type": "http"}, "url", "is required"),
        ({"type": "http", "with": {"url": "ftp://x"}}, "url", "http:// or https://"),
        ({"type": "http", "with": {"url": "https://me:pw@x"}}, "url", "user or a password"),
        ({"type": "http", "with": {"url": "https://x", "method": "get"}}, "method", "'GET'"),
        ({"type": "http", "with": {"url": "https://x", "expect": []}}, "expect", "must not be empty"),
        ({"type": "http", "with": {"url": "https://x", "expect": [99]}}, "expect[0]", "100"),
        ({"type": "http", "with": {"url": "https://x", "query": {"a": {}}}}, "query.a", "must be text, a number"),
        ({"type": "http", "with": {"url": "https://x", "headers": {"X": "a\nb"}}}, "headers.X", "line break"),
        (
            {"type": "http", "with": {"url": "https://x", "headers": {"idempotency-key": "mine"}}},
            'headers["idempotency-key"]',
            "cannot be set",
        ),
        ({"type": "http", "with": {"url": "https://x", "json": {}}}, "json", "is no field that exists here"),
        ({"type": "wait", "with": {"duration": "soon"}}, "duration", "is not a duration"),
        ({"type": "wait", "with": {"until": "2031-05-01T08:00:00"}}, "until", "with an offset"),
        ({"type": "python", "with": {"call": "${input.f}"}}, "call", "no expression"),
        ({"type": "python", "with": {"call": "a:b", "args": [1]}}, "args", "must be a map"),
    ],
)
def test_each_type_checks_its_with(with_: dict[str, Any], path: str, message: str) -> None:
    found = problems({"nodes": [{"id": "a", **with_}], "input": {}})
    assert message in found[f"spec.nodes[0].with.{path}"]


@pytest.mark.parametrize("with_", [{}, {"duration": "2s", "until": "2031-05-01T08:00:00Z"}])
def test_a_wait_has_exactly_one_end(with_: dict[str, Any]) -> None:
    found = problems({"nodes": [{"id": "a", "type": "wait", "with": with_}]})
    assert found == {"spec.nodes[0].with": "needs exactly one of duration and until"}


def test_an_expression_may_stand_for_any_value() -> None:
    with_ = {
        "method": "${input.method}",
        "url": "${input.url}/x",
        "headers": {"X-Trace": "${input.trace}"},
        "query": "${input.query}",
        "body": "${input}",
        "expect": ["${input.code}", 201],
    }
    spec = {
        "nodes": [
            {"id": "a", "type": "http", "with": with_},
            {"id": "b", "type": "wait", "with": {"until": "${input.t}"}},
        ]
    }
    assert len(compiled(spec).nodes) == 2


def test_all_problems_are_found_at_once() -> None:
    spec = {
        "nodes": [
            node("a", "c"),
            node("b", "a", frob=1),
            node("c", "a", **{"with": {"x": "${nope}"}}),
            {"id": "d", "type": "wait", "needs": ["z"]},
            {"id": "e", "type": "map", "needs": ["b"]},
        ],
        "concurrency": 1,
        "timeout": "soon",
        "input": {"schema": {"type": "objekt"}},
        "output": "${",
    }
    assert set(problems(spec)) == {
        "spec.concurrency",
        "spec.timeout",
        "spec.nodes[1].frob",
        "spec.nodes[0].needs",
        "spec.nodes[2].with.x",
        "spec.nodes[3].needs[0]",
        "spec.nodes[3].with",
        "spec.nodes[4].with.items",
        "spec.nodes[4].with.do",
        "spec.input.schema.type",
        "spec.output",
    }


def test_a_cycle_is_named_in_running_order() -> None:
    (message,) = problems({"nodes": [node("a", "c"), node("b", "a"), node("c", "b")]}).values()
    assert "a → b → c → a" in message


def test_a_chain_as_long_as_allowed_is_no_trouble() -> None:
    chain = [node(f"n{index}", *([f"n{index + 1}"] if index < 9_999 else [])) for index in range(10_000)]
    assert len(compiled({"nodes": chain}).nodes) == 10_000


def above(node_id: str, needs: dict[str, list[str]]) -> set[str]:
    """What lies upstream of a node, by walking."""
    found: set[str] = set()
    pending = list(needs[node_id])
    while pending:
        need = pending.pop()
        if need not in found and need in needs:
            found.add(need)
            pending.extend(needs[need])
    return found


NEEDS = st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3))


@given(NEEDS)
def test_a_cycle_is_found_exactly_if_some_node_is_upstream_of_itself(needs: dict[str, list[str]]) -> None:
    cycle = graph.find_cycle(needs)
    assert bool(cycle) == any(name in above(name, needs) for name in needs)
    if cycle:
        assert cycle[0] == cycle[-1]
        assert all(before in needs[after] for before, after in itertools.pairwise(cycle))


@given(NEEDS)
def test_upstream_is_what_a_walk_along_the_needs_meets(needs: dict[str, list[str]]) -> None:
    if graph.find_cycle(needs):
        return
    upstream = graph.Upstream(needs)
    for name in needs:
        assert {other for other in "abcdef" if other in upstream.of(name)} == above(name, needs)


# ---- input


SCHEMA = {
    "type": "object",
    "required": ["shop", "amount"],
    "properties": {
        "shop": {"type": "string"},
        "amount": {"type": "number", "minimum": 0},
        "list": {"$ref": "#/$defs/l"},
    },
    "$defs": {"l": {"type": "array", "items": {"type": "integer"}}},
}


def input_problems(value: Any, schema: Any = SCHEMA) -> dict[str, str]:
    with pytest.raises(InvalidExecution) as caught:
        check_input(compiled({**nodes(), "input": {"schema": schema}}), value)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_input_that_fits_is_accepted() -> None:
    check_input(compiled({**nodes(), "input": {"schema": SCHEMA}}), {"shop": "x", "amount": 3, "list": [1]})


def test_any_json_is_accepted_without_a_schema() -> None:
    check_input(compiled(nodes()), ["anything"])


def test_each_wrong_field_of_an_input_is_named() -> None:
    found = input_problems({"amount": -1, "list": [1, "x"]})
    assert found["spec.input.shop"] == "is required"
    assert "minimum of 0" in found["spec.input.amount"]
    assert "'x' is not of type 'integer'" in found["spec.input.list[1]"]


def test_what_is_told_of_a_wrong_input_is_bounded() -> None:
    found = input_problems({"shop": ["x" * 5000], "amount": 1, "list": ["y"] * 100})
    assert len(found) <= 21
    assert all(len(message) <= 301 for message in found.values())


def test_an_input_that_no_store_can_keep_is_refused_without_a_schema_too() -> None:
    with pytest.raises(InvalidExecution, match=r"spec\.input\.a\[0\]: .*NUL"):
        check_input(compiled(nodes()), {"a": ["\x00"]})


@pytest.mark.parametrize(
    ("schema", "path", "message"),
    [
        ({"type": "objekt"}, "type", "not valid"),
        ({"properties": {"a": {"minimum": "x"}}}, "properties.a.minimum", "is not of type 'number'"),
        ({"$ref": "https://example.com/schema"}, '["$ref"]', "points outside"),
        ({"properties": {"a": {"$ref": "other.json"}}}, 'properties.a["$ref"]', "points outside"),
        ({"properties": {"const": {"$ref": "file:///etc/passwd"}}}, 'properties.const["$ref"]', "points outside"),
        ({"anyOf": [{"$ref": "#/$defs/x"}]}, 'anyOf[0]["$ref"]', "leads nowhere"),
        ({"properties": {"a": {"pattern": "("}}}, "properties.a.pattern", "no regular expression"),
        ({"patternProperties": {"(": {}}}, 'patternProperties["("]', "no regular expression"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, '["$schema"]', "another dialect"),
        ({"properties": {"a": {"$id": "https://x"}}}, 'properties.a["$id"]', "below the top"),
    ],
)
def test_a_bad_input_schema_is_refused(schema: Any, path: str, message: str) -> None:
    found = problems({**nodes(), "input": {"schema": schema}})
    place = f"spec.input.schema{path}" if path.startswith("[") else f"spec.input.schema.{path}"
    assert message in found[place]


def test_data_within_a_schema_is_no_schema() -> None:
    schema = {"properties": {"a": {"enum": [{"$ref": "https://x"}], "default": {"pattern": "("}}}}
    assert compiled({**nodes(), "input": {"schema": schema}}).input_schema == schema


def test_a_schema_that_refers_to_itself_for_ever_refuses_the_input() -> None:
    assert "cannot be applied" in input_problems({}, {"$ref": "#"})["spec.input"]


# ---- documents


HEAD = "apiVersion: orchestrator.dev/v1alpha1\nkind: Workflow\nmetadata: {name: order}\n"


def document_problem(text: str) -> str:
    with pytest.raises(InvalidWorkflow) as caught:
        read_document(text)
    return str(caught.value)


def test_a_document_without_a_namespace_is_in_the_default_one() -> None:
    assert read_document(HEAD + "spec: {nodes: []}")[:2] == ("default", "order")


def test_json_is_read_too() -> None:
    resource = {
        "apiVersion": "orchestrator.dev/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "x"},
        "spec": {"a": 1},
    }
    assert read_document(json.dumps(resource)).spec == {"a": 1}


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(HEAD + "spec: {nodes: []}\n")
    assert read_document(str(file)) == read_document(file)


def test_a_date_without_quotes_stays_text() -> None:
    assert read_document(HEAD + "spec: {until: 2031-05-01T08:00:00Z}").spec == {"until": "2031-05-01T08:00:00Z"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "spec: {a: [}", "document:4:12: is not YAML"),
        (HEAD + "spec: {a: 1, a: 2}", "document:4:14: is not YAML: the key 'a' stands twice"),
        (HEAD + "spec: !!python/object/apply:os.system [ls]", "is not YAML: could not determine a constructor"),
        (HEAD + "spec: {}\n---\n" + HEAD + "spec: {}", "holds 2 documents"),
        ("[]\n", "is no resource"),
        ("\n", "holds 0 documents"),
        (HEAD.replace("Workflow", "Execution") + "spec: {}", "kind: must be Workflow, not 'Execution'"),
        (HEAD.replace("v1alpha1", "v9") + "spec: {}", "apiVersion: must be orchestrator.dev/v1alpha1"),
        (HEAD, "spec: is required"),
        (HEAD.replace("order", "Order_1") + "spec: {}", "metadata.name: 'Order_1' is no name"),
        (HEAD.replace("{name: order}", "{labels: {}}") + "spec: {}", "metadata.name: is required"),
        (HEAD + "spec: {}\nnodes: []", "nodes: is no field of a resource"),
        (HEAD + "spec: &a {b: *a}", "values once its aliases are followed"),
        (
            HEAD + "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
            "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"
            "spec: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]",
            "values once its aliases are followed",
        ),
    ],
)
def test_a_document_that_is_no_workflow_says_why(text: str, message: str) -> None:
    assert message in document_problem(text)


def test_a_missing_file_is_named() -> None:
    assert document_problem("/nowhere/w.yaml") == "/nowhere/w.yaml: cannot be read: No such file or directory"


# ---- the schema that the CRD is generated from


def test_every_field_carries_a_sentence() -> None:
    schema = WorkflowSpec.model_json_schema(by_alias=True)
    objects = {"WorkflowSpec": schema, **schema["$defs"]}
    missing = [
        f"{name}.{field}"
        for name, body in objects.items()
        for field, value in body.get("properties", {}).items()
        if not value.get("description")
    ]
    assert missing == []

"""What may be written of joins, compensation, limits and each type of node, and what is refused with which sentence."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from orchestrator import expressions, graph
from orchestrator.authoring import compile_workflow, load_definition
from orchestrator.authoring import definition as definitions
from orchestrator.errors import InvalidWorkflow
from orchestrator.model import Concurrency, Join, OnLimit, Workflow

A = {"id": "a", "type": "transform", "with": {"x": 1}}
DO = {"type": "http", "with": {"url": "https://x/${item.id}"}}
BACK = {"type": "http", "with": {"url": "https://x/refund", "body": "${result.id}"}}

#: One of every type of node, with all that it knows.
EVERYTHING: dict[str, Any] = {
    "description": "One of each.",
    "input": {"schema": {"type": "object"}},
    "timeout": "1d",
    "onCancel": "compensate",
    "concurrency": {"limit": 3, "policy": "replace", "key": "${input.customer}"},
    "defaults": {"timeout": "5s", "retry": {"maxAttempts": 3, "retryable": ["5xx", "429", "Timeout"]}},
    "nodes": [
        {"id": "shape", "type": "transform", "with": {"x": "${input.x}"}, "output": "${result.x}"},
        {"id": "call", "type": "http", "with": {"url": "https://x"}, "compensate": {**BACK, "whenFailed": True}},
        {"id": "function", "type": "python", "with": {"call": "m:f"}, "retry": {"nonRetryable": ["ValueError"]}},
        {"id": "pause", "type": "wait", "needs": ["call"], "with": {"duration": "2s"}},
        {
            "id": "each",
            "type": "map",
            "needs": ["shape"],
            "with": {
                "items": "${nodes.shape.output}",
                "key": "${item.id}",
                "concurrency": 5,
                "tolerate": "10%",
                "do": {**DO, "output": "${[item, result]}"},
            },
            "output": "${result.results}",
            "compensate": {"type": "http", "with": {"url": "https://x/${item.id}", "body": "${result}"}},
        },
        {"id": "child", "type": "workflow", "with": {"workflow": "other", "input": {"x": "${input.x}"}}},
        {
            "id": "paid",
            "type": "signal",
            "needs": ["child"],
            "with": {"name": "payment", "schema": {"type": "object"}, "timeout": "1d", "default": None},
        },
        {
            "id": "agree",
            "type": "approval",
            "needs": ["paid"],
            "with": {"approvers": ["ann"], "timeout": "1d", "default": False, "onReject": "continue"},
        },
        {
            "id": "way",
            "type": "switch",
            "needs": ["agree"],
            "with": {"cases": [{"when": "${nodes.agree.output.approved}", "to": ["good"]}], "default": ["bad"]},
        },
        {"id": "good", "type": "transform", "needs": ["way"]},
        {"id": "bad", "type": "fail", "needs": ["way"], "with": {"kind": "No", "message": "no"}},
        {"id": "first", "type": "transform", "needs": ["good", "pause"], "join": "any"},
        {"id": "cleanUp", "type": "transform", "needs": ["first", "each"], "join": "always"},
    ],
    "output": "${nodes.first.output}",
}


def compiled(spec: Any) -> Workflow:
    return compile_workflow(spec, namespace="shop", name="order")


def problems(spec: Any) -> dict[str, str]:
    with pytest.raises(InvalidWorkflow) as caught:
        compiled(spec)
    return {problem.path: problem.message for problem in caught.value.problems}


def node(id_: str, *needs: str, type_: str = "transform", **fields: Any) -> dict[str, Any]:
    return {"id": id_, "type": type_, "needs": list(needs), **fields}


def of(type_: str, **with_: Any) -> dict[str, Any]:
    """A workflow whose second node is of that type, and needs the first."""
    return {"nodes": [A, node("b", "a", type_=type_, **{"with": with_})]}


def also(**fields: Any) -> dict[str, Any]:
    """A workflow with other fields beside its node."""
    return {"nodes": [A], **fields}


def second(**fields: Any) -> dict[str, Any]:
    """A workflow whose second node has these fields."""
    return {"nodes": [A, node("b", "a", **fields)]}


# ---- what is accepted


def test_every_type_of_node_is_accepted_with_all_that_it_knows() -> None:
    assert {found.type for found in compiled(EVERYTHING).nodes} == {
        *("transform", "http", "python", "wait", "map", "workflow", "signal", "approval", "switch", "fail")
    }


def test_a_stored_definition_of_everything_gives_the_same_workflow() -> None:
    workflow = compiled(EVERYTHING)
    again = load_definition(json.loads(json.dumps(workflow.definition)), workflow.id)
    assert again == workflow


def test_what_is_not_written_changes_no_revision() -> None:
    written = compiled(EVERYTHING).definition["nodes"][0]
    assert set(written) == {"id", "type", "needs", "with", "retry", "timeout", "output"}


def test_a_workflow_has_its_limits() -> None:
    workflow = compiled(EVERYTHING)
    assert (workflow.timeout, workflow.undo_on_cancel) == (timedelta(days=1), True)
    assert workflow.concurrency == Concurrency(3, OnLimit.REPLACE, "${input.customer}")


def test_a_limit_queues_unless_it_says_otherwise() -> None:
    assert compiled(also(concurrency={"limit": 1})).concurrency == Concurrency(1, OnLimit.QUEUE, None)


def test_a_node_has_its_join() -> None:
    workflow = compiled(EVERYTHING)
    joins = [workflow.by_id[name].join for name in ("call", "first", "cleanUp")]
    assert joins == [Join.ALL, Join.ANY, Join.ALWAYS]


def test_retries_are_inherited_rule_by_rule() -> None:
    retry = compiled(EVERYTHING).by_id["function"].retry
    assert (retry.only, retry.non_retryable) == (("5xx", "429", "Timeout"), ("ValueError",))


def test_a_compensation_has_the_defaults_of_a_step() -> None:
    undo = compiled(EVERYTHING).by_id["call"].undo
    assert undo is not None
    assert (undo.id, undo.type, undo.timeout, undo.retry.max_attempts) == ("call", "http", timedelta(seconds=5), 3)


def test_what_is_done_for_each_item_has_the_maps_retries_and_timeout() -> None:
    each = compiled(EVERYTHING).by_id["each"]
    assert each.body is not None
    assert (each.body.type, each.body.retry, each.body.timeout) == ("http", each.retry, each.timeout)


@pytest.mark.parametrize(
    "changed",
    [
        also(timeout="2d"),
        also(onCancel="compensate"),
        also(concurrency={"limit": 3}),
        {"nodes": [{**A, "output": 1}]},
        {"nodes": [{**A, "compensate": BACK}]},
        {"nodes": [{**A, "retry": {"retryable": ["5xx"]}}]},
    ],
)
def test_the_revision_changes_with_what_an_execution_does(changed: dict[str, Any]) -> None:
    assert compiled(changed).revision != compiled(also()).revision


def test_the_revision_changes_with_a_join() -> None:
    assert compiled(second(join="any")).revision != compiled(second()).revision


# ---- what is refused


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        (second(join="some"), "spec.nodes[1].join", "'all', 'any' or 'always'"),
        ({"nodes": [node("b", join="any")]}, "spec.nodes[0].join", "'any' joins nothing: the node needs no other"),
        (second(output="${item}"), "spec.nodes[1].output", "undeclared reference to 'item'"),
        (second(output="${nodes.b.output}"), "spec.nodes[1].output", "not upstream"),
        (second(when="${result}"), "spec.nodes[1].when", "undeclared reference to 'result'"),
        (second(**{"with": {"x": "${result}"}}), "spec.nodes[1].with.x", "undeclared reference to 'result'"),
        (second(compensate={}), "spec.nodes[1].compensate.type", "is required"),
        (second(compensate={"type": "wait"}), "spec.nodes[1].compensate.type", "a wait cannot stand here; there are"),
        (
            second(compensate={"type": "frob"}),
            "spec.nodes[1].compensate.type",
            "is no node type; there are container, http",
        ),
        (second(compensate={"type": "http"}), "spec.nodes[1].compensate.with.url", "is required"),
        (
            second(compensate={"type": "transform", "with": {"x": "${item}"}}),
            "spec.nodes[1].compensate.with.x",
            "undeclared reference to 'item'",
        ),
        (second(compensate={**BACK, "needs": []}), "spec.nodes[1].compensate.needs", "is no field that exists here"),
        (second(retry={"retryable": []}), "spec.nodes[1].retry.retryable", "must not be empty"),
        (second(retry={"retryable": ["6xx"]}), "spec.nodes[1].retry.retryable[0]", "must match pattern"),
        (second(retry={"nonRetryable": ["a b"]}), "spec.nodes[1].retry.nonRetryable[0]", "must match pattern"),
        (also(timeout="0s"), "spec.timeout", "at least 1ms"),
        (also(onCancel="undo"), "spec.onCancel", "'stop' or 'compensate'"),
        (also(concurrency={}), "spec.concurrency.limit", "is required"),
        (also(concurrency={"limit": 0}), "spec.concurrency.limit", "greater than or equal to 1"),
        (also(concurrency={"limit": 1, "policy": "wait"}), "spec.concurrency.policy", "'queue', 'skip' or 'replace'"),
        (also(concurrency={"limit": 1, "key": "${nodes.a.output}"}), "spec.concurrency.key", "not upstream"),
        # switch
        (of("switch"), "spec.nodes[1].with.cases", "is required"),
        (of("switch", cases=[]), "spec.nodes[1].with.cases", "must not be empty"),
        (of("switch", cases=[{"when": "${true}", "to": []}]), "spec.nodes[1].with.cases[0].to", "must not be empty"),
        (of("switch", cases=[{"when": "${true}", "to": ["z"]}]), "spec.nodes[1].with.cases[0].to[0]", "no node 'z'"),
        (
            of("switch", cases=[{"when": "${true}", "to": ["a"]}]),
            "spec.nodes[1].with.cases[0].to[0]",
            "'a' does not need 'b': add it to its needs",
        ),
        (
            {
                "nodes": [
                    A,
                    node("b", type_="switch", **{"with": {"cases": [{"when": "1", "to": ["c"]}]}}),
                    node("c", "b"),
                ]
            },
            "spec.nodes[1].with.cases[0].when",
            "exactly one ${ … }",
        ),
        # map
        (of("map", do=DO), "spec.nodes[1].with.items", "is required"),
        (of("map", items="x", do=DO), "spec.nodes[1].with.items", "must be a list"),
        (of("map", items=[], do={"type": "signal"}), "spec.nodes[1].with.do.type", "a signal cannot stand here"),
        (of("map", items=[], do={"type": "map"}), "spec.nodes[1].with.do.type", "a map cannot stand here"),
        (of("map", items=[], do={"type": "http"}), "spec.nodes[1].with.do.with.url", "is required"),
        (of("map", items=[], do={**DO, "retry": {}}), "spec.nodes[1].with.do.retry", "is no field that exists here"),
        (of("map", items=[], do=DO, concurrency=0), "spec.nodes[1].with.concurrency", "greater than or equal to 1"),
        (of("map", items=[], do=DO, key="${result}"), "spec.nodes[1].with.key", "undeclared reference to 'result'"),
        (of("map", items="${item}", do=DO), "spec.nodes[1].with.items", "undeclared reference to 'item'"),
        (
            of("map", items=[], do={"type": "transform", "with": {"x": "${result}"}}),
            "spec.nodes[1].with.do.with.x",
            "undeclared reference to 'result'",
        ),
        # workflow
        (of("workflow"), "spec.nodes[1].with.workflow", "is required"),
        (of("workflow", workflow="${input.w}"), "spec.nodes[1].with.workflow", "and no expression"),
        (
            of("workflow", workflow="ns/other"),
            "spec.nodes[1].with.workflow",
            "name of a workflow in the same namespace",
        ),
        (of("workflow", workflow="other", input=[1]), "spec.nodes[1].with.input", "must be a map"),
        # signal and approval
        (of("signal", name="a b"), "spec.nodes[1].with.name", "must match pattern"),
        (of("signal", timeout="soon"), "spec.nodes[1].with.timeout", "is not a duration"),
        (of("signal", schema={"type": "objekt"}), "spec.nodes[1].with.schema.type", "not valid"),
        (of("approval", approvers=[]), "spec.nodes[1].with.approvers", "must not be empty"),
        (of("approval", onReject="skip"), "spec.nodes[1].with.onReject", "'fail' or 'continue'"),
        (of("approval", default="yes"), "spec.nodes[1].with.default", "must be true or false"),
        # fail
        (of("fail"), "spec.nodes[1].with.message", "is required"),
        (of("fail", message="m", kind="a b"), "spec.nodes[1].with.kind", "must match pattern"),
    ],
)
def test_what_cannot_run_is_refused_with_its_path_and_a_sentence(spec: dict[str, Any], path: str, message: str) -> None:
    found = problems(spec)
    assert set(found) == {path}
    assert message in found[path]


@pytest.mark.parametrize("tolerate", [-1, "10", "101%", 1.5])
def test_a_tolerance_that_is_no_number_and_no_share_is_refused(tolerate: Any) -> None:
    assert all(
        path.startswith("spec.nodes[1].with.tolerate")
        for path in problems(of("map", items=[], do=DO, tolerate=tolerate))
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"type_": "switch", "with": {"cases": [{"when": "${true}", "to": ["c"]}]}},
        {"type_": "fail", "with": {"message": "m"}},
        {"type_": "wait", "with": {"duration": "1s"}},
    ],
)
def test_what_has_no_output_maps_none(fields: dict[str, Any]) -> None:
    found = problems({"nodes": [node("b", output="${result}", **fields), node("c", "b")]})
    assert found == {"spec.nodes[0].output": f"a {fields['type_']} has no output of its own to map"}


# ---- size


def chain(size: int) -> dict[str, Any]:
    text = {"x": "${nodes.n0.output}"}
    nodes = [node(f"n{i}", *([f"n{i - 1}"] if i else []), **{"with": text if i else {}}) for i in range(size)]
    return {"nodes": nodes}


def fan(size: int) -> dict[str, Any]:
    return {"nodes": [A, *(node(f"n{i}", "a") for i in range(size)), node("z", *(f"n{i}" for i in range(size)))]}


@pytest.mark.parametrize("shape", [chain, fan])
def test_twice_as_many_nodes_are_twice_the_work(shape: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(size: int) -> Counter[str]:
        counted: Counter[str] = Counter()

        def count(where: Any, name: str) -> None:
            function = getattr(where, name)

            def wrapped(*args: Any, **kwargs: Any) -> Any:
                counted[name] += 1
                return function(*args, **kwargs)

            patch.setattr(where, name, wrapped)

        with monkeypatch.context() as patch:
            for where, name in (
                (expressions, "check"),
                (graph.Upstream, "of"),
                (graph.Before, "__contains__"),
                (definitions, "_node_definition"),
            ):
                count(where, name)
            compiled(shape(size))
        return counted

    once, twice = work(200), work(400)
    assert once["check"] > 200
    assert {name: twice[name] for name in twice if twice[name] > 2.2 * once[name] + 20} == {}

"""What may be sent to an execution: names, payloads, and who may decide."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator import signals
from orchestrator.errors import InvalidExecution
from orchestrator.testing import Bench
from orchestrator.testing.builders import workflow
from tests.support.situations import node, state

NUMBER = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
TEXT = {"type": "object", "properties": {"n": {"type": "string"}}}
FLOW = workflow(
    {
        "nodes": [
            node("go", type_="signal", with_={"schema": NUMBER}),
            node("later", type_="signal", with_={"name": "shipped"}),
            node("manager", type_="approval", with_={"approvers": ["ada"]}),
            node("anybody", type_="approval"),
            node("end", "go", type_="transform"),
        ]
    }
)


def problems(name: str, payload: Any) -> list[str]:
    return [str(problem) for problem in signals.check_signal(FLOW, name, payload)]


def test_a_payload_that_fits_is_let_through() -> None:
    assert problems("go", {"n": 1}) == []


def test_without_a_schema_anything_goes() -> None:
    assert problems("shipped", ["any", None]) == []


def test_an_unknown_name_tells_those_that_there_are() -> None:
    (said,) = problems("stop", {})
    assert said == "name: no node waits for a signal 'stop'; signals of default/chain: anybody, go, manager, shipped"


def test_a_node_whose_signal_has_another_name_is_not_found_by_its_id() -> None:
    assert "no node waits for a signal 'later'" in problems("later", {})[0]


@pytest.mark.parametrize(
    ("name", "payload", "path"),
    [
        ("go", {"n": "one"}, "payload.n: "),
        ("go", {}, "payload.n: is required"),
        ("manager", {"approved": True}, "payload.approver: is required"),
        ("manager", {"approved": True, "approver": "eve"}, "payload.approver: "),
        ("anybody", {"approved": 1, "approver": "eve"}, "payload.approved: "),
        ("anybody", None, "payload: "),
        ("shipped", {"x": float("nan")}, "payload.x: "),
    ],
)
def test_a_payload_that_does_not_fit_is_told_by_its_path(name: str, payload: Any, path: str) -> None:
    assert problems(name, payload)[0].startswith(path)


def test_with_two_nodes_of_one_name_the_payload_fits_both_or_is_refused() -> None:
    nodes = [
        node(id_, type_="signal", with_={"name": "go", "schema": schema})
        for id_, schema in (("a", NUMBER), ("b", TEXT))
    ]
    assert signals.check_signal(workflow({"nodes": nodes}), "go", {"n": 1})


def test_a_node_that_had_its_signal_takes_no_other() -> None:
    with Bench() as bench:
        x = bench.submit({"nodes": [node("go", type_="signal"), node("other", type_="signal")]})
        bench.signal(x, "go", 1)
        bench.run()
        flow = workflow({"nodes": [node("go", type_="signal"), node("other", type_="signal")]})
        assert signals.check_signal(flow, "go", 2, state(bench, x))[0].message.startswith(
            "every node that waits for 'go' has had"
        )
        assert signals.check_signal(flow, "other", 2, state(bench, x)) == []


def test_the_one_approval_that_waits_is_found() -> None:
    with Bench() as bench:
        spec = {"nodes": [node("first", type_="approval"), node("second", "first", type_="approval")]}
        x = bench.submit(spec)
        bench.settle()
        assert signals.waiting_approval(workflow(spec), state(bench, x)).id == "first"


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ([node("a", type_="approval"), node("b", type_="approval")], "several approvals wait: a, b; name the node"),
        ([node("go", type_="signal"), node("a", "go", type_="approval")], "to decide early, name the node: a"),
        ([node("go", type_="signal")], "has no approval"),
    ],
)
def test_which_approval_is_meant_must_be_clear(nodes: list[dict[str, Any]], says: str) -> None:
    with Bench() as bench:
        x = bench.submit({"nodes": nodes})
        bench.settle()
        with pytest.raises(InvalidExecution, match=says):
            signals.waiting_approval(workflow({"nodes": nodes}), state(bench, x))


def test_an_approval_that_is_named_must_be_one() -> None:
    assert signals.approval_node(FLOW, "manager").id == "manager"
    with pytest.raises(InvalidExecution, match="'go' is no approval; there are manager, anybody"):
        signals.approval_node(FLOW, "go")

"""What the API server itself refuses, by the CRDs: shapes, and every change of an Execution but three."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.specs import EXECUTIONS, GROUP, VERSION

from orchestrator.workflow_spec import MAX_NODES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.live import ControlPlane, Said

pytestmark = pytest.mark.e2e

NAMESPACE = "crd-rules"  # no operator watches it
FULL: dict[str, Any] = {
    "workflow": "chain",
    "input": {"n": 1, "deep": {"list": [1, {"x": None}]}},
    "engine": "auto",
    "routingKey": "customer-1",
    "idempotencyKey": "order-1",
    "from": {"execution": "other", "node": "a"},
}
BARE = {"workflow": "chain"}
CHANGED: dict[str, Any] = {
    "workflow": "other",
    "input": {"n": 2},
    "engine": "v2",
    "routingKey": "customer-2",
    "idempotencyKey": "order-2",
    "from": {"execution": "other", "node": "b"},
}


def execution(name: str, spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": EXECUTIONS.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    control_plane.kubectl("create", "namespace", NAMESPACE)
    for name, spec in (("full", FULL), ("bare", BARE)):
        control_plane.kubectl("create", "-f", "-", stdin=execution(name, spec))
    yield control_plane
    control_plane.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def replace(plane: ControlPlane, name: str, spec: dict[str, Any]) -> Said:
    """What the server would answer; nothing is changed."""
    return plane.ask("replace", "--dry-run=server", "-f", "-", stdin=execution(name, spec))


@pytest.mark.parametrize("field", CHANGED)
def test_a_field_cannot_be_changed(plane: ControlPlane, field: str) -> None:
    said = replace(plane, "full", {**FULL, field: CHANGED[field]})
    assert said.code != 0
    assert "cannot be changed" in said.error


@pytest.mark.parametrize("field", [field for field in CHANGED if field != "workflow"])
def test_a_field_can_be_neither_added_nor_removed(plane: ControlPlane, field: str) -> None:
    added = replace(plane, "bare", {**BARE, field: CHANGED[field]})
    removed = replace(plane, "full", {name: value for name, value in FULL.items() if name != field})
    assert "cannot be changed" in added.error
    assert "cannot be changed" in removed.error


def test_a_change_deep_in_the_input_is_seen(plane: ControlPlane) -> None:
    spec = copy.deepcopy(FULL)
    spec["input"]["deep"]["list"][1]["x"] = 1
    assert "cannot be changed" in replace(plane, "full", spec).error


@pytest.mark.parametrize("field", [{"suspend": True}, {"cancel": True}, {"ttlSecondsAfterFinished": 60}])
def test_three_fields_may_change(plane: ControlPlane, field: dict[str, Any]) -> None:
    assert replace(plane, "full", {**FULL, **field}).code == 0
    assert replace(plane, "bare", {**BARE, **field}).code == 0


def test_a_large_input_is_compared_within_the_servers_budget(plane: ControlPlane) -> None:
    large = {"rows": [{"id": number, "text": "x" * 200} for number in range(3000)]}
    plane.kubectl("create", "-f", "-", stdin=execution("large", {**BARE, "input": large}))
    assert replace(plane, "large", {**BARE, "input": large, "suspend": True}).code == 0
    large["rows"][2999]["text"] = "y"
    assert "cannot be changed" in replace(plane, "large", {**BARE, "input": large}).error


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        (None, "spec"),
        ({}, "spec.workflow"),
        ({"workflow": 3}, "spec.workflow"),
        ({"workflow": "chain", "engine": "v3"}, "spec.engine"),
        ({"workflow": "chain", "input": [1]}, "spec.input"),
        ({"workflow": "chain", "ttlSecondsAfterFinished": -1}, "spec.ttlSecondsAfterFinished"),
        ({"workflow": "chain", "routingKey": "x" * 257}, "spec.routingKey"),
        ({"workflow": "chain", "colour": "red"}, "spec.colour"),
        ({"workflow": "chain", "from": {"node": "a"}}, "spec.from.execution"),
        ({"workflow": "chain", "from": {"execution": ""}}, "spec.from.execution"),
    ],
)
def test_a_wrong_shape_is_refused_at_once(plane: ControlPlane, spec: Any, path: str) -> None:
    said = plane.ask("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=execution("odd", spec))
    assert said.code != 0
    assert path in said.error


def test_two_nodes_of_one_id_are_refused_at_once(plane: ControlPlane) -> None:
    node = {"id": "a", "type": "transform", "with": {}}
    body = execution("twins", {"nodes": [node, node]}) | {"kind": "Workflow"}
    said = plane.ask("create", "--dry-run=server", "-f", "-", stdin=body)
    assert "Duplicate value" in said.error


def test_a_fork_needs_no_node(plane: ControlPlane) -> None:
    body = execution("again", {"workflow": "chain", "from": {"execution": "other"}})
    assert plane.ask("create", "--dry-run=server", "-f", "-", stdin=body).code == 0


def test_a_workflow_may_have_ten_thousand_nodes(plane: ControlPlane) -> None:
    nodes = [
        {"id": f"n{index}", "type": "transform", "needs": [f"n{index - 1}"] if index else []}
        for index in range(MAX_NODES)
    ]
    body = execution("wide", {"nodes": nodes}) | {"kind": "Workflow"}
    assert plane.ask("create", "--dry-run=server", "-f", "-", stdin=body).code == 0


@pytest.mark.parametrize("short", ["owf", "oex", "ero", "orchestrator"])
def test_short_names_and_the_category_work(plane: ControlPlane, short: str) -> None:
    plane.kubectl("get", short, "--namespace", NAMESPACE)

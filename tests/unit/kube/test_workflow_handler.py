"""Workflows through their handler: a fake API server, a real store."""

from __future__ import annotations

from typing import Any

from orchestrator_operator.specs import WORKFLOWS
from orchestrator_operator.specs.conditions import find

from tests.support.cluster import NAMESPACE, Operator
from tests.support.stores import CHAIN

CYCLE = {
    "nodes": [
        {"id": "a", "type": "transform", "needs": ["b"], "with": {}},
        {"id": "b", "type": "transform", "needs": ["a", "zz"], "with": {}},
    ]
}


def valid(body: dict[str, Any]) -> dict[str, Any]:
    return find(body.get("status"), "Valid") or {}


async def test_a_valid_one_tells_its_revision_and_is_kept_in_the_store(operator: Operator) -> None:
    status = (await operator.apply(WORKFLOWS, "chain", CHAIN))["status"]
    assert (status["nodes"], status["observedGeneration"]) == (2, 1)
    kept = await operator.store.workflow(f"{NAMESPACE}/chain", status["revision"])
    assert [node.id for node in kept.nodes] == ["a", "b"]


async def test_an_invalid_one_names_every_field_in_condition_and_event(operator: Operator) -> None:
    body = await operator.apply(WORKFLOWS, "cycle", CYCLE)
    assert (valid(body)["status"], valid(body)["reason"]) == ("False", "InvalidWorkflow")
    assert "spec.nodes[1].needs[1]" in valid(body)["message"]
    assert "a → b → a" in valid(body)["message"]
    assert operator.kubernetes.told("InvalidWorkflow") == [valid(body)["message"]]


async def test_seen_again_nothing_is_written_again(operator: Operator) -> None:
    await operator.apply(WORKFLOWS, "chain", CHAIN)
    await operator.apply(WORKFLOWS, "cycle", CYCLE)
    operator.kubernetes.calls.clear()
    await operator.look(WORKFLOWS, "chain")
    await operator.look(WORKFLOWS, "cycle")
    assert operator.kubernetes.calls == []


async def test_an_invalid_edit_leaves_the_last_valid_revision_named(operator: Operator) -> None:
    before = await operator.apply(WORKFLOWS, "chain", CHAIN)
    after = await operator.apply(WORKFLOWS, "chain", CYCLE)
    assert valid(after)["status"] == "False"
    assert after["status"]["revision"] == before["status"]["revision"]


async def test_running_executions_stay_with_the_revision_they_started_with(operator: Operator) -> None:
    first = await operator.apply(WORKFLOWS, "chain", CHAIN)
    old = await operator.execution("old")
    edited = {**CHAIN, "output": None}
    second = await operator.apply(WORKFLOWS, "chain", edited)
    new = await operator.execution("new")
    revisions = [(await operator.store.get(body["metadata"]["uid"])).revision for body in (old, new)]  # type: ignore[union-attr]  # both are stored
    assert revisions == [first["status"]["revision"], second["status"]["revision"]]
    assert revisions[0] != revisions[1]


async def test_a_late_message_about_an_older_content_changes_nothing(operator: Operator) -> None:
    stale = await operator.apply(WORKFLOWS, "chain", CHAIN)
    body = await operator.apply(WORKFLOWS, "chain", CYCLE)
    await operator.workflows.handle(stale)
    found = await operator.workflows.find(NAMESPACE, "chain")
    assert found is not None
    assert found.workflow is None, body


async def test_a_deleted_one_is_forgotten(operator: Operator) -> None:
    body = await operator.apply(WORKFLOWS, "chain", CHAIN)
    await operator.kubernetes.delete(WORKFLOWS, NAMESPACE, "chain")
    await operator.workflows.gone(body)
    assert await operator.workflows.find(NAMESPACE, "chain") is None


async def test_one_whose_deletion_the_watch_missed_is_forgotten(operator: Operator) -> None:
    await operator.apply(WORKFLOWS, "chain", CHAIN)
    await operator.kubernetes.delete(WORKFLOWS, NAMESPACE, "chain")
    operator.workflows.retain({(NAMESPACE, "other")})
    assert await operator.workflows.find(NAMESPACE, "chain") is None


async def test_malformed_in_every_way_it_gets_a_condition(operator: Operator) -> None:
    odd: list[Any] = [None, [], {"nodes": 3}, {"nodes": [None]}, {"nodes": [{"id": ["x"]}]}]
    for number, spec in enumerate(odd):
        body = await operator.apply(WORKFLOWS, f"odd-{number}", spec)
        assert valid(body)["status"] == "False"

"""`spec.from`: an Execution that begins where another one stood, through the handlers."""

from __future__ import annotations

from typing import Any

import pytest
from orchestrator_operator.specs import EXECUTIONS, WORKFLOWS
from orchestrator_operator.specs.conditions import find

from orchestrator import events as e
from orchestrator.fold import fold
from orchestrator.model import Engine, Failure, Status
from tests.support.cluster import NAMESPACE, Operator, document
from tests.support.stores import CHAIN, claim_one, commit, completed, projection, row

NEWER = {**CHAIN, "description": "the same steps, another revision"}


async def failed(operator: Operator, name: str = "one", workflow: str = "chain") -> dict[str, Any]:
    """An execution on V2 that did `a` and failed at `b`."""
    body = await operator.execution(name, workflow, engine="v2")
    uid, now = body["metadata"]["uid"], operator.clock.now()
    claim = await claim_one(operator.store, uid, now)
    failure = Failure("HttpStatus", "503", node="b", status=503)
    broken = e.StepFailed(now, "b", "transform", 1, failure, now, 1.0, None)
    end = projection(Status.FAILED, current_node="b", done=1, failure=failure, started_at=now, finished_at=now)
    events = (completed("a", {"x": 1}, now), broken, e.ExecutionFailed(now, failure))
    await commit(operator.store, claim, *events, projection=end)
    return body


async def forked(operator: Operator, name: str = "two", **spec: Any) -> dict[str, Any]:
    """The Execution `name`, whose input is not given unless it is said."""
    wanted = {"workflow": "chain", "from": {"execution": "one"}, **spec}
    return await operator.apply(EXECUTIONS, name, wanted)


def refused(body: dict[str, Any]) -> tuple[str, str]:
    says = find(body.get("status"), "Accepted") or {}
    assert says.get("status") == "False", body
    return says["reason"], says["message"]


@pytest.fixture
async def origin(operator: Operator) -> dict[str, Any]:
    await operator.apply(WORKFLOWS, "chain", CHAIN)
    return await failed(operator)


async def test_without_a_node_it_goes_on_where_the_other_failed(operator: Operator, origin: dict[str, Any]) -> None:
    body = await forked(operator)
    state = fold("x", await operator.store.events(body["metadata"]["uid"]))
    assert (state.input, state.step("a").output, state.done) == ({"n": 1}, {"x": 1}, 1)
    assert state.lineage is not None
    assert state.lineage.root == state.lineage.origin == origin["metadata"]["uid"]


async def test_it_runs_on_v2_whatever_the_flag_says_and_no_rollout_judges_it(
    operator: Operator, origin: dict[str, Any]
) -> None:
    found = await row(operator.store, (await forked(operator))["metadata"]["uid"])
    assert (found.engine, found.assignment.value, found.name) == (Engine.V2, "explicit", "two")


async def test_from_a_node_with_another_input_its_keys_are_its_own(operator: Operator, origin: dict[str, Any]) -> None:
    body = await forked(operator, **{"from": {"execution": "one", "node": "b"}, "input": {"n": 2}})
    uid = body["metadata"]["uid"]
    state = fold(uid, await operator.store.events(uid))
    assert (state.input, state.done, state.idempotency_key("b")) == ({"n": 2}, 1, f"{uid}/b")


async def test_from_a_node_it_runs_the_workflow_as_it_is_now(operator: Operator, origin: dict[str, Any]) -> None:
    newer = await operator.apply(WORKFLOWS, "chain", NEWER)
    found = await row(
        operator.store, (await forked(operator, **{"from": {"execution": "one", "node": "b"}}))["metadata"]["uid"]
    )
    assert found.revision == newer["status"]["revision"]


async def test_without_a_node_it_keeps_the_workflow_as_it_was(operator: Operator, origin: dict[str, Any]) -> None:
    before = await row(operator.store, origin["metadata"]["uid"])
    await operator.apply(WORKFLOWS, "chain", NEWER)
    assert (await row(operator.store, (await forked(operator))["metadata"]["uid"])).revision == before.revision


async def test_one_whose_resource_is_gone_is_found_by_its_uid(operator: Operator, origin: dict[str, Any]) -> None:
    await operator.kubernetes.delete(EXECUTIONS, NAMESPACE, "one")
    body = await forked(operator, **{"from": {"execution": origin["metadata"]["uid"]}})
    assert (await row(operator.store, body["metadata"]["uid"])).origin == origin["metadata"]["uid"]


@pytest.mark.parametrize(
    ("spec", "path", "says"),
    [
        ({"from": {"execution": "nobody"}}, "spec.from.execution: ", "no execution 'nobody' in this namespace"),
        ({"from": {"execution": "one", "node": "z"}}, "spec.from.node: ", "there are a, b"),
        ({"from": {"execution": "one"}, "input": {"n": 2}}, "spec.from.node: ", "name a node to begin at"),
        ({"from": {"execution": "one"}, "engine": "v1"}, "spec.from: ", "only V2"),
    ],
)
async def test_a_refusal_names_the_field_and_the_reason(
    operator: Operator, origin: dict[str, Any], spec: dict[str, Any], path: str, says: str
) -> None:
    reason, message = refused(await forked(operator, **spec))
    assert reason == "ForkRefused"
    assert message.startswith(path)
    assert says in message


async def test_an_execution_of_another_workflow_is_refused(operator: Operator, origin: dict[str, Any]) -> None:
    await operator.apply(WORKFLOWS, "other", CHAIN)
    reason, message = refused(await forked(operator, workflow="other"))
    assert (reason, "not of shop/other" in message) == ("ForkRefused", True)


async def test_an_execution_of_another_namespace_is_as_good_as_unknown(
    operator: Operator, origin: dict[str, Any]
) -> None:
    stranger = document(EXECUTIONS, "two", {"workflow": "chain", "from": {"execution": origin["metadata"]["uid"]}})
    await operator.kubernetes.create(WORKFLOWS, "other", document(WORKFLOWS, "chain", CHAIN))
    await operator.kubernetes.create(EXECUTIONS, "other", stranger)
    await operator.executions.handle(await operator.kubernetes.get(EXECUTIONS, "other", "two"))
    _, message = refused(await operator.kubernetes.get(EXECUTIONS, "other", "two"))
    assert "no execution" in message


async def test_one_of_v1_is_refused(operator: Operator) -> None:
    await operator.apply(WORKFLOWS, "chain", CHAIN)
    await operator.execution("one", engine="v1")
    assert "V1" in refused(await forked(operator))[1]


async def test_one_that_is_not_over_is_refused_until_it_is(operator: Operator) -> None:
    await operator.apply(WORKFLOWS, "chain", CHAIN)
    body = await operator.execution("one", engine="v2")
    waiting = await forked(operator)
    assert "not over yet" in refused(waiting)[1]
    uid, now = body["metadata"]["uid"], operator.clock.now()
    claim = await claim_one(operator.store, uid, now)
    await commit(operator.store, claim, e.ExecutionCancelled(now), projection=projection(Status.CANCELLED))
    await operator.look(EXECUTIONS, "two")
    assert (await row(operator.store, waiting["metadata"]["uid"])).origin == uid


async def test_input_that_does_not_fit_the_newer_workflow_is_named(operator: Operator, origin: dict[str, Any]) -> None:
    strict = {**CHAIN, "input": {"schema": {"required": ["m"]}}}
    await operator.apply(WORKFLOWS, "chain", strict)
    reason, message = refused(await forked(operator, **{"from": {"execution": "one", "node": "b"}}))
    assert reason == "InvalidInput"
    assert message.startswith("spec.input.m: ")


async def test_seen_twice_it_is_submitted_once(operator: Operator, origin: dict[str, Any]) -> None:
    body = await forked(operator)
    await operator.look(EXECUTIONS, "two")
    history = await operator.store.events(body["metadata"]["uid"])
    assert [type(recorded.event) for recorded in history] == [e.ExecutionSubmitted, e.StepCarried]

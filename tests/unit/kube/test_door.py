"""The door in the operator: executions as resources, each once, whatever gets lost in between."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator import settings as settings_module
from orchestrator_operator.adapters.kubernetes import Refused as ApiRefused
from orchestrator_operator.adapters.kubernetes import Unavailable
from orchestrator_operator.door import FromResources, ResourceAcceptor, Translating, name_of
from orchestrator_operator.leadership.leader import Deposed
from orchestrator_operator.specs import EXECUTIONS, WORKFLOWS
from orchestrator_operator.specs.execution import parse_execution

from orchestrator.door.problems import KeyTaken, Refused
from orchestrator.errors import InvalidInput
from orchestrator.intake import Request
from orchestrator.model import Assignment, Engine, Trace
from tests.support.cluster import NAMESPACE, FakeKubernetes, Operator
from tests.support.stores import CHAIN, workflow

if TYPE_CHECKING:
    from orchestrator.store import Store
    from orchestrator.testing import FakeClock

FLOW = workflow(CHAIN, namespace=NAMESPACE)
TRACE = Trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1")
_ids = iter(range(1_000_000))


def request(**fields: Any) -> Request:
    return Request(**{"id": f"r{next(_ids)}", "workflow": FLOW, "input": {"n": 1}} | fields)


def resources(operator: Operator) -> list[str]:
    return [name for plural, _, name in operator.kubernetes.objects if plural == EXECUTIONS.plural]


@pytest.fixture
async def acceptor(operator: Operator) -> Translating:
    await operator.apply(WORKFLOWS, "chain", CHAIN)
    return accepting(operator)


def accepting(operator: Operator) -> Translating:
    ttl = timedelta(hours=1)
    resources = ResourceAcceptor(operator.store, operator.api, operator.executions, operator.intake, NAMESPACE, ttl)
    return Translating(resources)


async def test_the_resource_is_what_a_person_would_have_written(operator: Operator, acceptor: Translating) -> None:
    wanted = request(engine=Engine.V2, routing_key="r", idempotency_key="k", trace=TRACE)
    accepted = await acceptor.accept(wanted)
    (name,) = resources(operator)
    body = await operator.kubernetes.get(EXECUTIONS, NAMESPACE, name)
    assert (accepted.id, accepted.created) == (body["metadata"]["uid"], True)
    spec = parse_execution(body["spec"])
    assert (spec.workflow, spec.input, spec.engine) == ("chain", {"n": 1}, "v2")
    assert (spec.routing_key, spec.idempotency_key, spec.ttl_seconds_after_finished) == ("r", "k", 3600)
    record = await operator.store.get(accepted.id)
    assert record is not None
    assert (record.name, record.engine) == (name, Engine.V2)
    (submitted, *_) = await operator.store.events(accepted.id)
    assert submitted.event.trace == TRACE  # type: ignore[union-attr]  # the first event is ExecutionSubmitted


async def test_the_same_key_is_the_same_resource(operator: Operator, acceptor: Translating) -> None:
    answers = [await acceptor.accept(request(idempotency_key="k")) for _ in range(3)]
    assert [answer.created for answer in answers] == [True, False, False]
    assert (len({answer.id for answer in answers}), len(resources(operator))) == (1, 1)


async def test_without_a_key_each_is_one_of_its_own(operator: Operator, acceptor: Translating) -> None:
    answers = [await acceptor.accept(request()) for _ in range(3)]
    assert (len({answer.id for answer in answers}), len(resources(operator))) == (3, 3)


@pytest.mark.parametrize(
    ("change", "field"),
    [({"input": {"n": True}}, "input"), ({"engine": Engine.V2}, "engine"), ({"routing_key": "r"}, "routingKey")],
)
@pytest.mark.parametrize("known", [True, False], ids=["the-store-knows-it", "only-the-resource-is-there"])
async def test_another_request_with_the_key_is_refused(
    operator: Operator, acceptor: Translating, change: dict[str, Any], field: str, known: bool
) -> None:
    if known:
        await acceptor.accept(request(idempotency_key="k"))
    else:  # the process died right after it had made the resource
        from orchestrator_operator.door import resource

        body = resource(request(idempotency_key="k"), NAMESPACE, timedelta(hours=1))
        await operator.kubernetes.create(EXECUTIONS, NAMESPACE, body)
    with pytest.raises(KeyTaken) as taken:
        await acceptor.accept(request(idempotency_key="k", **change))
    assert (taken.value.field, len(resources(operator))) == (field, 1)


async def test_after_a_death_between_the_two_a_retry_finds_the_resource(
    operator: Operator, acceptor: Translating
) -> None:
    from orchestrator_operator.door import resource

    body = resource(request(idempotency_key="k"), NAMESPACE, timedelta(hours=1))
    made = await operator.kubernetes.create(EXECUTIONS, NAMESPACE, body)
    accepted = await acceptor.accept(request(idempotency_key="k"))
    assert (accepted.id, accepted.created) == (made["metadata"]["uid"], False)
    assert await operator.store.get(accepted.id) is not None


@pytest.mark.parametrize("engine", list(Engine))
async def test_without_a_v1_a_retry_that_names_an_engine_is_the_same_request(
    kubernetes: FakeKubernetes, sqlite: Store, clock: FakeClock, engine: Engine
) -> None:
    operator = Operator(kubernetes, sqlite, clock, v1_available=False)
    await operator.apply(WORKFLOWS, "chain", CHAIN)
    first, again = [await accepting(operator).accept(request(idempotency_key="k", engine=engine)) for _ in range(2)]
    record = await sqlite.get(first.id)
    assert record is not None
    assert (record.engine, record.assignment, again.id) == (Engine.V2, Assignment.EXPLICIT, first.id)
    with pytest.raises(KeyTaken):
        await accepting(operator).accept(request(idempotency_key="k"))
    await operator.submissions.aclose()


async def test_a_retry_finds_an_execution_whose_resource_is_gone(operator: Operator, acceptor: Translating) -> None:
    first = await acceptor.accept(request(idempotency_key="k"))
    (name,) = resources(operator)
    await operator.kubernetes.delete(EXECUTIONS, NAMESPACE, name)
    again = await acceptor.accept(request(idempotency_key="k"))
    assert (again.id, again.created, resources(operator)) == (first.id, False, [])


async def test_a_key_that_a_person_gave_to_a_resource_counts(operator: Operator, acceptor: Translating) -> None:
    body = await operator.execution("by-hand", idempotencyKey="k")
    assert (await acceptor.accept(request(idempotency_key="k"))).id == body["metadata"]["uid"]
    with pytest.raises(KeyTaken):
        await acceptor.accept(request(idempotency_key="k", input={"n": 2}))


@pytest.mark.parametrize(
    ("error", "status", "header"),
    [
        (Unavailable("no answer"), 503, "Retry-After"),
        (Deposed("me does not lead"), 503, "Retry-After"),
        (ApiRefused("is forbidden", status=403), 503, "Retry-After"),
        (ApiRefused("is invalid", status=422), 422, None),
    ],
)
async def test_what_the_api_server_says_is_told_as_a_status(
    operator: Operator, acceptor: Translating, error: Exception, status: int, header: str | None
) -> None:
    operator.kubernetes.failures.append(error)  # type: ignore[arg-type]  # each of them is a KubernetesError
    with pytest.raises(Refused) as refused:
        await acceptor.accept(request())
    assert (refused.value.status, next(iter(refused.value.headers), None)) == (status, header)


def test_names_are_names_whatever_the_workflow_is_called() -> None:
    for name in ("chain", "a.b.c", "x" * 253, "1.1"):
        made = name_of(request(workflow=workflow(CHAIN, name=name), idempotency_key="k/ü"))
        assert made == name_of(request(workflow=workflow(CHAIN, name=name), idempotency_key="k/ü"))
        assert len(made) <= 63
        assert made.replace("-", "").isalnum()
        assert made[0] != "-"


async def test_workflows_are_those_that_the_operator_knows(operator: Operator) -> None:
    found = FromResources(operator.workflows, NAMESPACE)
    await operator.apply(WORKFLOWS, "chain", CHAIN)
    await operator.apply(WORKFLOWS, "broken", {"nodes": []})
    assert (await found.find("chain")).id == f"{NAMESPACE}/chain"
    for name, said in (("nowhere", "there is no Workflow 'nowhere'"), ("broken", "is not valid")):
        with pytest.raises(InvalidInput, match=said) as refused:
            await found.find(name)
        assert [problem.path for problem in refused.value.problems] == ["workflow"]


def test_a_door_without_tokens_is_refused_at_the_start() -> None:
    with pytest.raises(settings_module.InvalidSettings, match="ORCHESTRATOR_DOOR_TOKENS is required"):
        settings_module.read({"ORCHESTRATOR_DOOR_LISTEN": "127.0.0.1:8080"})


def test_an_address_that_is_none_is_refused_at_the_start() -> None:
    with pytest.raises(settings_module.InvalidSettings, match="no host:port") as refused:
        settings_module.read({"ORCHESTRATOR_DOOR_LISTEN": "8080", "ORCHESTRATOR_DOOR_TOKENS": "/t"})
    assert [problem.path for problem in refused.value.problems] == ["ORCHESTRATOR_DOOR_LISTEN"]

"""The verbs as they are typed, on an API server in memory without an operator; tests/e2e/test_kubectl.py has one."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.adapters.kubernetes import Kubernetes, Refused
from orchestrator_operator.specs import EXECUTIONS, WORKFLOWS

from orchestrator.testing import FakeClock
from tests.support.cluster import NAMESPACE, FakeKubernetes, document
from tests.support.stores import CHAIN
from tests.unit.cli.conftest import Shell, shell

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Answer

__all__ = ["shell"]  # a fixture of the other folder

FLOW = {**CHAIN, "input": {"schema": {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}}}
RUNNING = {"phase": "Running", "conditions": [{"type": "Accepted", "status": "True"}]}


class Person:
    """Types at a cluster with one workflow and one execution of it."""

    def __init__(self, cluster: FakeKubernetes, typed: Shell) -> None:
        self.cluster, self.shell = cluster, typed

    def __call__(self, *arguments: str) -> Answer:
        return self.shell(*arguments, "--namespace", NAMESPACE)

    def put(self, name: str, status: dict[str, Any] | None, **spec: Any) -> None:
        """An Execution that stands so."""

        async def put() -> None:
            wanted = {"workflow": "chain", "input": {"n": 1}, **spec}
            await self.cluster.create(EXECUTIONS, NAMESPACE, document(EXECUTIONS, name, wanted))
            if status is not None:
                await self.cluster.patch_status(EXECUTIONS, NAMESPACE, name, status)

        asyncio.run(put())

    def get(self, name: str) -> dict[str, Any]:
        return self.cluster.objects[EXECUTIONS.plural, NAMESPACE, name]

    @property
    def names(self) -> list[str]:
        return [name for plural, _, name in self.cluster.objects if plural == EXECUTIONS.plural]


@pytest.fixture
def person(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Person:
    cluster = FakeKubernetes(FakeClock())
    asyncio.run(cluster.create(WORKFLOWS, NAMESPACE, document(WORKFLOWS, "chain", FLOW)))

    async def connect(**_: Any) -> FakeKubernetes:
        return cluster

    monkeypatch.setattr(Kubernetes, "connect", connect)
    return Person(cluster, shell)


INPUT = ("--input", '{"n": 1}')


# -- start


def test_start_creates_an_execution_and_names_it(person: Person) -> None:
    answer = person("start", "chain", *INPUT, "--label", "team=billing", "--ttl", "1h")
    (name,) = person.names
    assert (answer.code, answer.out) == (0, f"execution.orchestrator.dev/{name} created\n")
    assert name.startswith("chain-")
    body = person.get(name)
    assert body["spec"] == {"workflow": "chain", "input": {"n": 1}, "ttlSecondsAfterFinished": 3600}
    assert body["metadata"]["labels"] == {"team": "billing"}


def test_two_without_a_name_are_two(person: Person) -> None:
    person("start", "chain", *INPUT)
    person("start", "chain", *INPUT)
    assert len(set(person.names)) == 2


def test_the_same_name_again_starts_nothing_and_says_so(person: Person) -> None:
    person("start", "chain", *INPUT, "--name", "one")
    answer = person("start", "chain", *INPUT, "--name", "one")
    assert (answer.code, answer.out) == (0, "execution.orchestrator.dev/one unchanged\n")


def test_another_execution_of_that_name_is_an_error_that_names_the_field(person: Person) -> None:
    person("start", "chain", *INPUT, "--name", "one")
    answer = person("start", "chain", "--input", '{"n": 2}', "--name", "one")
    assert (answer.code, answer.err.startswith("error: spec.input: ")) == (1, True)


def test_an_input_that_does_not_fit_creates_nothing(person: Person) -> None:
    answer = person("start", "chain", "--input", '{"n": "one"}')
    assert (answer.code, answer.err.startswith("error: --input.n: "), person.names) == (2, True, [])


def test_an_unknown_workflow_is_answered_with_those_that_there_are(person: Person) -> None:
    answer = person("start", "chian")
    assert (answer.code, person.names) == (1, [])
    assert "there is no Workflow 'chian' in the namespace shop; it has chain" in answer.err


def test_an_invalid_workflow_is_not_started(person: Person) -> None:
    condition = {"type": "Valid", "status": "False", "message": "spec.nodes: must not be empty"}
    asyncio.run(person.cluster.patch_status(WORKFLOWS, NAMESPACE, "chain", {"conditions": [condition]}))
    answer = person("start", "chain", *INPUT)
    assert (answer.code, "spec.nodes: must not be empty" in answer.err, person.names) == (1, True, [])


def test_who_may_not_read_workflows_can_start_them(person: Person) -> None:
    person.cluster.failures = [Refused("Forbidden", status=403)]
    assert person("start", "chain", *INPUT).code == 0


def test_start_as_json_is_one_document(person: Person) -> None:
    found = person("start", "chain", *INPUT, "--name", "one", "--output", "json").json()
    assert (found["name"], found["created"], found["status"]) == ("one", True, "pending")


# -- watch


def test_watch_ends_with_the_output_and_zero_when_it_succeeded(person: Person) -> None:
    person.put("one", {**RUNNING, "phase": "Success", "output": {"y": 1}, "progress": "2/2", "duration": "1.0s"})
    answer = person("watch", "one")
    line, _, rest = answer.out.partition("\n")
    assert (answer.code, line[9:], json.loads(rest)) == (0, "Success      2/2, after 1.0s", {"y": 1})


def test_watch_ends_with_one_when_it_failed(person: Person) -> None:
    person.put("one", {**RUNNING, "phase": "Failed", "message": "node a: no"})
    answer = person("watch", "one", "--output", "json")
    assert (answer.code, answer.json()["error"]["message"]) == (1, "node a: no")
    assert "Failed" in answer.err


def test_watch_ends_when_it_was_refused_and_says_why(person: Person) -> None:
    refused = {"type": "Accepted", "status": "False"}
    person.put(
        "one", {"phase": "Pending", "reason": "InvalidInput", "message": "spec.input.n", "conditions": [refused]}
    )
    answer = person("watch", "one")
    assert (answer.code, "refused (InvalidInput): spec.input.n" in answer.out) == (1, True)


# -- requests


def test_without_an_operator_a_request_stands_and_the_answer_says_where_to_look(person: Person) -> None:
    person.put("one", RUNNING)
    answer = person("signal", "one", "go", "--payload", "7", "--id", "g1", "--timeout", "50ms")
    assert answer.code == 3
    assert "does an operator serve the namespace shop?" in answer.err
    assert "kubectl annotate execution one signal.orchestrator.dev/g1- -n shop" in answer.err
    assert person.get("one")["metadata"]["annotations"] == {"signal.orchestrator.dev/g1": '{"name":"go","payload":7}'}


def test_without_waiting_it_is_asked_and_that_is_all(person: Person) -> None:
    person.put("one", RUNNING)
    answer = person("approve", "one", "a", "--by", "ada", "--no-wait", "--output", "json")
    assert (answer.code, answer.json()["accepted"]) == (0, None)
    (text,) = person.get("one")["metadata"]["annotations"].values()
    assert json.loads(text) == {"approved": True, "by": "ada", "node": "a"}


def test_a_request_that_waits_is_not_overwritten(person: Person) -> None:
    person.put("one", RUNNING)
    person("signal", "one", "go", "--payload", "1", "--id", "g1", "--no-wait")
    again = person("signal", "one", "go", "--payload", "1", "--id", "g1", "--no-wait")
    other = person("signal", "one", "go", "--payload", "2", "--id", "g1", "--no-wait")
    assert (again.code, other.code) == (0, 1)
    assert person.get("one")["metadata"]["annotations"] == {"signal.orchestrator.dev/g1": '{"name":"go","payload":1}'}


def test_before_it_was_accepted_no_request_is_made(person: Person) -> None:
    person.put("one", None)
    answer = person("signal", "one", "go", "--timeout", "50ms")
    assert (answer.code, "not accepted yet" in answer.err) == (1, True)
    assert "annotations" not in person.get("one")["metadata"]


# -- steering


def test_suspend_without_an_operator_patches_and_ends_with_three(person: Person) -> None:
    person.put("one", RUNNING)
    answer = person("suspend", "one", "--timeout", "50ms")
    assert (answer.code, person.get("one")["spec"]["suspend"]) == (3, True)


def test_an_unknown_execution_is_answered_with_those_that_there_are(person: Person) -> None:
    person.put("one", RUNNING)
    for verb in ("cancel", "resume", "watch", "retry", "logs"):
        answer = person(verb, "two")
        assert (answer.code, "it has one" in answer.err) == (1, True), verb


def test_retry_makes_one_execution_however_often_it_is_asked(person: Person) -> None:
    person.put("one", {**RUNNING, "phase": "Failed", "engine": "v2"})
    first, second = person("retry", "one"), person("retry", "one")
    assert (first.code, second.code) == (0, 0)
    assert first.out == "execution.orchestrator.dev/one-retry created\n"
    assert person.get("one-retry")["spec"] == {"workflow": "chain", "from": {"execution": "one"}}


def test_without_a_name_the_namespace_is_the_contexts(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}},
            {"name": "there", "context": {"cluster": "c", "user": "u", "namespace": "elsewhere"}},
        ],
    }
    path = person.shell.write("kubeconfig", json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert person.shell("start", "chain", *INPUT).code == 0
    assert "in the namespace elsewhere" in person.shell("start", "chain", "--context", "there").err
    monkeypatch.setenv("ORCHESTRATOR_NAMESPACE", "another")
    assert "in the namespace another" in person.shell("start", "chain").err

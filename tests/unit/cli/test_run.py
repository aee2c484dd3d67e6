"""`orchestrator run`: its answer, its exit codes, one key one execution, and bad input named by its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.model import Assignment, Engine, Projection, Status
from orchestrator.store import Submission
from orchestrator.store.messages import V1Update
from tests.support.stores import LEASE, START, workflow
from tests.unit.cli.conftest import effects

if TYPE_CHECKING:
    from orchestrator.store import Store
    from tests.support.postgres import LocalPostgres
    from tests.unit.cli.conftest import Shell

KEYS = {"id", "workflow", "engine", "status", "output", "error"}


def document(*nodes: str, output: str = "null") -> str:
    listed = "\n".join(f"    - {node}" for node in nodes)
    return (
        "apiVersion: orchestrator.dev/v1alpha1\nkind: Workflow\nmetadata: {name: flow, namespace: shop}\n"
        f"spec:\n  nodes:\n{listed}\n  output: {output}\n"
    )


DOUBLE = document(
    '{id: double, type: transform, with: {n: "${int(input.n) * 2}"}}', output='"${nodes.double.output.n}"'
)


def counted(module: str) -> str:
    return document(f'{{id: count, type: python, with: {{call: "{module}:count"}}}}', output='"${nodes.count.output}"')


# -- the answer


@pytest.mark.parametrize("engine", ["v1", "v2"])
def test_the_json_answer_has_the_keys_of_the_contract(shell: Shell, engine: str) -> None:
    answer = shell("run", shell.write("w.yaml", DOUBLE), "--input", '{"n": 21}', "--engine", engine, "--output", "json")
    found = answer.json()
    assert answer.code == 0
    assert set(found) >= KEYS
    assert {key: found[key] for key in KEYS - {"id"}} == {
        "workflow": "shop/flow",
        "engine": engine,
        "status": "success",
        "output": 42,
        "error": None,
    }


PARENT = document(
    '{id: child, type: workflow, with: {workflow: child, input: {n: "${input.n}"}}}',
    output='"${nodes.child.output}"',
)


def test_a_child_workflow_comes_from_a_file_of_its_own(shell: Shell) -> None:
    child = shell.write("child.yaml", DOUBLE.replace("name: flow", "name: child"))
    found = shell("run", shell.write("w.yaml", PARENT), "--also", child, "--input", '{"n": 4}', "--output", "json")
    assert found.json()["output"] == 8


def test_a_child_that_was_edited_runs_as_its_file_says_now(shell: Shell) -> None:
    parent, child = shell.write("w.yaml", PARENT), DOUBLE.replace("name: flow", "name: child")
    shell("run", parent, "--also", shell.write("child.yaml", child), "--input", '{"n": 4}')
    tripled = shell.write("child.yaml", child.replace("* 2", "* 3"))
    assert shell("run", parent, "--also", tripled, "--input", '{"n": 4}', "--output", "json").json()["output"] == 12


def test_the_answer_for_people_is_a_line_and_the_output(shell: Shell) -> None:
    answer = shell("run", shell.write("w.yaml", DOUBLE), "--input", '{"n": 21}')
    line, output = answer.out.splitlines()
    assert line.endswith(" shop/flow on v2: success")
    assert output == "42"


def test_a_workflow_may_be_json_and_an_input_a_file(shell: Shell) -> None:
    spec = {"nodes": [{"id": "a", "type": "transform", "with": {"n": "${input.n}"}}], "output": "${nodes.a.output}"}
    resource = {"apiVersion": "orchestrator.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": "j"}, "spec": spec}
    shell.write("input.json", '{"n": "ü"}')
    answer = shell("run", shell.write("w.json", json.dumps(resource)), "-i", "@input.json", "-o", "json")
    assert (answer.json()["workflow"], answer.json()["output"]) == ("default/j", {"n": "ü"})


def test_an_execution_that_fails_exits_1_and_says_where_and_why(shell: Shell, counting: str) -> None:
    path = shell.write("w.yaml", document(f'{{id: find, type: python, with: {{call: "{counting}:fail"}}}}'))
    answer = shell("run", path, "--functions", counting, "--output", "json")
    found = answer.json()
    assert (answer.code, found["status"], found["output"]) == (1, "failed", None)
    error = {"kind": "NoCustomer", "message": "no such customer", "retryable": False, "node": "find"}
    assert found["error"] == error
    table = shell("run", path, "--functions", counting)
    assert (table.code, table.err) == (1, "error: node find: NoCustomer: no such customer\n")


def test_auto_asks_the_flag_in_the_environment(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shell.write("w.yaml", DOUBLE)
    engines = []
    for value in ("", "true", "false"):
        monkeypatch.setenv("USE_ORCHESTRATOR_V2", value)
        answer = shell("run", path, "--input", '{"n": 1}', "--engine", "auto", "--output", "json")
        engines.append(answer.json()["engine"])
    assert engines == ["v1", "v2", "v1"]


def test_the_routing_is_written_to_edge_logs_in_the_words_that_queries_look_for(shell: Shell) -> None:
    for engine in ("v1", "v2"):
        shell("run", shell.write("w.yaml", DOUBLE), "--input", '{"n": 1}', "--engine", engine)
    lines = [line for _, line in shell.ask(lambda store: store.edge_logs(START, contains="Usando Orchestrator"))]
    assert sorted(line[: len("Usando Orchestrator V1")] for line in lines) == [
        "Usando Orchestrator V1",
        "Usando Orchestrator V2",
    ]


@pytest.mark.parametrize("form", ["{}/here.db", "sqlite:///{}/here.db"])
def test_the_database_is_where_it_is_told(shell: Shell, form: str) -> None:
    database = form.format(shell.folder)
    assert shell("run", shell.write("w.yaml", DOUBLE), "--input", '{"n": 1}', "--database", database).code == 0
    assert ((shell.folder / "here.db").exists(), shell.database.exists()) == (True, False)


@pytest.mark.parametrize("form", ["postgresql", "postgresql+psycopg"])
def test_the_database_may_be_a_postgresql(shell: Shell, postgres: LocalPostgres, counting: str, form: str) -> None:
    database = postgres.create_database().replace("postgresql+psycopg", form)
    path = shell.write("w.yaml", counted(counting))
    run = ("run", path, "--functions", counting, "--idempotency-key", "k", "--database", database, "--output", "json")
    first, second = shell(*run), shell(*run)
    assert (first.code, second.json()) == (0, first.json())
    (listed,) = shell("executions", "list", "--database", database, "--output", "json").json()
    assert (listed["id"], len(effects(shell.folder))) == (first.json()["id"], 1)
    assert not shell.database.exists()


# -- one key, one execution


def test_the_same_key_gives_the_first_result_and_runs_nothing_twice(shell: Shell, counting: str) -> None:
    path = shell.write("w.yaml", counted(counting))
    run = ("run", path, "--functions", counting, "--idempotency-key", "order-1", "--output", "json")
    first, second = shell(*run), shell(*run)
    assert (first.code, second.code) == (0, 0)
    assert second.json() == first.json()
    assert effects(shell.folder) == [f"{first.json()['id']}/count"]


def test_another_key_or_none_is_another_execution(shell: Shell, counting: str) -> None:
    path = shell.write("w.yaml", counted(counting))
    keys = (["--idempotency-key", "a"], ["--idempotency-key", "b"], [], [])
    answers = [shell("run", path, "--functions", counting, *key, "--output", "json").json() for key in keys]
    assert len({answer["id"] for answer in answers}) == len(effects(shell.folder)) == 4


def test_the_same_key_gives_a_failure_again_without_running_it_again(shell: Shell, counting: str) -> None:
    nodes = (
        f'{{id: count, type: python, with: {{call: "{counting}:count"}}}}',
        f'{{id: fail, type: python, needs: [count], with: {{call: "{counting}:fail"}}}}',
    )
    path = shell.write("w.yaml", document(*nodes))
    run = ("run", path, "--functions", counting, "--idempotency-key", "k", "--output", "json")
    first, second = shell(*run), shell(*run)
    assert (first.code, second.code, len(effects(shell.folder))) == (1, 1, 1)
    assert second.json() == first.json()


def test_a_key_whose_v1_execution_never_ended_is_told_instead_of_waited_for(shell: Shell) -> None:
    """V1 stays `running` when its process dies: nobody will ever finish it."""
    flow = workflow(name="flow")

    async def abandoned(store: Store) -> None:
        submission = Submission("x1", flow, Engine.V1, Assignment.EXPLICIT, {"n": 1}, idempotency_key="k", percent="0")
        await store.submit([submission], START)
        assert len(await store.claim("worker-1", Engine.V1, 1, LEASE, START)) == 1
        row = Projection(Status.RUNNING, "a", 0, 2, 0, START, None, output=None, failure=None)
        await store.v1_update([V1Update("x1", row, None)])

    shell.ask(abandoned)
    resource = {"apiVersion": "orchestrator.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": "flow"}}
    path = shell.write("w.json", json.dumps(resource | {"spec": dict(flow.definition)}))
    answer = shell("run", path, "--input", '{"n": 1}', "--engine", "v1", "--idempotency-key", "k")
    assert answer.code == 1
    assert "x1" in answer.err
    assert "another key" in answer.err


def test_a_suspended_execution_is_not_waited_for(shell: Shell) -> None:
    async def held(store: Store) -> None:
        flow = workflow(name="flow")
        submission = Submission(
            "x1", flow, Engine.V2, Assignment.EXPLICIT, {"n": 1}, idempotency_key="k", suspended="Restored"
        )
        await store.submit([submission], START)

    shell.ask(held)
    resource = {"apiVersion": "orchestrator.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": "flow"}}
    path = shell.write("w.json", json.dumps(resource | {"spec": dict(workflow().definition)}))
    run = ("run", path, "--input", '{"n": 7}', "--idempotency-key", "k", "--output", "json")
    first = shell(*run)
    assert (first.code, first.json()["id"], first.json()["status"]) == (1, "x1", "suspended")
    assert shell("executions", "resume", "x1").code == 0
    second = shell(*run)
    assert (second.code, second.json()["status"], second.json()["output"]) == (0, "success", {"y": 1})


# -- bad input


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (document("{id: a, type: teleport}"), "error: spec.nodes[0].type: 'teleport' is no node type"),
        (
            document("{id: a, type: container, with: {image: a:1}}"),
            "error: spec.nodes[0].type: containers are off here",
        ),
        (document("{id: a, type: transform, compensate: {}}"), "error: spec.nodes[0].compensate.type: is required"),
        (document("{id: a, type: transform, needs: [b]}"), "error: spec.nodes[0].needs[0]: there is no node 'b'"),
        (document('{id: a, type: transform, with: {x: "${1 +}"}}'), "error: spec.nodes[0].with.x: "),
        (document("{id: a, type: transform}").replace("Workflow", "Job"), "error: kind: must be Workflow"),
        ("a: [1\nb: 2\n", "w.yaml:2:"),
        ("just text\n", "w.yaml: is no resource"),
        ("", "w.yaml: holds 0 documents"),
    ],
)
def test_a_workflow_that_cannot_run_is_named_by_the_place(shell: Shell, text: str, said: str) -> None:
    answer = shell("run", shell.write("w.yaml", text))
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert not shell.database.exists()


def test_all_problems_are_told_at_once(shell: Shell) -> None:
    answer = shell("run", shell.write("w.yaml", document("{id: a, type: x}", "{id: a, type: transform, needs: [z]}")))
    assert {line.split(": ")[1] for line in answer.err.splitlines()} == {
        "spec.nodes[0].type",
        "spec.nodes[1].id",
        "spec.nodes[1].needs[0]",
    }


SCHEMA = document("{id: a, type: transform}").replace(
    "  nodes:", "  input: {schema: {type: object, required: [n], properties: {n: {type: number}}}}\n  nodes:"
)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('{"n": "one"}', "error: spec.input.n: "),
        ("{}", "error: spec.input"),
        ("[]", "error: spec.input"),
        ("{", "error: --input: --input is not JSON"),
        ('{"n": NaN}', "error: spec.input.n: "),
        ('{"n": 1, "m": "\\ud800"}', "error: spec.input.m: "),
        ("@missing.json", "error: --input: cannot read missing.json: No such file"),
        ("@binary", "error: --input: cannot read binary: it is not UTF-8 text"),
        ("[" * 100_000, "error: --input: --input is not JSON"),
    ],
)
def test_an_input_that_does_not_fit_is_named_by_its_field(shell: Shell, given: str, said: str) -> None:
    (shell.folder / "binary").write_bytes(b"\xff\xfe")
    answer = shell("run", shell.write("w.yaml", SCHEMA), "--input", given)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(said), answer.err[:300]
    assert not shell.database.exists()


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_is_not_there_is_bad_input(shell: Shell, name: str) -> None:
    answer = shell("run", name)
    assert answer.code == 2
    assert name in answer.err


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ORCHESTRATOR_V1", "grpc", "error: ORCHESTRATOR_V1: "),
        ("ORCHESTRATOR_LEASE", "soon", "error: ORCHESTRATOR_LEASE: "),
        ("ORCHESTRATOR_CONCURRENCY", "0", "error: ORCHESTRATOR_CONCURRENCY: "),
        ("ORCHESTRATOR_HTTP_ALLOW", "10.0.0.0/99", "error: ORCHESTRATOR_HTTP_ALLOW: "),
        ("ORCHESTRATOR_FUNCTIONS", "no_such_module", "error: no_such_module: cannot be imported"),
        ("ORCHESTRATOR_DATABASE", "no/such/folder/x.db", "error: database: the folder no/such/folder does not exist"),
        ("ORCHESTRATOR_DATABASE", "mysql://me:secret@host/x", "error: database: 'mysql' is not supported"),
        ("ORCHESTRATOR_DATABASE", "postgresql://me:secret@host:port/x", "error: database: this is no database URL"),
    ],
)
def test_a_setting_that_is_wrong_is_named(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    answer = shell("run", shell.write("w.yaml", DOUBLE), "--input", '{"n": 1}')
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(said), answer.err
    assert "secret" not in answer.err


# -- the samples


@pytest.mark.parametrize("name", ["fan-out.yaml", "order-fulfilment.yaml"])
def test_a_sample_asks_for_its_input_by_name(shell: Shell, name: str) -> None:
    sample = Path(__file__).resolve().parents[3] / "deploy" / "samples" / name
    answer = shell("run", sample)
    assert answer.code == 2
    missing = ("shop", "orderId", "amount")
    assert all(field in answer.err for field in missing), answer.err

"""`orchestrator executions`: the table for people, JSON for programs, and requests that are recorded."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from orchestrator.model import Assignment, Engine, Status
from orchestrator.store import Submission
from tests.support.stores import START, workflow

if TYPE_CHECKING:
    from orchestrator.store import Store
    from tests.unit.cli.conftest import Shell

HEADING = ["ID", "WORKFLOW", "ENGINE", "STATUS", "NODE", "PROGRESS", "DURATION", "AGE"]
RETRIED = {
    "nodes": [
        {
            "id": "call",
            "type": "http",
            "with": {"method": "GET", "url": "http://127.0.0.1:1/"},
            "retry": {"maxAttempts": 2, "initialInterval": "10ms"},
        }
    ]
}


@pytest.fixture
def three(shell: Shell) -> Shell:
    """A database with a success, a failure, and one that nobody began: `ok`, `bad` and `new`."""
    good = {"apiVersion": "orchestrator.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": "chain"}}
    path = shell.write("good.json", json.dumps(good | {"spec": dict(workflow().definition)}))
    assert shell("run", path, "--input", '{"n": 5}', "--idempotency-key", "ok").code == 0
    failing = good | {"metadata": {"name": "failing", "namespace": "shop"}, "spec": RETRIED}
    assert shell("run", shell.write("bad.json", json.dumps(failing)), "--idempotency-key", "bad").code == 1

    async def add(store: Store) -> None:
        flow = workflow(name="chain")
        await store.submit([Submission("new", flow, Engine.V2, Assignment.EXPLICIT, {"n": 1})], START)

    shell.ask(add)
    return shell


def id_of(shell: Shell, status: str) -> str:
    (found,) = shell("executions", "list", "--status", status, "--output", "json").json()
    return str(found["id"])


def test_the_list_is_a_table_for_people(three: Shell) -> None:
    heading, *rows = three("executions", "list").out.splitlines()
    assert heading.split() == HEADING
    assert sorted(row.split()[1] for row in rows) == ["default/chain", "default/chain", "shop/failing"]
    success = next(row for row in rows if " success " in row)
    assert re.fullmatch(r"[0-9a-f]{32} +default/chain +v2 +success +b +2/2 +\d+\.\ds +\d+\.\ds *", success)


def test_the_list_is_json_for_programs(three: Shell) -> None:
    found = three("executions", "list", "--output", "json").json()
    assert {item["status"] for item in found} == {"success", "failed", "pending"}
    assert set(found[0]) >= {"id", "workflow", "engine", "status", "node", "progress", "output", "error"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--status", "failed"], ["shop/failing"]),
        (["--workflow", "shop/failing"], ["shop/failing"]),
        (["--workflow", "chain"], ["default/chain", "default/chain"]),
        (["--workflow", "default/nobody"], []),
        (["--status", "cancelled"], []),
    ],
)
def test_the_list_can_be_narrowed(three: Shell, arguments: list[str], expected: list[str]) -> None:
    found = three("executions", "list", *arguments, "--output", "json").json()
    assert [item["workflow"] for item in found] == expected


def test_the_list_is_limited_and_newest_first(three: Shell) -> None:
    (newest,) = three("executions", "list", "--limit", "1", "--output", "json").json()
    assert newest["workflow"] == "shop/failing"  # `new` was submitted with a date of long ago


@pytest.mark.parametrize("arguments", [["--status", "happy"], ["--limit", "0"], ["--limit", "many"]])
def test_what_no_list_can_have_is_bad_input(three: Shell, arguments: list[str]) -> None:
    assert three("executions", "list", *arguments).code == 2


def test_show_says_where_it_stands_and_why_it_failed(three: Shell) -> None:
    failed = id_of(three, "failed")
    sentence, _, *facts = three("executions", "show", failed, "--no-timeline").out.splitlines()
    assert re.match(rf"{failed} failed at `call` after \d+ ms: AddressRefused: 127.0.0.1:1 leads to ", sentence)
    said = dict(line.split(maxsplit=1) for line in facts)
    assert (said["status"], said["workflow"].split()[0], said["node"]) == ("failed", "shop/failing", "call")
    assert said["error"].startswith("node call: AddressRefused: 127.0.0.1:1 leads to 127.0.0.1, which is not public")


def test_show_draws_what_each_step_did(three: Shell) -> None:
    lines = three("executions", "show", id_of(three, "success")).out.splitlines()
    heading = next(index for index, line in enumerate(lines) if line.startswith("STEP "))
    assert [line.split()[:2] for line in lines[heading + 1 : heading + 3]] == [["a", "completed"], ["b", "completed"]]


def test_show_is_json_for_programs(three: Shell) -> None:
    found = three("executions", "show", id_of(three, "success"), "--output", "json").json()
    assert (found["status"], found["output"], found["error"]) == ("success", {"y": 5}, None)
    assert found["why"].startswith("succeeded after ")
    assert [line["step"] for line in found["timeline"] if line["type"]] == ["a", "b"]


def test_events_tell_everything_in_order(three: Shell) -> None:
    lines = three("executions", "events", id_of(three, "success")).out.splitlines()
    assert [line.split()[0] for line in lines] == [str(seq) for seq in range(1, len(lines) + 1)]
    kinds = [line.split()[2] for line in lines]
    assert (kinds[0], kinds[-1]) == ("ExecutionSubmitted", "ExecutionSucceeded")
    assert kinds.count("StepCompleted") == 2


def test_events_say_why_a_step_failed(three: Shell) -> None:
    lines = three("executions", "events", id_of(three, "failed")).out.splitlines()
    (step,) = [line for line in lines if "StepFailed" in line]
    assert "call attempt 1 (AddressRefused: " in step


def test_events_are_json_for_programs(three: Shell) -> None:
    found = three("executions", "events", id_of(three, "success"), "--output", "json").json()
    assert [item["seq"] for item in found] == list(range(1, len(found) + 1))
    assert set(found[0]) == {"seq", "at", "type", "node", "attempt", "data"}


def test_v1_is_said_to_keep_no_events(three: Shell) -> None:
    run = ("run", "good.json", "--input", '{"n": 5}', "--engine", "v1", "--output", "json")
    answer = three("executions", "events", three(*run).json()["id"])
    assert (answer.code, answer.out) == (0, "")
    assert "V1 keeps no events" in answer.err


def test_a_cancelled_execution_runs_nothing(three: Shell) -> None:
    assert three("executions", "cancel", "new").out == "new cancel: recorded\n"
    assert three("worker", "--until-idle").code == 0
    found = three("executions", "show", "new", "--output", "json").json()
    assert (found["status"], found["progress"]) == ("cancelled", "0/2")


def test_a_suspended_execution_waits_for_resume(three: Shell) -> None:
    def status() -> str:
        assert three("worker", "--until-idle").code == 0
        return str(three("executions", "show", "new", "--output", "json").json()["status"])

    assert three("executions", "suspend", "new").out == "new suspend: recorded\n"
    assert status() == Status.SUSPENDED
    assert three("executions", "resume", "new").out == "new resume: recorded\n"
    assert status() == Status.SUCCESS


def test_a_request_that_changes_nothing_says_why(three: Shell) -> None:
    over = id_of(three, "success")
    answer = three("executions", "cancel", over)
    assert (answer.code, answer.out) == (0, f"{over} cancel: nothing to do, it is over: success\n")
    three("executions", "cancel", "new")
    assert "asked before" in three("executions", "cancel", "new").out


@pytest.mark.parametrize("verb", ["show", "events", "cancel", "suspend", "resume", "retry", "verify"])
def test_an_unknown_id_exits_1_and_says_where_to_look(three: Shell, verb: str) -> None:
    answer = three("executions", verb, "nobody")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == "error: no execution 'nobody' in this database: see `orchestrator executions list`\n"


@pytest.mark.parametrize("arguments", [["list"], ["show", "x"], ["events", "x"], ["cancel", "x"], ["verify"]])
def test_a_question_makes_no_database(shell: Shell, arguments: list[str]) -> None:
    answer = shell("executions", *arguments, "--database", "misspelt.db")
    assert answer.code == 2
    assert "there is no database misspelt.db" in answer.err
    assert not (shell.folder / "misspelt.db").exists()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://bob:hunter2@127.0.0.1:1/x",
        "postgresql+psycopg://bob:hunter2@127.0.0.1:1/x",
        "postgresql://127.0.0.1:1/x?user=bob&password=hunter2",
    ],
)
@pytest.mark.parametrize("command", [["executions", "list"], ["worker", "--until-idle"]])
def test_a_postgresql_that_does_not_answer_is_named_without_its_password(
    shell: Shell, command: list[str], url: str
) -> None:
    answer = shell(*command, "--database", url)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("error: cannot open postgresql+psycopg://")
    assert "127.0.0.1:1/x: connection failed" in answer.err
    assert "hunter2" not in answer.err

